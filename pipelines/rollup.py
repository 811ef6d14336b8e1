"""Minutes to hours and hours to days: partials of shorter windows to partials and documents of longer ones.

In: a store's partials (stores.cascade). Out: what is due, and the longer windows made of it, by the error rule of
docs/explanation/numbers.md 8 and 12; never from top-K documents. Refuses to know which store it is and when it is called.

A window is due once every lane has given its last partials through its end, and again whenever one of the partials that it was made
of has changed: `made_of` in the longer partial says what those were. So a repeated run changes nothing, and a repaired minute makes
its hour and its day again. Partials are kept for KEEP_MS beyond the end of what is made of them.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from threading import Event
from typing import Final

import pyarrow as pa

from columns.enrich import Enricher
from columns.lane import MARKS, Limits, combine, contribution, emit, emit_wide
from columns.naming import named
from columns.partials import partial_of, rows_of
from common.errors import StoreError
from flowpb.documents import LEVEL_DAY, LEVEL_HOUR, LEVEL_MINUTE
from flowpb.groupings import LEVEL_MS
from flowpb.partials import partial_row
from stores.cascade import CASCADE, SHORTER, Cascade, Kept

KEEP_MS: Final = 26 * 3_600_000
_AT_ONCE: Final = 48 << 20
"""Octets of states that are added up at a time."""


@dataclass(frozen=True, slots=True)
class Due:
    """A longer window to be made, and per lane what of."""

    level: str
    window_start_ms: int
    lanes: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Rules:
    """How windows are made: bounds, names, and whether of location and system scope, too."""

    limits: Limits
    enricher: Enricher
    wide: bool = True


@dataclass(frozen=True, slots=True)
class Made:
    """A longer window: partials of all lanes, and documents without names."""

    due: Due
    partials: pa.Table
    documents: pa.Table


def roll_up(store: Cascade, rules: Rules, stopped: Event | None = None) -> Iterator[Due]:
    """Makes everything that is due, and tells each window after it is kept; then forgets what is no longer needed."""
    while found := next_due(store):
        put(store, make(store, found, rules, stopped), rules)
        yield found
    forget(store)


def next_due(store: Cascade, without: Collection[tuple[str, int]] = ()) -> Due | None:
    """The oldest hour that is due, else the oldest day; none of the (level, window)s in `without`."""
    final_through_ms = store.final_through()
    if final_through_ms is None:
        return None
    for level in CASCADE:
        for found in due_of(level, store.kept(SHORTER[level]), store.kept(level), final_through_ms):
            if (level, found.window_start_ms) not in without:
                return found
    return None


def due_of(level: str, shorter: Sequence[Kept], made: Sequence[Kept], final_through_ms: int) -> Iterator[Due]:
    """Windows of a level that are complete and not made of exactly the partials that there are, oldest first.

    One that was made and whose partials may be forgotten by now is left alone.
    """
    length_ms, keep_from_ms = LEVEL_MS[level], kept_from(level, final_through_ms)
    known: dict[int, dict[int, str]] = {}
    for one in made:
        known.setdefault(one.window_start_ms, {})[one.lane] = one.made_of
    for number, inside in groupby(shorter, key=lambda one: one.window_start_ms // length_ms):
        start_ms = number * length_ms
        if start_ms + length_ms > final_through_ms:
            return
        if start_ms in known and start_ms < keep_from_ms:
            continue
        lanes = _made_of(inside)
        if known.get(start_ms) != lanes:
            yield Due(level, start_ms, lanes)


def kept_from(level: str, final_through_ms: int) -> int:
    """The first window of a level whose shorter partials are kept."""
    return (final_through_ms - KEEP_MS) // LEVEL_MS[level] * LEVEL_MS[level]


def make(store: Cascade, due: Due, rules: Rules, stopped: Event | None = None) -> Made:
    """Reads the states of one lane after the other; holds those of one.

    Raises StoreError, also between two lanes when `stopped` is set, and InputError for damaged states.
    """
    level, start_ms, limits = due.level, due.window_start_ms, rules.limits
    end_ms = start_ms + LEVEL_MS[level]
    partials, documents, contributions = [], [], []
    for lane, made_of in due.lanes.items():
        if stopped and stopped.is_set():
            raise StoreError("stopped")
        base = _sum_of(store.states(SHORTER[level], start_ms, end_ms, lane), limits)
        base, table = emit(base, lane, start_ms, MARKS, True, limits, LEVEL_MS[level])
        documents.append(table)
        if rules.wide:
            contributions.append(contribution(base, limits))
        if level == LEVEL_DAY:  # nothing longer is made of it: only what it was made of has to be known
            partials.append(partial_row(lane, start_ms, rows_of(base), b"", level, made_of))
        else:
            partials.append(partial_of(base, lane, start_ms, limits, level, made_of))
    documents.append(emit_wide(contributions, start_ms, MARKS, True, limits, LEVEL_MS[level]))
    return Made(due, pa.concat_tables(partials), pa.concat_tables(documents))


def put(store: Cascade, made: Made, rules: Rules) -> None:
    """Names and keeps a window that was made."""
    store.put(made.due.level, made.due.window_start_ms, made.partials, named(made.documents, rules.enricher))


def forget(store: Cascade) -> int:
    """Deletes partials that nothing will be made of again; returns how many. Call it when nothing is due."""
    final_through_ms = store.final_through()
    if final_through_ms is None:
        return 0
    hours, days = kept_from(LEVEL_HOUR, final_through_ms), kept_from(LEVEL_DAY, final_through_ms)
    ends = {LEVEL_MINUTE: hours, LEVEL_HOUR: days, LEVEL_DAY: days}
    return sum(store.forget(level, before_ms) for level, before_ms in ends.items())


def _made_of(inside: Iterator[Kept]) -> dict[int, str]:
    """Per lane a hash of its windows and what is in each."""
    texts: dict[int, str] = {}
    for one in inside:
        texts[one.lane] = f"{texts.get(one.lane, '')}{one.window_start_ms}:{one.made_of},"
    return {lane: hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for lane, text in sorted(texts.items())}


def _sum_of(states: Sequence[bytes], limits: Limits) -> bytes:
    """All states added up, some at a time where together they would take too much memory."""
    total: bytes | None = None
    waiting: list[bytes] = []
    for state in states:
        waiting.append(state)
        if sum(map(len, waiting)) > _AT_ONCE:
            total, waiting = combine([*([total] if total else []), *waiting], limits, young=True), []
    return combine([*([total] if total else []), *waiting], limits)
