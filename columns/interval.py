"""The interval of each flow: repaired, clipped to the horizon, accepted or refused.

In: the times of flows with their clock corrections, and for each the mark of its batch and the frontier of its lane. Out: the
interval to spread over, and what was done to get it (docs/explanation/numbers.md, section 2). Refuses to know counters and keys.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from columns.arrays import Ints, Mask
from flowpb.groupings import FUTURE_MS, HORIZON_MS, REACH_MS, WINDOW_MS

_FAR_MS: Final = 2**61
"""Times are cut here before anything is added to them, so that no garbage from an exporter wraps around."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """One entry per flow, times in ms: `start` after clipping, `unclipped` before it, `end` exclusive unless equal to start.

    `future` and `reversed` say which were repaired, refused ones too.
    Of those that are not `accepted`, `ancient` are too old for any window.
    """

    start: Ints
    unclipped: Ints
    end: Ints
    accepted: Mask
    ancient: Mask
    future: Mask
    reversed: Mask

    @property
    def late_start(self) -> Ints:
        """Where flows begin that are not accepted: a late flow is as long as the horizon at most, and no frontier cuts it."""
        found: Ints = np.maximum(self.unclipped, self.end - HORIZON_MS)
        return found

    def repaired(self) -> "Intervals":
        """The same as repair takes them: late flows count, too, by their own interval, but for the ancient ones."""
        return replace(self, start=np.where(self.accepted, self.start, self.late_start), accepted=~self.ancient)


def judge(delta_switched_ms: Ints, last_switched_ms: Ints, correction_ms: Ints, mark_ms: Ints, frontier_ms: Ints) -> Intervals:
    """Intervals of flows, each judged by its own mark and frontier."""
    start = np.clip(delta_switched_ms, -_FAR_MS, _FAR_MS) + correction_ms
    end = np.clip(last_switched_ms, -_FAR_MS, _FAR_MS) + correction_ms
    future = end > mark_ms + FUTURE_MS
    end = np.where(future, mark_ms, end)
    start = np.where(future, np.minimum(start, mark_ms), start)
    reversed_ = start > end
    start = np.minimum(start, end)
    clipped = np.minimum(end, np.maximum(start, frontier_ms - HORIZON_MS))
    accepted = (clipped // WINDOW_MS + 1) * WINDOW_MS + HORIZON_MS > frontier_ms
    ancient = ~accepted & (end <= mark_ms - REACH_MS)
    return Intervals(clipped, start, end, accepted, ancient, future, reversed_)
