"""Location and system scope: what the lanes of a window have, put together.

In: the base of each lane. Out: per lane a contribution, which is a packed state of the wide levels without exporters; and from one
contribution of each lane the documents of all locations and of the system (docs/explanation/numbers.md, section 12). A contribution
is complete: a later one of the same lane takes the place of the former. Refuses to know who keeps them and when they are due.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from columns.arrays import MAX, Ints, Mask, bits_of, by_code, saturating_add
from columns.combine import merged, under_common_names
from columns.deduplicate import derived, joined, largest, location_state, rankable, with_protocols
from columns.documents import Occasion
from columns.emit import changed_documents
from columns.kinds import opened, ranks
from columns.limits import Limits
from columns.names import Names, distinct_services
from columns.prune import Caps, prune
from columns.state import (
    BY_EDGE,
    BY_EXPORTER,
    BY_LOCATION,
    BY_SYSTEM,
    CONVERSATIONS,
    KEY_BITS,
    SAMPLED,
    WIDE_LEVELS,
    ConversationCodes,
    Groups,
    Level,
    LevelState,
    State,
    Table,
    empty_level,
    empty_table,
    group_bits,
)
from columns.sums import sum_with_flags
from flowpb.documents import AGGREGATE_SCHEMA
from flowpb.groupings import WINDOW_MS, Values


def contribution(base: bytes, limits: Limits) -> bytes:
    """What a lane's base gives to location and system scope, bounded by the caps of a young window. Raises InputError."""
    state = opened(base, limits.values)
    exporters = _what_counts(state.levels.get(BY_EDGE if limits.edge_only else BY_EXPORTER, empty_level(state.names)))
    names, conversations, exporters = _with_located_services(state, exporters)
    if limits.deduplicate:
        return _once(names, conversations, exporters, limits).pack()
    levels = {}
    for level, of_exporter in ((BY_LOCATION, names.exporters[:, 0]), (BY_SYSTEM, np.zeros(len(names.exporters), np.int64))):
        ranked = _of_level(exporters, level, limits.values)
        projected = _projected(ranked, of_exporter, group_bits(level, names))
        levels[level] = prune(level, projected, Caps.of(limits, True, level, names))
    return State(names, conversations, levels).pack()


def emit_wide(
    contributions: Sequence[bytes], window_start_ms: int, mark: int, final: bool, limits: Limits, window_ms: int = WINDOW_MS
) -> pa.Table:
    """Documents in AGGREGATE_SCHEMA from the last contribution of each lane: all groups, by grouping, location and slot.

    Nothing is pruned on the way: error and floor are those of the contributions. Raises InputError.
    """
    if not contributions:
        return AGGREGATE_SCHEMA.empty_table()
    occasion = Occasion(None, window_start_ms, mark, final, window_ms)
    if limits.deduplicate:
        limits = replace(limits, values=rankable(limits.values))
        state = _each_once(contributions, limits)
        errors = {level: content.groups.floors[CONVERSATIONS] for level, content in state.levels.items()}
        return changed_documents(state, state.levels.keys(), limits, occasion, errors)
    state = merged(contributions, WIDE_LEVELS, limits.values)
    return changed_documents(state, state.levels.keys(), limits, occasion)


def _once(names: Names, conversations: ConversationCodes, exporters: LevelState, limits: Limits) -> State:
    """A contribution in which each conversation of a location is there once."""
    bits = group_bits(BY_LOCATION, names)
    groups = _projected(exporters, names.exporters[:, 0], bits).groups
    level = location_state(exporters, names.exporters[:, 0], groups, Caps.of(limits, True, BY_LOCATION, names))
    return State(names, conversations, {BY_LOCATION: level})


def _each_once(contributions: Sequence[bytes], limits: Limits) -> State:
    """Both wide levels from the largest of each conversation in any lane."""
    state = merged(contributions, [BY_LOCATION], ())
    if BY_LOCATION not in state.levels:
        return state
    rows = largest(joined([each.levels[BY_LOCATION].tables[CONVERSATIONS] for each in under_common_names(contributions, ())]))
    names = with_protocols(state.names, limits.values)
    level = state.levels[BY_LOCATION]
    tables = list(level.tables)
    tables[CONVERSATIONS] = rows
    level = replace(level, tables=tuple(tables))
    whole = _projected(level, np.zeros(len(names.locations) + 1, np.int64), 0)
    systems = replace(level, groups=whole.groups)
    return State(
        names,
        state.conversations,
        {
            BY_LOCATION: derived(level, rows.group, names, state.conversations, group_bits(BY_LOCATION, names)),
            BY_SYSTEM: derived(systems, np.zeros_like(rows.group), names, state.conversations, 0),
        },
    )


def _what_counts(level: LevelState) -> LevelState:
    """The exporters' sums without what does not count."""
    groups = level.groups
    has_in = groups.rows_in > 0
    tables = tuple(
        replace(table, sums=_one_side(table.sums, by_code(groups.code, groups.rows_in, table.group) > 0)) for table in level.tables
    )
    return LevelState(replace(groups, sums=_one_side(groups.sums, has_in)), tables)


def _one_side(sums: Ints, has_in: Mask) -> Ints:
    counted = sums[:SAMPLED].copy()
    if len(sums) > SAMPLED:
        counted[1::2] = sums[SAMPLED:]
        return counted
    counted[1::2, has_in] = 0
    counted[0::2, ~has_in] = 0
    return counted


def _with_located_services(state: State, exporters: LevelState) -> tuple[Names, ConversationCodes, LevelState]:
    """Names whose services say their location, and the level with conversations of them."""
    table = exporters.tables[CONVERSATIONS]
    service, lower, upper = state.conversations.decode(table.item)
    triples = state.names.services[service].copy()
    triples[:, 0] = state.names.exporters[table.group, 0]
    services, service = distinct_services(triples)
    names = replace(state.names, services=services)
    plain = ConversationCodes.of(names)
    item = plain.encode(service, lower, upper)
    codes = plain.fitting(KEY_BITS - bits_of(len(names.locations) + 1), [item])
    tables = list(exporters.tables)
    tables[CONVERSATIONS] = replace(table, item=codes.encode(service, lower, upper))
    return names, codes, replace(exporters, tables=tuple(tables))


def _of_level(exporters: LevelState, level: Level, values: Sequence[Values]) -> LevelState:
    """Without the kinds that the wide level does not rank."""
    floors, tables = exporters.groups.floors.copy(), list(exporters.tables)
    for kind, kept in enumerate(ranks(level, values)):
        if not kept:
            floors[kind], tables[kind] = 0, empty_table(len(exporters.groups.sums))
    return LevelState(replace(exporters.groups, floors=floors), tuple(tables))


def _projected(level: LevelState, of_exporter: Ints, bits: int) -> LevelState:
    """The level with the exporters' groups added up to the groups `of_exporter` (by exporter code), codes below 2^bits."""
    groups = level.groups
    code, (measures, flags) = sum_with_flags(
        of_exporter[groups.code],
        bits,
        np.concatenate([groups.sums, groups.rows[None], groups.rows_in[None], groups.floors]),
        groups.flags,
    )
    count = len(groups.sums)
    sums, (rows, rows_in), floors = measures[:count], measures[count : count + 2], measures[count + 2 :]
    tables = tuple(
        _projected_table(table, by_code(groups.code, groups.floors[kind], table.group), of_exporter, bits, (code, floors[kind]))
        for kind, table in enumerate(level.tables)
    )
    return LevelState(Groups(code, sums, flags, rows, rows_in, np.zeros_like(rows), floors), tables)


def _projected_table(table: Table, floor: Ints, of_exporter: Ints, bits: int, whole: tuple[Ints, Ints]) -> Table:
    """Items added up; what an exporter's floor may hide of an item that it does not list is part of the item's error.

    `floor` is that of each row's exporter; `whole` the codes of the new groups and the sums of their exporters' floors.
    """
    keys, (measures, flags) = sum_with_flags(
        table.item << bits | of_exporter[table.group],
        KEY_BITS,
        np.concatenate([table.sums, table.error[None], floor[None]]),
        table.flags,
    )
    group = keys & ((1 << bits) - 1)
    everything = by_code(*whole, group)
    elsewhere = np.where(everything == MAX, MAX, everything - measures[-1])
    return Table(group, keys >> bits, measures[:-2], flags, saturating_add(measures[-2], elsewhere))
