"""Questions to answers, over the two tables that every source is brought to (stores/parquet/answers.py).

In: questions. Out: answers. Refuses to know where the rows of the tables come from: that is what a store adds to this class. A
question that several sources answer, each a piece of its range, has the tables of all pieces added up.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from stores.contract import ExporterRow, Exporters, Measures, Provenance, Series, Top, TopItem, Totals
from stores.parquet import answers, pieces
from stores.questions import (
    Filters,
    Items,
    Key,
    Piece,
    Ranked,
    SeriesQuery,
    Source,
    Span,
    TopQuery,
    TotalsQuery,
    multiplicity_of,
    pieces_of,
)

Answer = TypeVar("Answer")


class Answering(ABC):
    """The part of stores.contract.Store that is the same for all; `connection` is where the tables are."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    @abstractmethod
    def _prepare(self, items: Ranked | None, piece: Piece, filters: Filters, step_ms: int | None) -> None:
        """Make the tables `items` and `groups` of a piece."""

    @abstractmethod
    def _protocols(self, span: Span) -> Mapping[Key, Sequence[int]]:
        """Protocol versions per (location, exporter) as raw flows have them."""

    @abstractmethod
    def _final_through(self) -> int | None:
        """Windows that end by then do not grow."""

    @abstractmethod
    def _attempt(self, ask: Callable[[], Answer]) -> Answer:
        """Ask, as often as it makes sense; raises StoreError."""

    def totals(self, query: TotalsQuery) -> Totals:
        """All traffic of a selection; with an error where only top-K documents know it."""

        def ask() -> Totals:
            self._prepare_all(None, query, None)
            measures, error = answers.selected_total(self._connection) if _partial(query) else (answers.total(self._connection), 0)
            return Totals(measures, error, self._provenance(query.source, query.span))

        return self._attempt(ask)

    def top(self, query: TopQuery) -> Top:
        """The largest items of a selection, ties by key as text."""

        def ask() -> Top:
            self._prepare_all(query.items, query, None)
            items, floor = answers.rank(self._connection, query.items, query.n)
            total, times = answers.total(self._connection), multiplicity_of(query.items)
            other = total.times(times).minus(_sum(items))
            return Top(tuple(items), other, total, times, floor, self._provenance(query.source, query.span))

        return self._attempt(ask)

    def series(self, query: SeriesQuery) -> Series:
        """How a selection went over time, in steps of whole minutes."""

        def ask() -> Series:
            self._prepare_all(query.items, query, query.step_ms)
            keys, points = self._points(query)
            return Series(points, tuple(item.key for item in keys), self._provenance(query.source, query.span))

        return self._attempt(ask)

    def exporters(self, span: Span, source: Source, parts: Sequence[Piece] = ()) -> Exporters:
        """Who exported: traffic from `source`, protocols from raw flows where there are any."""
        query = TotalsQuery(span, Filters(), source, tuple(parts))

        def ask() -> Exporters:
            self._prepare_all(Items.INTERFACES, query, None)
            interfaces = self._by_exporter("count(DISTINCT interface)")
            self._prepare_all(Items.EXPORTERS, query, None)
            seen = self._by_exporter("min(first_ms), max(last_ms)")
            provenance = self._provenance(source, span)
            ranked = answers.rank(self._connection, Items.EXPORTERS, 1 << 31)[0]
            protocols = self._protocols(span)
            rows = [_exporter(item, interfaces.get(item.key, (0,)), seen[item.key], protocols.get(item.key, ())) for item in ranked]
            return Exporters(tuple(sorted(rows, key=lambda row: row.exporter)), provenance)

        return self._attempt(ask)

    def _prepare_all(self, items: Ranked | None, query: TotalsQuery | TopQuery | SeriesQuery, step_ms: int | None) -> None:
        """The tables of the whole question."""
        parts = pieces_of(query)
        for number, piece in enumerate(parts):
            self._prepare(items, piece, query.filters, step_ms)
            if len(parts) > 1:
                pieces.add(self._connection, items, number == 0, None if step_ms else query.span.from_ms)
        if len(parts) > 1:
            pieces.put_together(self._connection)

    def _points(self, query: SeriesQuery) -> tuple[Sequence[TopItem], pa.Table]:
        if query.items:
            keys, _ = answers.rank(self._connection, query.items, query.n)
            return keys, answers.points_of_items(self._connection, query.items, query.n, multiplicity_of(query.items))
        return (), answers.points_of_selection(self._connection) if _partial(query) else answers.points_of_total(self._connection)

    def _by_exporter(self, values: str) -> dict[Key, tuple[Any, ...]]:
        rows = self._connection.execute(f"SELECT location, exporter, {values} FROM items GROUP BY ALL").fetchall()
        return {row[:2]: row[2:] for row in rows}

    def _provenance(self, source: Source, span: Span) -> Provenance:
        return Provenance(source, span, answers.data_span(self._connection), self._final_through())


def _exporter(item: TopItem, interfaces: tuple[Any, ...], seen: tuple[Any, ...], protocols: Sequence[int]) -> ExporterRow:
    location, exporter = item.key
    place = None if location is None else str(location)
    return ExporterRow(place, str(exporter), interfaces[0], item.measures, seen[0], seen[1], tuple(protocols))


def _partial(query: TotalsQuery | SeriesQuery) -> bool:
    """Whether what is asked for may be missing among the largest of some window."""
    filters = query.filters
    aggregates = any(piece.source != "raw" for piece in pieces_of(query))
    return aggregates and (filters.application is not None or filters.host is not None)


def _sum(items: Sequence[TopItem]) -> Measures:
    total = Measures()
    for item in items:
        total = total.plus(item.measures)
    return total
