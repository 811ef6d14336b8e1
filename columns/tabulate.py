"""Rows to sums by the finest key, one table per kind, from as few sorts as possible.

In: rows of parts under common names. Out: for totals and for each kind the sums by (item, port, DSCP, side), in the order of that
key, so that rows of one item and group are neighbours whatever the level (columns/levels.py). Hosts come from the conversations'
sums, not from the rows. Refuses to know levels, what was there before, and caps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from columns.arrays import Ints, Octets, bits_of, saturating_add
from columns.limits import Limits
from columns.names import Names
from columns.part import EDGE, MIRROR, SIDE_BITS
from columns.state import BY_DSCP, BY_PORT, DSCP_BITS, ConversationCodes, Level
from columns.sums import sum_by_key
from flowpb.groupings import Scope

CHUNK: Final = 1 << 19
"""Rows that are tabulated at a time, so that the three counts of a tally fit in one integer."""

COUNT_BITS: Final = 21
OCTETS, PACKETS, TALLY = range(3)
"""First measures of a table; a tally is three counts in one integer: flows, rows with ECN 3, rows without ECN."""
_TALLIES: Final = np.array(
    [tag >> 2 & 1 | (tag >> 3 & 1) << COUNT_BITS | (tag >> 4 & 1) << 2 * COUNT_BITS for tag in range(64)], np.int64
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of several parts under common names; `measures` has two rows, or four if some flow was sampled.

    `values`: per kind the codes of each of its columns.
    """

    port: Ints
    service: Ints
    lower: Ints
    upper: Ints
    tag: Octets
    dscp: Octets
    values: tuple[tuple[Ints, ...], ...]
    measures: Ints

    def __len__(self) -> int:
        return len(self.port)

    def slice(self, start: int, stop: int) -> "Rows":
        """Rows start .. stop - 1."""
        part = slice(start, stop)
        port, service, lower, upper = (column[part] for column in (self.port, self.service, self.lower, self.upper))
        values = tuple(tuple(column[part] for column in columns) for columns in self.values)
        return Rows(port, service, lower, upper, self.tag[part], self.dscp[part], values, self.measures[:, part])

    def at_edge(self) -> "Rows":
        """Rows of external interfaces that count above interface scope."""
        chosen = np.flatnonzero((self.tag & EDGE > 0) & (self.tag & ((1 << SIDE_BITS) - 1) != MIRROR))
        port, service, lower, upper = (column[chosen] for column in (self.port, self.service, self.lower, self.upper))
        values = tuple(tuple(column[chosen] for column in columns) for columns in self.values)
        return Rows(
            port, service, lower, upper, self.tag[chosen], self.dscp[chosen], values, np.take(self.measures, chosen, axis=1)
        )


@dataclass(frozen=True, slots=True)
class Shape:
    """How a place (port, DSCP, side) packs below an item, and the exporter of each port."""

    port_bits: int
    dscp_bits: int
    exporter_of_port: Ints

    @staticmethod
    def of(names: Names, limits: Limits) -> "Shape":
        """Wide enough for these names."""
        return Shape(bits_of(len(names.ports)), DSCP_BITS if limits.with_dscp else 0, names.ports[:, 0])

    @property
    def bits(self) -> int:
        """Width of a place."""
        return self.port_bits + self.dscp_bits + SIDE_BITS

    def places(self, rows: Rows) -> Ints:
        """The place of each row."""
        port = rows.port << self.dscp_bits | rows.dscp if self.dscp_bits else rows.port
        places: Ints = port << SIDE_BITS | rows.tag & ((1 << SIDE_BITS) - 1)
        return places

    @property
    def finest(self) -> Level:
        """The level of which a key without its side is the key."""
        return BY_DSCP if self.dscp_bits else BY_PORT

    def group_of(self, level: Level, place: Ints) -> Ints:
        """The group of another level that each place belongs to; rises with the place."""
        port: Ints = place >> self.dscp_bits + SIDE_BITS
        return self.exporter_of_port[port] if level.scope is Scope.EXPORTER else port


@dataclass(frozen=True, slots=True)
class Sums:
    """Distinct keys in order, item above place, and their sums (measures, keys): OCTETS, PACKETS, TALLY, unscaled ones."""

    keys: Ints
    measures: Ints


@dataclass(frozen=True, slots=True)
class Tabulated:
    """Sums of a chunk of rows: `tables` by kind, fixed ones first; those of `totals` have the number of rows as last measure."""

    shape: Shape
    totals: Sums
    tables: tuple[Sums, ...]


def tabulate(rows: Rows, names: Names, conversations: ConversationCodes, limits: Limits) -> Tabulated:
    """Sums of at most CHUNK rows."""
    shape = Shape.of(names, limits)
    place = shape.places(rows)
    measures = np.concatenate([rows.measures[:TALLY], _TALLIES[rows.tag][None], rows.measures[TALLY:]])
    totals = _sums(np.zeros_like(place), 0, place, shape, np.concatenate([measures, np.ones((1, len(rows)), np.int64)]))
    application = names.services[rows.service, 1]
    by_application = _sums(application, bits_of(len(names.applications) + 1), place, shape, measures)
    conversation = conversations.encode(rows.service, rows.lower, rows.upper)
    by_conversation = _sums(conversation, conversations.bits, place, shape, measures)
    by_host = _host_sums(by_conversation, shape, names, conversations)
    by_value = (
        _value_sums(columns, bits_of(len(kind.values) + 1), place, shape, measures)
        if len(kind.values)
        else _all_null(totals, kind.columns)
        for kind, columns in zip(names.values, rows.values, strict=True)
    )
    return Tabulated(shape, totals, (by_application, by_host, by_conversation, *by_value))


def _sums(item: Ints, item_bits: int, place: Ints, shape: Shape, measures: Ints) -> Sums:
    return Sums(*sum_by_key(item << shape.bits | place, item_bits + shape.bits, measures))


def _all_null(totals: Sums, columns: int) -> Sums:
    """What the sums of a kind are of which no value was ever seen."""
    once = totals.measures[:-1]
    return Sums(totals.keys, once if columns == 1 else saturating_add(once, once))


def _value_sums(columns: Sequence[Ints], item_bits: int, place: Ints, shape: Shape, measures: Ints) -> Sums:
    """A row counts at the value of each column."""
    if len(columns) == 1:
        return _sums(columns[0], item_bits, place, shape, measures)
    return _sums(np.concatenate(columns), item_bits, np.tile(place, len(columns)), shape, np.tile(measures, len(columns)))


def _host_sums(sums: Sums, shape: Shape, names: Names, conversations: ConversationCodes) -> Sums:
    """Each conversation counts at both of its ends, twice at one if they are equal."""
    _, lower, upper = conversations.decode(sums.keys >> shape.bits)
    place = np.tile(sums.keys & ((1 << shape.bits) - 1), 2)
    return _sums(np.concatenate([lower, upper]), bits_of(len(names.addresses) + 1), place, shape, np.tile(sums.measures, 2))
