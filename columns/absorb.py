"""Parts into a base: the step that lane state takes.

In: the packed state of a (lane, window), or none, and packed parts. Out: the packed state with the parts' rows in it, bounded
whatever they hold. Refuses to know marks and documents.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from columns.arrays import Ints, by_code
from columns.combine import combine
from columns.distinct import distinct_pairs
from columns.kinds import opened, ranks, with_kinds
from columns.levels import absorb_level
from columns.limits import OVERFLOW_IF_INDEX, Limits
from columns.names import Names, Recoding, unify
from columns.part import Part
from columns.prune import Caps
from columns.state import (
    BY_EDGE,
    BY_EXPORTER,
    CONVERSATIONS,
    EMPTY,
    KEY_BITS,
    ConversationCodes,
    Groups,
    LevelState,
    State,
    empty_level,
    group_bits,
    levels_of,
    with_sampling,
)
from columns.tabulate import CHUNK, Rows, Shape, tabulate

_STEP_BYTES: Final = 16 << 20
"""Parts are taken in steps of about this size, so that the names of one step stay few."""


def absorb(base: bytes | None, parts: Sequence[bytes], limits: Limits, young: bool) -> bytes:
    """The base with the rows of all parts; `young` until the first mark: the larger cap holds.

    Below the caps the outcome stands for the same numbers in whatever order and portions parts come. Raises InputError for
    bytes that are no part or base of this version.
    """
    state = with_kinds(EMPTY, limits.values) if base is None else opened(base, limits.values)
    keys = [kind.key for kind in limits.values]
    others: list[Part] = []
    for step in _steps(parts):
        unpacked = [Part.unpack(part) for part in step]
        own = [part for part in unpacked if [kind.key for kind in part.names.values] == keys]
        others += [part for part in unpacked if [kind.key for kind in part.names.values] != keys]
        state = _absorb_step(state, own, limits, young) if own else state
    return combine([state.pack(), _without_values(others, limits, young)], limits, young) if others else state.pack()


def _without_values(parts: Sequence[Part], limits: Limits, young: bool) -> bytes:
    """A base of parts that were laid out when other kinds were kept: none is ranked for them."""
    bare = [replace(part, names=replace(part.names, values=()), values=()) for part in parts]
    return _absorb_step(EMPTY, bare, replace(limits, values=()), young).pack()


def _steps(parts: Sequence[bytes]) -> Iterator[list[bytes]]:
    step: list[bytes] = []
    size = 0
    for part in parts:
        if step and size + len(part) > _STEP_BYTES:
            yield step
            step, size = [], 0
        step.append(part)
        size += len(part)
    if step:
        yield step


def _absorb_step(state: State, parts: Sequence[Part], limits: Limits, young: bool) -> State:
    names, recodings = unify([state.names, *(part.names for part in parts)])
    names, ports = _bound_interfaces(names, recodings[0].ports, limits.interfaces)
    recodings = [replace(to, ports=ports[to.ports]) for to in recodings]
    sampled = any(len(part.measures) > 2 for part in parts) or state.sampled
    rows = _rows(parts, recodings[1:], sampled)
    state = _recoded(state, names, recodings[0], rows, limits)
    levels = {level: with_sampling(state.levels.get(level, empty_level(names)), sampled) for level in levels_of(limits)}
    for start in range(0, len(rows), CHUNK):
        some = rows.slice(start, start + CHUNK)
        chunk = tabulate(some, names, state.conversations, limits)
        chunk_at_edge = tabulate(some.at_edge(), names, state.conversations, limits) if limits.edge_only else chunk
        for level, old in levels.items():
            caps, kept = Caps.of(limits, young, level, names), ranks(level, limits.values)
            levels[level] = absorb_level(
                level, old, chunk_at_edge if level.at_edge else chunk, group_bits(level, names), caps, kept
            )
    if BY_EDGE in levels:
        levels[BY_EDGE] = _judged_by(levels[BY_EDGE], levels[BY_EXPORTER].groups)
    return State(names, state.conversations, levels)


def _judged_by(at_edge: LevelState, exporters: Groups) -> LevelState:
    """What of an exporter counts is decided by all of its traffic."""
    rows_in = by_code(exporters.code, exporters.rows_in, at_edge.groups.code)
    return replace(at_edge, groups=replace(at_edge.groups, rows_in=rows_in))


def _bound_interfaces(names: Names, known: Ints, limit: int) -> tuple[Names, Ints]:
    """Names with at most `limit` ports per exporter and its overflow, and the new code of each; known ones stay."""
    exporter, interface = names.ports[:, 0], names.ports[:, 1]
    counts = np.bincount(exporter, minlength=1)
    if counts.max() <= limit:
        return names, np.arange(len(exporter))
    is_known = np.zeros(len(exporter), np.bool_)
    is_known[known] = True
    order = np.lexsort((~is_known, exporter))
    rank = np.empty(len(exporter), np.int64)
    rank[order] = np.arange(len(exporter)) - np.repeat(np.cumsum(counts) - counts, counts)
    overflow = ~is_known & (rank >= limit)
    ports, to = distinct_pairs(exporter, np.where(overflow, OVERFLOW_IF_INDEX, interface))
    return replace(names, ports=ports), to


def _rows(parts: Sequence[Part], recodings: Sequence[Recoding], sampled: bool) -> Rows:
    pairs = list(zip(parts, recodings, strict=True))
    return Rows(
        np.concatenate([to.ports[part.port] for part, to in pairs]),
        np.concatenate([to.services[part.service] for part, to in pairs]),
        np.concatenate([to.addresses[part.lower] for part, to in pairs]),
        np.concatenate([to.addresses[part.upper] for part, to in pairs]),
        np.concatenate([part.tag for part in parts]),
        np.concatenate([part.dscp for part in parts]),
        _values(pairs),
        np.concatenate(
            [part.measures[[0, 1, 0, 1]] if sampled and len(part.measures) == 2 else part.measures for part in parts], axis=1
        ),
    )


def _values(parts: Sequence[tuple[Part, Recoding]]) -> tuple[tuple[Ints, ...], ...]:
    """Codes of values by kind and column."""
    counts = [kind.columns for kind in parts[0][0].names.values]
    columns = [(kind, column) for kind, count in enumerate(counts) for column in range(count)]
    codes = [np.concatenate([to.values[kind][part.values[at]] for part, to in parts]) for at, (kind, _) in enumerate(columns)]
    return tuple(tuple(codes[at] for at, (of, _) in enumerate(columns) if of == kind) for kind in range(len(counts)))


def _recoded(state: State, names: Names, to: Recoding, rows: Rows, limits: Limits) -> State:
    """The state under the new names, with conversation codes that leave room for the rest of a key."""
    plain = ConversationCodes.of(names)
    state = state.recoded(names, to, plain)
    room = KEY_BITS - Shape.of(names, limits).bits
    codes = plain.fitting(room, _conversations(state, rows))
    return state if codes is plain else state.recoded(names, Recoding.identity(names), codes)


def _conversations(state: State, rows: Rows) -> Iterator[Ints]:
    yield state.conversations.encode(rows.service, rows.lower, rows.upper)
    for level in state.levels.values():
        yield level.tables[CONVERSATIONS].item
