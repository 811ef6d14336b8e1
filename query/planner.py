"""Which range and which source answer a question best.

In: what was asked for, and what the store has. Out: a Plan, or the one line that says why there is no answer and where there would
be one. Refuses to know stores by name, and how answers are shown.

Aggregates answer whatever their groupings can, since they are few and kept long. Raw flows answer the rest; and what is asked of
one application or host while they cover the range, since a top K may not have it. Ranges round out to whole minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common.errors import StoreError, UsageError
from flowpb.groupings import WINDOW_MS
from query.times import show_span
from stores.questions import Filters, Ranked, Source, Span, aggregates_answer

if TYPE_CHECKING:
    from stores.contract import Store

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
_STEPS_MS: Final = (60_000, 300_000, 900_000, 3_600_000, 4 * 3_600_000, 86_400_000)
_POINTS: Final = 60


@dataclass(frozen=True, slots=True)
class Asked:
    """The range as asked for; None where it was not."""

    from_ms: int | None
    to_ms: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """`note` says where the range is not the one that a caller would expect."""

    span: Span
    source: Source
    note: str = ""


def plan(store: "Store", asked: Asked, now_ms: int, items: Ranked | None, filters: Filters, default_ms: int = HOUR_MS) -> Plan:
    """Range and source of totals, top and series; raises StoreError where no data can answer, UsageError for an empty range."""
    extents: dict[Source, Span] = {source: extent for source in _sources(items, filters) if (extent := store.extent(source))}
    if not extents:
        raise StoreError(_nothing(store, items, filters))
    span = _rounded(_span(asked, now_ms, default_ms))
    preferred = _preference(extents, span, filters)
    for source in preferred:
        if extents[source].overlaps(span):
            return Plan(span, source)
    return _elsewhere(asked, span, preferred[0], extents[preferred[0]], default_ms)


def plan_flows(store: "Store", asked: Asked, now_ms: int, default_ms: int = HOUR_MS) -> Plan:
    """Range of a listing of raw flows, not rounded; raises StoreError and UsageError."""
    extent = store.extent("raw")
    if extent is None:
        raise StoreError("the store has no raw flows")
    span = _span(asked, now_ms, default_ms)
    return Plan(span, "raw") if extent.overlaps(span) else _elsewhere(asked, span, "raw", extent, default_ms)


def receive_range(asked: Asked, now_ms: int, default_ms: int = HOUR_MS) -> Span:
    """Range of a look at the ledger, in whole minutes of receive time; raises UsageError for an empty one."""
    return _rounded(_span(asked, now_ms, default_ms))


def step_for(span: Span) -> int:
    """The smallest usual step that cuts a span into no more than about 60 pieces."""
    return next((step for step in _STEPS_MS if (span.to_ms - span.from_ms) <= step * _POINTS), _STEPS_MS[-1])


def _sources(items: Ranked | None, filters: Filters) -> tuple[Source, ...]:
    return ("1m", "raw") if aggregates_answer(items, filters) else ("raw",)


def _nothing(store: "Store", items: Ranked | None, filters: Filters) -> str:
    if aggregates_answer(items, filters) or not store.extent("1m"):
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


def _preference(extents: Mapping[Source, Span], span: Span, filters: Filters) -> list[Source]:
    """Sources, best first: raw flows for one application or host, unless they begin later than the aggregates of the range."""
    if (filters.application is None and filters.host is None) or len(extents) < 2:
        return list(extents)
    first = max(span.from_ms, extents["1m"].from_ms + WINDOW_MS)
    return ["raw", "1m"] if extents["raw"].from_ms <= first else ["1m", "raw"]


def _elsewhere(asked: Asked, span: Span, source: Source, extent: Span, default_ms: int) -> Plan:
    """Without a range of their own, people mean the latest data; with one, they have to be told."""
    if asked.from_ms is not None or asked.to_ms is not None:
        raise StoreError(f"no data in {show_span(span)}; the store has {show_span(_rounded(extent))}")
    to_ms = _rounded(extent).to_ms
    latest = Span(max(_rounded(extent).from_ms, to_ms - default_ms), to_ms)
    return Plan(latest, source, f"no data in {show_span(span)}; this is the latest")
