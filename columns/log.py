"""A lane's log position: which batches are repeats, which collectors are live, where the frontier is.

In: the header of each batch of one lane, in the order of the log, with the bus's append time. Out: whether the batch counts, its
clamped mark and the frontier to judge its flows by (docs/explanation/numbers.md, section 1). Refuses to know flows, buses, clocks:
the outcome is a pure function of the log's prefix, so every reader of a lane agrees.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from common.errors import InputError
from flowpb.codec import Header
from flowpb.groupings import FORGET_MS, FUTURE_MS, LEASE_MS

_MAGIC: Final = b"NLL2"
_OLDER: Final = b"NLL1"
"""Without `heard_ms`: taken as heard just now."""


class Position(NamedTuple):
    """The last batch of a collector that counted; `heard_ms` is the frontier that it left."""

    epoch: int
    seq: int
    mark_ms: int
    heard_ms: int


@dataclass(frozen=True, slots=True)
class LaneLog:
    """Where the reader of one lane stands; `frontier_ms` is None before the first batch."""

    collectors: Mapping[str, Position] = field(default_factory=dict)
    frontier_ms: int | None = None

    def pack(self) -> bytes:
        """Bytes that `unpack` reads, equal for equal logs."""
        tree = {"collectors": dict(sorted(self.collectors.items())), "frontier_ms": self.frontier_ms}
        return _MAGIC + json.dumps(tree, separators=(",", ":")).encode()

    @staticmethod
    def unpack(data: bytes) -> "LaneLog":
        """The packed log; raises InputError for bytes of something else or of another version."""
        if not data.startswith((_MAGIC, _OLDER)):
            raise InputError(f"lane log: starts with {data[:4]!r}, this program reads {_MAGIC!r}")
        tree = json.loads(data[len(_MAGIC) :])
        frontier_ms = tree["frontier_ms"]
        positions = {name: Position(*(*position, frontier_ms or 0)[:4]) for name, position in tree["collectors"].items()}
        return LaneLog(positions, frontier_ms)

    @property
    def live(self) -> int:
        """How many collectors have a live lease."""
        newest_ms = max((position.mark_ms for position in self.collectors.values()), default=0)
        return sum(position.mark_ms > newest_ms - LEASE_MS for position in self.collectors.values())


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a batch: one that is not accepted, a repeat or from a forgotten collector, changes nothing.

    The flows of others are judged by mark and frontier. `missing` batches of its collector never came before it, by their numbers.
    """

    accepted: bool
    mark_ms: int
    frontier_ms: int
    missing: int = 0


def advance(log: LaneLog, header: Header, append_ms: int) -> tuple[LaneLog, Verdict]:
    """The log after one more batch, and the verdict on it; `append_ms` is the bus's clock when it took the batch."""
    mark_ms = min(header.mark_ms, append_ms + FUTURE_MS)
    last = log.collectors.get(header.collector)
    if log.frontier_ms is not None:
        if last is not None and (header.epoch, header.seq) <= (last.epoch, last.seq):
            return log, Verdict(False, last.mark_ms, log.frontier_ms)
        # No mark is a lease ahead of the frontier that it leaves: all that forgotten collectors ever sent is below this.
        if last is None and mark_ms < log.frontier_ms - FORGET_MS + LEASE_MS:
            return log, Verdict(False, mark_ms, log.frontier_ms)
    marks = [position.mark_ms for name, position in log.collectors.items() if name != header.collector]
    frontier_ms = _least_live_mark([*marks, mark_ms])
    if log.frontier_ms is not None:
        frontier_ms = max(frontier_ms, log.frontier_ms)
    known = {name: position for name, position in log.collectors.items() if position.heard_ms > frontier_ms - FORGET_MS}
    known[header.collector] = Position(header.epoch, header.seq, mark_ms, frontier_ms)
    return LaneLog(known, frontier_ms), Verdict(True, mark_ms, frontier_ms, _missing(last, header))


def _missing(last: Position | None, header: Header) -> int:
    """Holes before a batch. How a collector's earlier epoch ended nobody knows, nor what came before the log was read."""
    if last is None:
        return 0
    return header.seq if header.epoch > last.epoch else header.seq - last.seq - 1


def idle(log: LaneLog, collector: str, mark_ms: int) -> LaneLog:
    """The log where a known collector, of which nothing is left to read, has a mark by the reader's clock; never falls."""
    known = log.collectors.get(collector)
    if known is None or log.frontier_ms is None or known.mark_ms >= mark_ms:
        return log
    marks = [position.mark_ms for name, position in log.collectors.items() if name != collector]
    frontier_ms = max(log.frontier_ms, _least_live_mark([*marks, mark_ms]))
    return LaneLog({**log.collectors, collector: Position(known.epoch, known.seq, mark_ms, frontier_ms)}, frontier_ms)


def _least_live_mark(marks: Sequence[int]) -> int:
    lease_ends_ms = max(marks) - LEASE_MS
    return min(mark for mark in marks if mark > lease_ends_ms)
