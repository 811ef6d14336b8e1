"""What a store takes as raw flows: the shape of a batch that its lane's log accepted.

The pipeline's own batch fits it; no store imports the pipeline.
"""

from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class LoggedBatch(Protocol):
    """A batch that its lane's log accepted, with the mark and the frontier that its flows are judged by.

    (collector, epoch, lane, seq) is its identity.
    """

    @property
    def collector(self) -> str:
        """Name of the collector."""

    @property
    def epoch(self) -> int:
        """Start of the collector."""

    @property
    def lane(self) -> int:
        """Lane of the batch."""

    @property
    def seq(self) -> int:
        """Number of the batch."""

    @property
    def mark_ms(self) -> int:
        """Clock of the collector, clamped."""

    @property
    def frontier_ms(self) -> int:
        """Frontier of the lane, raised by this batch."""


class JudgedBatch(LoggedBatch, Protocol):
    """A logged batch with its flows: columns of FLOW in any number."""

    @property
    def numbers(self) -> NDArray[np.int64] | None:
        """Numbers of its flows in their identity; None: 0, 1, 2 ..."""

    @property
    def flows(self) -> pa.RecordBatch:
        """Its flows."""
