"""The interval by which a flow counts, and whether it came too late (docs/explanation/numbers.md 2), column by column.

In: flows, and per flow the mark and the frontier that its batch was judged by. Out: corrected times. Refuses to know documents.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowpb.groupings import FUTURE_MS, HORIZON_MS, REACH_MS, WINDOW_MS

Ints = NDArray[np.int64]
_FAR: Final = 1 << 60
_DATES: Final = (-62_135_596_800_000, 253_402_300_799_999)
"""The years 1 to 9999: a date field takes no others."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Per flow, in ms since 1970, corrected: [start, end], first time, export time; and whether it is late, or ancient."""

    start: Ints
    end: Ints
    first: Ints
    exported: Ints
    late: NDArray[np.bool_]
    ancient: NDArray[np.bool_]


def judge(flows: pa.Table, mark: Ints, frontier: Ints) -> Judged:
    """Intervals of all flows; `mark` and `frontier` have one entry per flow."""
    correction = _times(flows, "clock_correction_ms", np.zeros_like(mark))
    said_end = _times(flows, "last_switched_ms", mark) + correction
    first = _times(flows, "first_switched_ms", mark)
    said_start = _times(flows, "delta_switched_ms", first) + correction
    future = said_end > mark + FUTURE_MS
    end = np.where(future, mark, said_end)
    whole = np.minimum(np.where(future, np.minimum(said_start, mark), said_start), end)
    start = np.minimum(end, np.maximum(whole, frontier - HORIZON_MS))
    late = start // WINDOW_MS * WINDOW_MS + WINDOW_MS + HORIZON_MS <= frontier
    start = np.where(late, np.maximum(whole, end - HORIZON_MS), start)
    exported = _times(flows, "exported_ms", mark)
    times = [np.clip(each, *_DATES) for each in (start, end, first + correction, exported + correction)]
    return Judged(times[0], times[1], times[2], times[3], late, late & (end <= mark - REACH_MS))


def _times(flows: pa.Table, name: str, missing: Ints) -> Ints:
    if name not in flows.schema.names:
        return missing
    column: Any = flows.column(name)
    values = np.clip(pc.fill_null(column, 0).to_numpy(), -_FAR, _FAR)
    return np.where(pc.is_null(column).to_numpy(), missing, values) if column.null_count else values
