"""Readings of interface counters: what sFlow agents sent, and what two of them say about the time between.

In: readings as they came. Out: lines of the report, and rates per interface: load, errors, discards. Octets have 64 bits and never
wrap: where they fall the agent has started again; the others have 32 bits and do wrap. Refuses to know samples.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from flowpb.flow_batch_pb2 import InterfaceCounters as Line
from ingest.protocols.sflow import InterfaceCounters

_WRAP: Final = 1 << 32
_UP: Final = 2
_FULL_DUPLEX: Final = (1, 3, 4)
"""Directions (ifDirection of sFlow) whose speed counts for each way by itself: full, in, out."""


@dataclass(frozen=True, slots=True)
class InterfaceReading:
    """Counters of one interface as an sFlow agent sent them; they count up from the agent's start."""

    exporter: bytes
    received_ms: int
    domain: int
    counters: InterfaceCounters


Ways = tuple[float | None, float | None]
"""In and out."""


@dataclass(frozen=True, slots=True)
class InterfaceLoad:
    """One interface between its last two readings; shares are of its speed, None where that is 0 or there is one reading only."""

    domain: int
    if_index: int
    speed: int
    is_up: bool
    read_ms: int
    seconds: float | None
    octets_per_s: Ways
    share: Ways
    packets: int
    errors: int
    discards: int


def line_of(reading: InterfaceReading) -> Line:
    """A reading in the report of its exporter."""
    counters = reading.counters
    line = Line(received_ms=reading.received_ms, domain=reading.domain, duplex=counters.direction)
    for name in InterfaceCounters._fields:
        if name != "direction":
            setattr(line, name, getattr(counters, name))
    return line


def load_between(before: Line | None, now: Line) -> InterfaceLoad:
    """What an interface carried between two readings; the first one, or one after a restart, tells no rates."""
    usable = before is not None and before.received_ms < now.received_ms and not _restarted(before, now)
    if before is None or not usable:
        return _load(now, None, (None, None), (0, 0, 0))
    seconds = (now.received_ms - before.received_ms) / 1000
    rates = (now.in_octets - before.in_octets) / seconds, (now.out_octets - before.out_octets) / seconds
    return _load(now, seconds, rates, (_grown(before, now, _PACKETS), _grown(before, now, _ERRORS), _grown(before, now, _DISCARDS)))


_PACKETS: Final = ("in_unicast", "in_multicast", "in_broadcast", "out_unicast", "out_multicast", "out_broadcast")
_ERRORS: Final = ("in_errors", "out_errors")
_DISCARDS: Final = ("in_discards", "out_discards")


def _load(now: Line, seconds: float | None, rates: Ways, grown: tuple[int, int, int]) -> InterfaceLoad:
    shares = rates if now.duplex in _FULL_DUPLEX else _both(rates)
    loads = (_rounded(rates[0]), _rounded(rates[1])), (_share(shares[0], now.speed), _share(shares[1], now.speed))
    is_up = bool(now.status & _UP)
    return InterfaceLoad(now.domain, now.if_index, now.speed, is_up, now.received_ms, seconds, *loads, *grown)


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)


def _share(rate: float | None, speed: int) -> float | None:
    return None if rate is None or not speed else round(rate * 8 / speed, 6)


def _both(rates: Ways) -> Ways:
    """Half duplex: both ways share the speed."""
    total = None if rates[0] is None or rates[1] is None else rates[0] + rates[1]
    return total, total


def _restarted(before: Line, now: Line) -> bool:
    return now.in_octets < before.in_octets or now.out_octets < before.out_octets


def _grown(before: Line, now: Line, names: Iterable[str]) -> int:
    return sum((getattr(now, name) - getattr(before, name)) % _WRAP for name in names)
