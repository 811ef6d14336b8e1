"""Which range and which sources answer a question best.

In: what was asked for, and what the store has. Out: a Plan, or the one line that says why there is no answer and where there would
be one. Refuses to know stores by name, and how answers are shown.

Aggregates answer whatever their groupings can, as they are few and kept long: days for whole days, hours and minutes at their edges
(query/levels.py). Raw flows answer the rest; and what is asked of one application or host while they cover the range, since a top K
may not have it. Ranges round out to whole minutes, or to whole hours and days where nothing shorter is kept; exact edges are asked
for, and come from raw flows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common.errors import StoreError, UsageError
from flowpb.groupings import LEVEL_MS, WINDOW_MS
from query.levels import cut, source_of, usable
from query.times import show_span
from stores.questions import Filters, Piece, Ranked, Source, Span, aggregates_answer

if TYPE_CHECKING:
    from stores.contract import Store

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
_STEPS_MS: Final = (60_000, 300_000, 900_000, 3_600_000, 4 * 3_600_000, 86_400_000)
_POINTS: Final = 60
_LEVELS: Final[tuple[Source, ...]] = ("1m", "1h", "1d")


@dataclass(frozen=True, slots=True)
class Asked:
    """The range as asked for; None where it was not. `exact` wants its edges as they are."""

    from_ms: int | None
    to_ms: int | None
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """`pieces` cover `span`, where it is not one piece of `source`; `note` says where the range is not the expected one."""

    span: Span
    source: Source
    note: str = ""
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class _Has:
    """What a store has for a question: aggregates by level, and raw flows."""

    levels: Mapping[str, Span]
    raw: Span | None

    @property
    def aggregates(self) -> Span | None:
        """From the first window of any level to the last."""
        if not self.levels:
            return None
        spans = self.levels.values()
        return Span(min(span.from_ms for span in spans), max(span.to_ms for span in spans))


def plan(
    store: "Store",
    asked: Asked,
    now_ms: int,
    items: Ranked | None,
    filters: Filters,
    default_ms: int = HOUR_MS,
    step_ms: int | None = None,
) -> Plan:
    """Range and sources of totals, top and series; raises StoreError where no data can answer, UsageError for an empty range."""
    has = _what_there_is(store, items, filters)
    extents = {name: extent for name, extent in (("aggregates", has.aggregates), ("raw", has.raw)) if extent}
    if not extents:
        raise StoreError(_nothing(store, items, filters))
    whole = _span(asked, now_ms, default_ms)
    span = _rounded(whole)
    preferred = _preference(has, span, filters)
    for name in preferred:
        if extents[name].overlaps(span):
            return _from_raw(whole if asked.exact else span) if name == "raw" else _from_aggregates(has, asked, whole, step_ms)
    return _elsewhere(has, asked, span, preferred[0], extents[preferred[0]], default_ms, step_ms)


def plan_flows(store: "Store", asked: Asked, now_ms: int, default_ms: int = HOUR_MS) -> Plan:
    """Range of a listing of raw flows, not rounded; raises StoreError and UsageError."""
    extent = store.extent("raw")
    if extent is None:
        raise StoreError("the store has no raw flows")
    span = _span(asked, now_ms, default_ms)
    if extent.overlaps(span):
        return Plan(span, "raw")
    return _elsewhere(_Has({}, extent), asked, span, "raw", extent, default_ms, None)


def receive_range(asked: Asked, now_ms: int, default_ms: int = HOUR_MS) -> Span:
    """Range of a look at the ledger, in whole minutes of receive time; raises UsageError for an empty one."""
    return _rounded(_span(asked, now_ms, default_ms))


def step_for(span: Span) -> int:
    """The smallest usual step that cuts a span into no more than about 60 pieces."""
    return next((step for step in _STEPS_MS if (span.to_ms - span.from_ms) <= step * _POINTS), _STEPS_MS[-1])


def usual_step(store: "Store", asked: Asked, now_ms: int, items: Ranked | None, filters: Filters) -> int:
    """The step of a series that nobody gave one: one that the levels have that are kept for the range."""
    span = _rounded(_span(asked, now_ms, HOUR_MS))
    step_ms, levels = step_for(span), _what_there_is(store, items, filters).levels
    shortest = [LEVEL_MS[level] for level, extent in levels.items() if extent.from_ms <= span.from_ms]
    return max(step_ms, min(shortest, default=0))


def _what_there_is(store: "Store", items: Ranked | None, filters: Filters) -> _Has:
    names = _LEVELS if aggregates_answer(items, filters) else ()
    return _Has({level: extent for level in names if (extent := store.extent(level))}, store.extent("raw"))


def _from_raw(span: Span) -> Plan:
    return Plan(span, "raw")


def _from_aggregates(has: _Has, asked: Asked, whole: Span, step_ms: int | None, note: str = "") -> Plan:
    span = _rounded(whole)
    levels = usable(has.levels, step_ms)
    kept = [extent for extent in levels.values() if extent.overlaps(span)]
    if not kept:
        need = min((LEVEL_MS[level] for level, extent in has.levels.items() if extent.overlaps(span)), default=WINDOW_MS)
        raise StoreError(f"steps as short as that are not kept for {show_span(span)}; take steps of {need // WINDOW_MS}m")
    pieces = _exact(has, whole, levels) if asked.exact else cut(span, levels)
    covered = Span(pieces[0].span.from_ms, pieces[-1].span.to_ms)
    if covered != (whole if asked.exact else span):
        note = note or f"only longer windows are kept for {show_span(whole)}: rounded out"
    source = source_of(pieces)
    return Plan(covered, source, note, tuple(pieces) if len(pieces) > 1 else ())


def _exact(has: _Has, whole: Span, levels: Mapping[str, Span]) -> list[Piece]:
    """As `cut`, with the broken minutes at both ends from raw flows; raises StoreError where there are none."""
    inner = Span(-(-whole.from_ms // WINDOW_MS) * WINDOW_MS, whole.to_ms // WINDOW_MS * WINDOW_MS)
    if inner.from_ms >= inner.to_ms:
        edges = [whole]
    else:
        edges = [span for span in (Span(whole.from_ms, inner.from_ms), Span(inner.to_ms, whole.to_ms)) if span.from_ms < span.to_ms]
    for edge in edges:
        if has.raw is None or not has.raw.overlaps(edge):
            raise StoreError(f"no raw flows in {show_span(edge)} for exact edges; without --exact minutes are rounded out")
    middle = cut(inner, levels) if inner.from_ms < inner.to_ms else []
    raw = [Piece("raw", edge) for edge in edges]
    return sorted([*raw, *middle], key=lambda piece: piece.span.from_ms)


def _nothing(store: "Store", items: Ranked | None, filters: Filters) -> str:
    if aggregates_answer(items, filters) or not any(store.extent(level) for level in _LEVELS):
        return "the store has no data yet"
    return "only raw flows can answer this question, and the store has none"


def _span(asked: Asked, now_ms: int, default_ms: int) -> Span:
    to_ms = now_ms if asked.to_ms is None else asked.to_ms
    span = Span(to_ms - default_ms if asked.from_ms is None else asked.from_ms, to_ms)
    if span.from_ms >= span.to_ms:
        raise UsageError(f"the range {show_span(span)} is empty: --from must be before --to")
    return span


def _rounded(span: Span) -> Span:
    return Span(span.from_ms // WINDOW_MS * WINDOW_MS, -(-span.to_ms // WINDOW_MS) * WINDOW_MS)


def _preference(has: _Has, span: Span, filters: Filters) -> list[str]:
    """Sources, best first: raw flows for one application or host, unless they begin later than the aggregates of the range."""
    aggregates = has.aggregates
    if aggregates is None or has.raw is None:
        return ["raw"] if aggregates is None else ["aggregates"]
    if filters.application is None and filters.host is None:
        return ["aggregates", "raw"]
    first = max(span.from_ms, aggregates.from_ms + WINDOW_MS)
    return ["raw", "aggregates"] if has.raw.from_ms <= first else ["aggregates", "raw"]


def _elsewhere(has: _Has, asked: Asked, span: Span, name: str, extent: Span, default_ms: int, step_ms: int | None) -> Plan:
    """Without a range of their own, people mean the latest data; with one, they have to be told."""
    if asked.from_ms is not None or asked.to_ms is not None:
        raise StoreError(f"no data in {show_span(span)}; the store has {show_span(_rounded(extent))}")
    to_ms = _rounded(extent).to_ms
    latest = Span(max(_rounded(extent).from_ms, to_ms - default_ms), to_ms)
    note = f"no data in {show_span(span)}; this is the latest"
    if name == "raw":
        return Plan(latest, "raw", note)
    return _from_aggregates(has, Asked(None, None), latest, step_ms, note)
