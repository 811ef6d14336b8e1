"""Documents ready for a bulk request: action line and document line of each, as one column of text.

In: whoever makes documents. Out: whoever sends them. Refuses to know both.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Documents:
    """`lines` has, per document, its action line and its own line, each with a line feed. All go to `index`."""

    index: str
    lines: pa.StringArray

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def ends(self) -> NDArray[np.int64]:
        """Where each document ends in `content`, with a 0 before."""
        offsets = np.frombuffer(self.lines.buffers()[1], np.int32)[self.lines.offset : self.lines.offset + len(self.lines) + 1]
        ends: NDArray[np.int64] = offsets.astype(np.int64) - int(offsets[0])
        return ends

    @property
    def content(self) -> memoryview:
        """All lines, one behind the other, without a copy."""
        first = int(np.frombuffer(self.lines.buffers()[1], np.int32)[self.lines.offset])
        return memoryview(self.lines.buffers()[2])[first:]
