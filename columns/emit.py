"""A base at a mark: the documents of the groups that changed, and the base that remembers it.

In: the packed state of a (lane, window) and which mark it is. Out: the state as it goes on, and a table of documents. Refuses to
know when marks are due.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa

from columns.arrays import Ints
from columns.documents import Occasion, Section, documents
from columns.kinds import opened, position
from columns.limits import Limits
from columns.marks import MARKS
from columns.prune import Caps, prune
from columns.rank import Ranking, rank_items, rank_totals
from columns.state import BY_PORT, CONVERSATIONS, Level, LevelState, State, levels_of
from flowpb.documents import AGGREGATE_SCHEMA
from flowpb.groupings import WINDOW_MS, Grouping, Kind, groupings_of

_OF_SERIES: Final = frozenset({Kind.TOTAL, Kind.APPLICATION})


def emit(
    base: bytes, lane: int, window_start_ms: int, mark: int, final: bool, limits: Limits, window_ms: int = WINDOW_MS
) -> tuple[bytes, pa.Table]:
    """The base after the mark, and the documents, in AGGREGATE_SCHEMA, of every group that gained rows since its last ones.

    Rows are ordered by grouping, group (location, exporter, interface, DSCP) and slot. From the first mark on the base keeps
    `limits.old` candidates per group. Raises InputError for bytes that are no base.
    """
    state = opened(base, limits.values)
    levels = {level: state.levels[level] for level in levels_of(limits) if level in state.levels}
    table = changed_documents(state, levels, limits, Occasion(lane, window_start_ms, mark, final, window_ms))
    kept = {level: prune(level, _emitted(content), Caps.of(limits, False, level, state.names)) for level, content in levels.items()}
    return State(state.names, state.conversations, kept).pack(), table


def series_documents(base: bytes, lane: int, window_start_ms: int, limits: Limits) -> pa.Table:
    """Totals of interfaces and their applications as the last mark leaves them, in AGGREGATE_SCHEMA, of all groups.

    The last mark itself writes only what gained rows since the mark before; a series needs a point of everything. Takes the base
    behind that mark; raises InputError for bytes that are no base.
    """
    state = opened(base, limits.values)
    if BY_PORT not in state.levels:
        return AGGREGATE_SCHEMA.empty_table()
    content = state.levels[BY_PORT]
    whole = replace(content, groups=replace(content.groups, emitted_rows=np.zeros_like(content.groups.emitted_rows)))
    state = replace(state, levels={BY_PORT: whole})
    sections = [
        Section(grouping, BY_PORT, whole.groups, _ranking(state, grouping, BY_PORT, limits, None))
        for grouping in groupings_of(limits.values)
        if Level(grouping.scope, grouping.dscp) == BY_PORT and grouping.kind in _OF_SERIES
    ]
    return documents(state, sections, Occasion(lane, window_start_ms, MARKS, True, WINDOW_MS))


def changed_documents(
    state: State, levels: Collection[Level], limits: Limits, occasion: Occasion, errors: Mapping[Level, Ints] | None = None
) -> pa.Table:
    """Documents of the groups of these levels that gained rows since they were emitted; `errors` are those of totals."""
    sections = [
        Section(grouping, level, state.levels[level].groups, _ranking(state, grouping, level, limits, errors))
        for grouping in groupings_of(limits.values)
        if (level := Level(grouping.scope, grouping.dscp)) in levels
    ]
    return documents(state, sections, occasion)


def _ranking(state: State, grouping: Grouping, level: Level, limits: Limits, errors: Mapping[Level, Ints] | None) -> Ranking:
    content = state.levels[level]
    changed = content.groups.rows > content.groups.emitted_rows
    if grouping.kind is Kind.TOTAL:
        return rank_totals(level, content.groups, changed, None if errors is None else errors[level])
    kind = position(grouping.kind, limits.values)
    ties = _ties(state, kind, content.tables[kind].item)
    return rank_items(level, content, kind, ties, changed, limits.top_k, grouping.multiplicity)


def _ties(state: State, kind: int, item: Ints) -> Ints:
    """What orders items of equal value inside a group; codes compare as what they stand for, null first."""
    if kind != CONVERSATIONS:
        return item[None]
    service, lower, upper = state.conversations.decode(item)
    location, application, protocol = state.names.services[service].T
    return np.stack([location, protocol, lower, upper, application])


def _emitted(content: LevelState) -> LevelState:
    return replace(content, groups=replace(content.groups, emitted_rows=content.groups.rows))
