"""Layouts: where the fields of a record are, and which flows a record holds.

In: the packed field specifiers of a template. Out: offsets, and one or two views. A view says in which field to find each element
of one directed flow. Records of both directions have a second view with the ends exchanged: RFC 5103 reverse elements, and
initiator/responder counters (elements 231, 232, 298, 299). Refuses to know values.
"""

from dataclasses import dataclass
from typing import Final

from ingest.elements import REVERSE_PEN, SCOPE_PEN
from ingest.templates import SPECIFIER, VARIABLE, Field

Key = tuple[int, int]
Index = dict[Key, int]
"""Field number by (enterprise, element)."""

_ALIASES: Final = {40001: 225, 40002: 226, 40003: 227, 40004: 228, 40005: 233}
"""Cisco ASA software before 8.4 numbered translated addresses, ports and the firewall event so."""
_CONNECTION: Final = {(9, 12236): 8, (9, 12237): 12, (9, 12240): 7, (9, 12241): 11}
"""Client and server of a connection, as Cisco's performance monitor (AVC) sends them with 231 and 232 in place of both ends."""
_EXCHANGED: Final = (
    (8, 12),
    (27, 28),
    (7, 11),
    (180, 181),
    (182, 183),
    (9, 13),
    (29, 30),
    (16, 17),
    (10, 14),
    (252, 253),
    (56, 80),
    (81, 57),
    (58, 59),
    (243, 254),
    (234, 235),
    (128, 129),
    (484, 485),
    (225, 226),
    (227, 228),
    (281, 282),
)
_ENDS: Final = dict([*_EXCHANGED, *((b, a) for a, b in _EXCHANGED)])
_COUNTERS: Final = frozenset((1, 2, 23, 24, 85, 86, 231, 232, 298, 299, 352, 401, 402, 417))
_ONE_WAY: Final = _COUNTERS | {6, 52, 53, 136, 192, 176, 177, 178, 179, 32, 139}
_INITIATOR: Final = {1: 231, 2: 298}
_RESPONDER: Final = {1: 232, 2: 299}


@dataclass(frozen=True, slots=True)
class View:
    """One directed flow of a record; `counters` are the fields of which one must be above 0 for a second flow to exist."""

    index: Index
    counters: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of one structure of records. `offsets` hold up to the first field of variable length."""

    fields: tuple[Field, ...]
    offsets: tuple[int, ...]
    size: int
    variable: bool
    views: tuple[View, ...]


def make_layout(spec: bytes) -> Layout:
    """The layout of packed SPECIFIERs."""
    fields = tuple(Field(*specifier) for specifier in SPECIFIER.iter_unpack(spec))
    offsets, size, variable = [], 0, False
    for item in fields:
        offsets.append(size)
        variable |= item.length == VARIABLE
        size += 1 if item.length == VARIABLE else item.length
    return Layout(fields, tuple(offsets), size, variable, _views(fields))


def _views(fields: tuple[Field, ...]) -> tuple[View, ...]:
    index: Index = {}
    for number, item in enumerate(fields):
        if item.length and item.pen != SCOPE_PEN:
            element = _ALIASES.get(item.id, item.id) if item.pen == 0 else item.id
            index.setdefault((item.pen, element), number)
    for key in _CONNECTION.keys() & index.keys():
        index.setdefault((0, _CONNECTION[key]), index[key])
    pair = _take_pair(index)
    if pair is not None:
        return pair
    reverse = {(0, number): place for (pen, number), place in index.items() if pen == REVERSE_PEN}
    counters = tuple(place for (_, number), place in reverse.items() if number in _COUNTERS)
    if not counters:
        return (View(index),)
    kept = {_exchange(key): place for key, place in index.items() if key[0] != 0 or key[1] not in _ONE_WAY}
    return View(index), View(kept | reverse, counters)


def _take_pair(index: Index) -> tuple[View, ...] | None:
    forward = {(0, to): index[0, source] for to, source in _INITIATOR.items() if (0, source) in index}
    reverse = {(0, to): index[0, source] for to, source in _RESPONDER.items() if (0, source) in index}
    if (0, 1) in index or (0, 23) in index or not (forward or reverse):
        return None
    rest = {key: place for key, place in index.items() if key[0] != 0 or key[1] not in _COUNTERS}
    there = {key: place for key, place in rest.items() if key[0] != 0 or key[1] not in _ONE_WAY}
    back = View({_exchange(key): place for key, place in there.items()} | reverse, tuple(reverse.values()))
    return (View(rest | forward), back) if reverse else (View(rest | forward),)


def _exchange(key: Key) -> Key:
    return (0, _ENDS.get(key[1], key[1])) if key[0] == 0 else key
