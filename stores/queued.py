"""Entries of the queue of repairs, the same for every store (docs/explanation/numbers.md 2.6).

In: what came too late. Out: what a repair has to find and to write. Refuses to know who keeps the queue.
"""

from dataclasses import dataclass

Window = tuple[int, int]
"""(lane, start of the window in ms)."""


@dataclass(frozen=True, slots=True)
class Late:
    """What a window of a lane misses because it came too late (columns/late.py): late flows that end in it, shares of any.

    `frontier_ms` is the lane's when the last of them came, `offset` the bus's place of their batch.
    """

    flows: int
    shares: int
    frontier_ms: int
    offset: int

    def plus(self, other: "Late") -> "Late":
        """Both together."""
        frontier_ms, offset = max(self.frontier_ms, other.frontier_ms), max(self.offset, other.offset)
        return Late(self.flows + other.flows, self.shares + other.shares, frontier_ms, offset)


@dataclass(frozen=True, slots=True)
class Queued:
    """One entry of the queue of repairs; `problem` says why the last attempt did not succeed.

    `written` of the shares are in the lane's own documents: all of them where only wider scopes still wait for other lanes.
    """

    lane: int
    window_start_ms: int
    late: Late
    problem: str = ""
    written: int = 0

    @property
    def window(self) -> Window:
        """What is to be repaired."""
        return self.lane, self.window_start_ms

    @property
    def only_wide(self) -> bool:
        """Whether the lane's own documents have all of it."""
        return self.written >= self.late.shares
