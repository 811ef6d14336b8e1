"""Which kinds of values a state ranks, and how one comes to rank others when the settings have changed.

In: a state, and the kinds that are wanted. Out: the state with a table for each of them. Of a kind that a state did not rank it
knows the groups' totals only: all of it may belong to any item, and that is the floor. Refuses to know parts and rows.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from columns.arrays import Ints, saturating_add
from columns.names import ValueNames
from columns.state import RANKED, Groups, Level, LevelState, State, Sum, empty_table
from flowpb.groupings import Kind, Values


def opened(base: bytes, values: Sequence[Values]) -> State:
    """The state that a base holds, with tables for these kinds. Raises InputError."""
    return with_kinds(State.unpack(base), values)


def ranks(level: Level, values: Sequence[Values]) -> list[bool]:
    """Which of the tables a level has items in."""
    return [True] * len(RANKED) + [kind.kept_at(level.scope) for kind in values]


def position(kind: Kind | Values, values: Sequence[Values]) -> int:
    """Where the table of a kind is."""
    return len(RANKED) + list(values).index(kind) if isinstance(kind, Values) else RANKED.index(kind)


def with_kinds(state: State, values: Sequence[Values]) -> State:
    """The state with tables for these kinds in this order, and for no others."""
    known = {kind.key: number for number, kind in enumerate(state.names.values)}
    if [kind.key for kind in values] == list(known):
        return state
    numbers = [known.get(kind.key) for kind in values]
    names = replace(
        state.names,
        values=tuple(
            ValueNames(kind.key, len(kind.columns), np.empty(0, np.int64)) if number is None else state.names.values[number]
            for kind, number in zip(values, numbers, strict=True)
        ),
    )
    return State(names, state.conversations, {level: _level(level, each, values, numbers) for level, each in state.levels.items()})


def _level(level: Level, state: LevelState, values: Sequence[Values], numbers: Sequence[int | None]) -> LevelState:
    groups, fixed = state.groups, len(RANKED)
    tables = [empty_table(len(groups.sums)) if number is None else state.tables[fixed + number] for number in numbers]
    floors = [
        _all_that_counts(level, groups, kind) if number is None else groups.floors[fixed + number]
        for kind, number in zip(values, numbers, strict=True)
    ]
    return LevelState(
        replace(groups, floors=np.concatenate([groups.floors[:fixed], *(floor[None] for floor in floors)])),
        (*state.tables[:fixed], *tables),
    )


def _all_that_counts(level: Level, groups: Groups, kind: Values) -> Ints:
    """The most that an item of a kind can have that was not ranked."""
    if not (kind.kept_at(level.scope) or level.scope in kind.scopes):
        return np.zeros_like(groups.code)
    once = saturating_add(groups.sums[Sum.BYTES_IN], groups.sums[Sum.BYTES_OUT])
    whole = once
    for _ in kind.columns[1:]:
        whole = saturating_add(whole, once)
    return np.maximum(whole, 1)
