"""Interfaces by the counters of their sFlow agents: how loaded they are, what they dropped, which are down.

In: the readings in the reports of exporters. Out: one plain row per interface, and a line per exporter. Bounded; interfaces whose
agents have been silent for a day are forgotten. Refuses to know how many flows there were.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from flowpb.flow_batch_pb2 import InterfaceCounters
from ingest.readings import InterfaceLoad, load_between

_LIMIT: Final = 65_536
_FORGET_MS: Final = 24 * 3_600_000
Key = tuple[bytes, int, int]
"""Exporter, sub-agent, ifIndex."""


@dataclass(frozen=True, slots=True)
class InterfaceSummary:
    """The interfaces of one exporter: how many there are, the largest share of a speed in use, errors and discards."""

    interfaces: int = 0
    busiest_share: float | None = None
    interface_errors: int = 0
    interface_discards: int = 0


@dataclass(slots=True)
class InterfaceBoard:
    """The last reading of each interface, and its load up to it. Not thread-safe: its owner locks."""

    last: OrderedDict[Key, tuple[InterfaceCounters, InterfaceLoad]] = field(default_factory=OrderedDict)

    def take(self, exporter: bytes, readings: Iterable[InterfaceCounters]) -> None:
        """Add readings of an exporter, oldest first."""
        for reading in readings:
            key = exporter, reading.domain, reading.if_index
            before, _ = self.last.get(key, (None, None))
            self.last[key] = reading, load_between(before, reading)
            self.last.move_to_end(key)
        while len(self.last) > _LIMIT:
            self.last.popitem(last=False)

    def forget(self, now_ms: int) -> None:
        """Forget what has been silent for a day."""
        while self.last and next(iter(self.last.values()))[0].received_ms < now_ms - _FORGET_MS:
            self.last.popitem(last=False)

    def loads(self) -> list[tuple[bytes, InterfaceLoad]]:
        """All interfaces, in the order of exporter, sub-agent and number."""
        return [(key[0], self.last[key][1]) for key in sorted(self.last)]

    def summaries(self) -> dict[bytes, InterfaceSummary]:
        """A line for each exporter that sends counters."""
        grouped: dict[bytes, list[InterfaceLoad]] = {}
        for exporter, load in self.loads():
            grouped.setdefault(exporter, []).append(load)
        return {exporter: _summary(loads) for exporter, loads in grouped.items()}


def _summary(loads: list[InterfaceLoad]) -> InterfaceSummary:
    shares = [share for load in loads for share in load.share if share is not None]
    return InterfaceSummary(
        len(loads), max(shares, default=None), sum(load.errors for load in loads), sum(load.discards for load in loads)
    )
