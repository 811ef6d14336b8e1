"""Lane state in the micro-batch form: the state of every window is carried from run to run by the driver.

In: KV[(lane, window), parts of this run], grouped; the carried state and the frontiers, handed over by the caller's look-up.
Out: `Stepped`, what has to be written. Refuses to know who commits it. The stateful form for streaming runners is lane_state.py;
both call the same functions of columns.lane.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa

from columns.enrich import Enricher
from columns.lane import Limits, absorb, contribution, emit, series_documents
from columns.marks import MARKS, due
from columns.naming import named
from columns.partials import partial_of
from transforms.in_place import KnownDoFn, stays_in_place
from transforms.keys import pack_contribution, unpack_key

LOG_BYTES: Final = 4 << 20
"""Parts are absorbed into the base when they are this large together, or at a mark."""


@dataclass(frozen=True, slots=True)
class CarriedWindow:
    """State of one (lane, window): absorbed `base`, `parts` not absorbed yet, and the mark that comes next (0, 1, 2)."""

    next_mark: int = 0
    base: bytes | None = None
    parts: tuple[bytes, ...] = ()


@stays_in_place
@dataclass(frozen=True, slots=True)
class Stepped:
    """What one run does to one window: parts to append, or a new state, or its end; documents; at the end its partial and `series`.

    `contribution` is what the lane gives to the second stage (carried_wide.py), packed with its mark, where there are documents.
    """

    lane: int
    window_start_ms: int
    appended: tuple[bytes, ...] = ()
    rewritten: CarriedWindow | None = None
    closed: bool = False
    documents: tuple[pa.Table, ...] = field(default=())
    partials: tuple[pa.Table, ...] = field(default=())
    series: tuple[pa.Table, ...] = field(default=())
    contribution: bytes = b""


def step(
    lane: int,
    window_start_ms: int,
    carried: CarriedWindow,
    parts: tuple[bytes, ...],
    frontier_ms: int,
    limits: Limits,
    wide: bool = False,
    with_series: bool = False,
) -> Stepped:
    """Adds `parts` to a window and fires the marks that `frontier_ms` has reached; several at once write once, as the last."""
    reached = due(window_start_ms, 1, frontier_ms)
    log = (*carried.parts, *parts)
    if reached <= carried.next_mark and sum(map(len, log)) < LOG_BYTES:
        return Stepped(lane, window_start_ms, appended=parts)
    base = absorb(carried.base, log, limits, carried.next_mark == 0) if log else carried.base
    gives = b""
    if reached <= carried.next_mark:
        return Stepped(lane, window_start_ms, rewritten=CarriedWindow(carried.next_mark, base))
    last = reached == MARKS
    tables: tuple[pa.Table, ...] = ()
    partials: tuple[pa.Table, ...] = ()
    series: tuple[pa.Table, ...] = ()
    if base is not None:
        base, table = emit(base, lane, window_start_ms, reached, last, limits)
        tables = (table,) if table.num_rows else ()
        if tables and wide:
            gives = pack_contribution(lane, reached, contribution(base, limits))
    if last and base is not None:
        partials = (partial_of(base, lane, window_start_ms, limits),)
        series = (series_documents(base, lane, window_start_ms, limits),) if with_series else ()
    if last:
        return Stepped(lane, window_start_ms, closed=True, documents=tables, partials=partials, series=series, contribution=gives)
    return Stepped(lane, window_start_ms, rewritten=CarriedWindow(reached, base), documents=tables, contribution=gives)


Look = Callable[[int, int], tuple[CarriedWindow, int]]
"""(lane, window start) -> carried state and frontier of the lane."""


class AbsorbRun(KnownDoFn):
    """KV[key, parts] -> Stepped. An empty part only says that a mark may be due."""

    def __init__(
        self,
        look: Callable[[str], Look],
        token: str,
        limits: Limits,
        enricher: Enricher,
        wide: bool = False,
        with_series: bool = False,
    ) -> None:
        self._look, self._token, self._limits, self._enricher = look, token, limits, enricher
        self._wide, self._with_series = wide, with_series

    def process(self, keyed: tuple[bytes, Iterable[bytes]]) -> Iterator[Stepped]:
        """One output per window that was touched."""
        lane, window_start_ms = unpack_key(keyed[0])
        carried, frontier_ms = self._look(self._token)(lane, window_start_ms)
        parts = tuple(part for part in keyed[1] if part)
        stepped = step(lane, window_start_ms, carried, parts, frontier_ms, self._limits, self._wide, self._with_series)
        documents, series = ([named(table, self._enricher) for table in each] for each in (stepped.documents, stepped.series))
        yield replace(stepped, documents=tuple(documents), series=tuple(series))
