"""The state of one (lane, window): per level its groups, and per kind a table of candidates.

In and out: bytes (a base), self-contained. Refuses to know how it is computed and what documents look like.

A level is a scope with or without DSCP. Groups of a level have codes: the port (exporter and interface), the exporter,
port * 64 + DSCP, the location, or 0 for the system. Items have codes, too: the application, the address, or a packed conversation
(`ConversationCodes`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np

from columns.arrays import Ints, Mask, Octets, bits_of, by_code
from columns.limits import Limits
from columns.names import NO_NAMES, Names, Recoding, Used, restrict
from columns.packing import Numbers, pack_arrays, unpack_arrays, widen
from flowpb.groupings import Kind, Scope

_MAGIC: Final = b"NBAS"
DSCP_BITS: Final = 6

RANKED: Final = (Kind.APPLICATION, Kind.HOST, Kind.CONVERSATION)
"""Kinds that always have a table; `LevelState.tables` and floors are in this order, followed by that of `Names.values`."""
CONVERSATIONS: Final = RANKED.index(Kind.CONVERSATION)
CONGESTION_ENCOUNTERED, NON_ECT = 1, 2
"""Bits of `flags`."""


class Sum(IntEnum):
    """Rows of `sums`. The unscaled ones are there where some flow was sampled, else they equal the first four.

    The last five are those of exporters in longer windows: what counts of the out-side, that of the minutes without an in-side.
    """

    BYTES_IN = 0
    BYTES_OUT = 1
    PACKETS_IN = 2
    PACKETS_OUT = 3
    FLOWS_IN = 4
    FLOWS_OUT = 5
    UNSCALED_BYTES_IN = 6
    UNSCALED_BYTES_OUT = 7
    UNSCALED_PACKETS_IN = 8
    UNSCALED_PACKETS_OUT = 9
    COUNTED_BYTES = 10
    COUNTED_PACKETS = 11
    COUNTED_FLOWS = 12
    COUNTED_UNSCALED_BYTES = 13
    COUNTED_UNSCALED_PACKETS = 14


PLAIN: Final = 6
"""How many sums there are without sampling."""
SAMPLED: Final = 10
"""How many there are with it."""


class Level(NamedTuple):
    """What the groups are about."""

    scope: Scope
    dscp: bool
    at_edge: bool = False


BY_PORT: Final = Level(Scope.INTERFACE, False)
BY_EXPORTER: Final = Level(Scope.EXPORTER, False)
BY_DSCP: Final = Level(Scope.INTERFACE, True)
BY_LOCATION: Final = Level(Scope.LOCATION, False)
BY_SYSTEM: Final = Level(Scope.SYSTEM, False)
BY_EDGE: Final = Level(Scope.EXPORTER, False, True)
"""Exporters by the traffic at their external interfaces alone; its `rows_in` are those of BY_EXPORTER, which decide what counts."""
LEVELS: Final = (BY_PORT, BY_EXPORTER, BY_DSCP, BY_LOCATION, BY_SYSTEM, BY_EDGE)
WIDE_LEVELS: Final = (BY_LOCATION, BY_SYSTEM)


def levels_of(limits: Limits) -> tuple[Level, ...]:
    """The levels that are aggregated in a lane."""
    return (BY_PORT, BY_EXPORTER, *([BY_DSCP] if limits.with_dscp else []), *([BY_EDGE] if limits.edge_only else []))


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups in the order of their codes: totals, rows merged, and per kind the floor (kinds, groups)."""

    code: Ints
    sums: Ints
    flags: Octets
    rows: Ints
    rows_in: Ints
    emitted_rows: Ints
    floors: Ints


@dataclass(frozen=True, slots=True)
class Table:
    """Items of all groups of one level, each (group, item) once: the true value lies in [value, value + error]."""

    group: Ints
    item: Ints
    sums: Ints
    flags: Octets
    error: Ints

    def take(self, rows: Ints | Mask) -> "Table":
        """Some of the rows."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return Table(self.group[rows], self.item[rows], np.take(self.sums, rows, axis=1), self.flags[rows], self.error[rows])


@dataclass(frozen=True, slots=True)
class LevelState:
    """Groups and one table per kind: those of RANKED, then those of the values. What the level does not rank has no items."""

    groups: Groups
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class ConversationCodes:
    """How a conversation packs into one integer; `catalog` has the distinct ones where they would be too wide."""

    service_bits: int
    address_bits: int
    catalog: Ints | None = None

    @staticmethod
    def of(names: Names) -> "ConversationCodes":
        """Wide enough for these names."""
        return ConversationCodes(bits_of(len(names.services)), bits_of(len(names.addresses) + 1))

    @property
    def bits(self) -> int:
        """Width of a code."""
        if self.catalog is not None:
            return bits_of(len(self.catalog))
        return self.service_bits + 2 * self.address_bits

    def fitting(self, bits: int, packed: Iterable[Ints]) -> "ConversationCodes":
        """These codes if they take no more than `bits`, else numbers of the packed conversations."""
        if self.bits <= bits:
            return self
        return replace(self, catalog=np.unique(np.concatenate(list(packed))))

    def encode(self, service: Ints, lower: Ints, upper: Ints) -> Ints:
        """Codes; with a catalog, of conversations that are in it."""
        packed: Ints = (service << 2 * self.address_bits) | (lower << self.address_bits) | upper
        return packed if self.catalog is None else np.searchsorted(self.catalog, packed)

    def decode(self, item: Ints) -> tuple[Ints, Ints, Ints]:
        """Service, lower and upper address."""
        packed = item if self.catalog is None else self.catalog[item]
        mask = (1 << self.address_bits) - 1
        return packed >> 2 * self.address_bits, (packed >> self.address_bits) & mask, packed & mask


@dataclass(frozen=True, slots=True)
class State:
    """Everything that is known about a window of a lane."""

    names: Names
    conversations: ConversationCodes
    levels: Mapping[Level, LevelState]

    @property
    def sampled(self) -> bool:
        """Whether unscaled sums are kept beside the scaled ones."""
        return any(len(level.groups.sums) == SAMPLED for level in self.levels.values())

    def pack(self) -> bytes:
        """As bytes, with only the names that are needed."""
        state = _restricted(self)
        arrays: list[Numbers] = [*state.names.pack(), np.array([LEVELS.index(level) for level in state.levels], np.int64)]
        for level in state.levels.values():
            groups = level.groups
            arrays += [np.array([len(groups.sums)]), groups.code, *groups.sums, groups.flags, groups.rows]
            arrays += [groups.rows_in, groups.emitted_rows, *groups.floors]
            for kind, table in enumerate(level.tables):
                items = state.conversations.decode(table.item) if kind == CONVERSATIONS else [table.item]
                arrays += [table.group, *items, *table.sums, table.flags, table.error]
        return pack_arrays(_MAGIC, arrays)

    @staticmethod
    def unpack(data: bytes) -> "State":
        """What `pack` gave; raises InputError."""
        rest = iter(unpack_arrays(_MAGIC, data))
        names = Names.unpack(rest)
        conversations = ConversationCodes.of(names)
        levels = [LEVELS[number] for number in next(rest).tolist()]
        kinds = len(RANKED) + len(names.values)
        return State(names, conversations, {level: _unpack_level(rest, conversations, kinds) for level in levels})

    def recoded(self, names: Names, to: Recoding, conversations: ConversationCodes) -> "State":
        """The same under other names."""
        levels = {}
        for level, state in self.levels.items():
            code = recode_groups(level, state.groups.code, to)
            tables = tuple(
                replace(
                    table,
                    group=recode_groups(level, table.group, to),
                    item=_recode_items(kind, table.item, to, self.conversations, conversations),
                )
                for kind, table in enumerate(state.tables)
            )
            levels[level] = LevelState(replace(state.groups, code=code), tables)
        return State(names, conversations, levels)


_NONE: Final = np.empty(0, np.int64)


def empty_table(sums: int) -> Table:
    """No items, with so many sums."""
    return Table(_NONE, _NONE, np.empty((sums, 0), np.int64), np.empty(0, np.uint8), _NONE)


def empty_level(names: Names) -> LevelState:
    """No groups, and a table for each kind."""
    kinds = len(RANKED) + len(names.values)
    nothing = empty_table(PLAIN)
    groups = Groups(_NONE, nothing.sums, nothing.flags, _NONE, _NONE, _NONE, np.empty((kinds, 0), np.int64))
    return LevelState(groups, (nothing,) * kinds)


KEY_BITS: Final = 63
"""Widest key of an item and a group."""

EMPTY: Final = State(NO_NAMES, ConversationCodes.of(NO_NAMES), {})


def with_sampling(level: LevelState, sampled: bool) -> LevelState:
    """The level with sums of unscaled counters, if they are wanted and not there."""
    groups = level.groups
    if not sampled or len(groups.sums) > PLAIN:
        return level
    tables = tuple(replace(table, sums=_with_unscaled(table.sums)) for table in level.tables)
    return LevelState(replace(groups, sums=_with_unscaled(groups.sums)), tables)


def with_counted(level: LevelState) -> LevelState:
    """Exporters of a minute as those of a longer window, which keeps apart what counts of the out-side."""
    level = with_sampling(level, True)
    groups = level.groups
    if len(groups.sums) > SAMPLED:
        return level
    tables = tuple(
        replace(table, sums=_apart(table.sums, by_code(groups.code, groups.rows_in, table.group) > 0)) for table in level.tables
    )
    return LevelState(replace(groups, sums=_apart(groups.sums, groups.rows_in > 0)), tables)


def _apart(sums: Ints, has_in: Mask) -> Ints:
    return np.concatenate([sums, np.where(has_in, 0, sums[1::2])])


def _with_unscaled(sums: Ints) -> Ints:
    return np.concatenate([sums, sums[: Sum.FLOWS_IN]])


def places_of(scope: Scope, names: Names) -> int:
    """How many groups of a scope the names allow, without DSCP."""
    counts = {Scope.INTERFACE: len(names.ports), Scope.EXPORTER: len(names.exporters), Scope.LOCATION: len(names.locations) + 1}
    return counts.get(scope, 1)


def group_bits(level: Level, names: Names) -> int:
    """Width of the group codes of a level."""
    return bits_of(places_of(level.scope, names)) + DSCP_BITS * level.dscp


def recode_groups(level: Level, code: Ints, to: Recoding) -> Ints:
    """Group codes under other names."""
    if level.scope is Scope.SYSTEM:
        return code
    if level.scope is Scope.LOCATION:
        return to.locations[code]
    if level.scope is Scope.EXPORTER:
        return to.exporters[code]
    if level.dscp:
        by_dscp: Ints = to.ports[code >> DSCP_BITS] << DSCP_BITS | code & ((1 << DSCP_BITS) - 1)
        return by_dscp
    return to.ports[code]


def _recode_items(kind: int, item: Ints, to: Recoding, old: ConversationCodes, new: ConversationCodes) -> Ints:
    if kind >= len(RANKED):
        return to.values[kind - len(RANKED)][item]
    if RANKED[kind] is Kind.APPLICATION:
        return to.applications[item]
    if RANKED[kind] is Kind.HOST:
        return to.addresses[item]
    service, lower, upper = old.decode(item)
    return new.encode(to.services[service], to.addresses[lower], to.addresses[upper])


def _restricted(state: State) -> State:
    used = Used.none(state.names)
    for level, content in state.levels.items():
        if level.scope is Scope.LOCATION:
            used.locations[content.groups.code] = True
        if level.scope is Scope.INTERFACE:
            used.ports[content.groups.code >> DSCP_BITS * level.dscp] = True
        application, host, conversation, *values = (table.item for table in content.tables)
        for mask, item in zip(used.values, values, strict=True):
            mask[item] = True
        service, lower, upper = state.conversations.decode(conversation)
        used.applications[application] = True
        used.services[service] = True
        for address in (host, lower, upper):
            used.addresses[address] = True
    names, to = restrict(state.names, used)
    return state.recoded(names, to, ConversationCodes.of(names))


def _unpack_level(arrays: Iterator[Numbers], conversations: ConversationCodes, kinds: int) -> LevelState:
    count = int(next(arrays)[0])
    code, sums, flags = widen(next(arrays)), _sums(arrays, count), next(arrays).astype(np.uint8)
    rows, rows_in, emitted_rows, *floors = (widen(next(arrays)) for _ in range(3 + kinds))
    groups = Groups(code, sums, flags, rows, rows_in, emitted_rows, np.stack(floors))
    return LevelState(groups, tuple(_unpack_table(arrays, kind, count, conversations) for kind in range(kinds)))


def _unpack_table(arrays: Iterator[Numbers], kind: int, count: int, conversations: ConversationCodes) -> Table:
    group = widen(next(arrays))
    if kind == CONVERSATIONS:
        service, lower, upper = (widen(next(arrays)) for _ in range(3))
        item = conversations.encode(service, lower, upper)
    else:
        item = widen(next(arrays))
    return Table(group, item, _sums(arrays, count), next(arrays).astype(np.uint8), widen(next(arrays)))


def _sums(arrays: Iterator[Numbers], count: int) -> Ints:
    rows: Sequence[Ints] = [widen(next(arrays)) for _ in range(count)]
    return np.stack(rows)
