"""Several bases to one: a longer window of one lane, or the same window of several lanes.

In: packed states. Out: the packed sum, with the errors carried (docs/explanation/numbers.md, section 8). It counts as not emitted
yet. Refuses to know which windows they were.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial, reduce

import numpy as np

from columns.arrays import bits_of
from columns.kinds import opened
from columns.limits import Limits
from columns.merge import merge
from columns.names import Recoding, unify
from columns.prune import Caps, prune
from columns.state import (
    CONVERSATIONS,
    DSCP_BITS,
    KEY_BITS,
    LEVELS,
    WIDE_LEVELS,
    ConversationCodes,
    Level,
    LevelState,
    State,
    empty_level,
    group_bits,
    levels_of,
    with_counted,
    with_sampling,
)
from flowpb.groupings import Scope, Values


def combine(bases: Sequence[bytes], limits: Limits, young: bool = False) -> bytes:
    """The sum of at least one base (or contribution), pruned once to the caps of `limits`; each has all of an exporter's window.

    Raises InputError for bytes that are no base.
    """
    state = merged(bases, (*levels_of(limits), *WIDE_LEVELS), limits.values)
    caps = {level: Caps.of(limits, young, level, state.names) for level in state.levels}
    return replace(state, levels={level: prune(level, whole, caps[level]) for level, whole in state.levels.items()}).pack()


def merged(bases: Sequence[bytes], wanted: Collection[Level], values: Sequence[Values]) -> State:
    """The sum of at least one base, of those of the wanted levels that any has; nothing is pruned. Raises InputError."""
    states = under_common_names(bases, values)
    names, conversations = states[0].names, states[0].conversations
    sampled = any(state.sampled for state in states)
    levels: dict[Level, LevelState] = {}
    for level in LEVELS:
        if level in wanted and any(level in state.levels for state in states):
            parts = [with_sampling(state.levels.get(level, empty_level(names)), sampled) for state in states]
            if level.scope is Scope.EXPORTER:
                parts = list(map(with_counted, parts))
            whole = reduce(partial(merge, group_bits=group_bits(level, names)), parts)
            fresh = replace(whole.groups, emitted_rows=np.zeros_like(whole.groups.rows))
            levels[level] = replace(whole, groups=fresh)
    return State(names, conversations, levels)


def under_common_names(bases: Sequence[bytes], values: Sequence[Values]) -> list[State]:
    """The states of bases, in which equal codes stand for the same; raises InputError."""
    states = [opened(base, values) for base in bases]
    names, recodings = unify([state.names for state in states])
    plain = ConversationCodes.of(names)
    common = [state.recoded(names, to, plain) for state, to in zip(states, recodings, strict=True)]
    items = (level.tables[CONVERSATIONS].item for state in common for level in state.levels.values())
    groups = max(len(names.ports), len(names.locations) + 1)
    codes = plain.fitting(KEY_BITS - bits_of(groups) - DSCP_BITS, items)
    return common if codes is plain else [state.recoded(names, Recoding.identity(names), codes) for state in common]
