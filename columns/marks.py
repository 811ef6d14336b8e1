"""The three marks of a window, in frontier time: when its documents are written (docs/explanation/numbers.md, section 9)."""

from flowpb.groupings import FINAL_DELAY_MS, HORIZON_MS, MARK_DELAYS_MS, WINDOW_MS

MARKS = len(MARK_DELAYS_MS) + 1
"""Marks are numbered from 1; the mark of this number is the last."""

REPAIR = MARKS + 1
"""The mark of documents that a repair wrote."""


def mark_times(window_start_ms: int) -> tuple[int, int, int]:
    """Frontier times at which the first, the second and the last mark of a window fall due."""
    end_ms = window_start_ms + WINDOW_MS
    first, second = (end_ms + delay for delay in MARK_DELAYS_MS)
    return first, second, end_ms + HORIZON_MS + FINAL_DELAY_MS


def due(window_start_ms: int, next_mark: int, frontier_ms: int | None) -> int:
    """How many marks from `next_mark` (1 to 3, or 4 when all are done) on are due at this frontier."""
    if frontier_ms is None:
        return 0
    return sum(time <= frontier_ms for time in mark_times(window_start_ms)[next_mark - 1 :])
