"""The reading end of the full store: stores.contract.Store over Elasticsearch.

In: questions. Out: answers. Minute aggregates are added up by the server; raw flows are fetched, as many as a question needs, and
spread over windows here by the embedded store's SQL, since scripts are not everywhere allowed. Refuses to know who wrote them.

What differs from the embedded store: sums beyond 2^53 are rounded to 53 bits, counters above 2^63 - 1 are listed as that, and times
outside the years 1 to 9999 as their nearest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Self

import duckdb
import pyarrow as pa

from common.errors import StoreError
from stores.answering import Answer, Answering
from stores.contract import DERIVED, FLOWS_SCHEMA, Flows, Ledger, Provenance
from stores.elasticsearch.client import Client
from stores.elasticsearch.flows import EVER, PAGE, RawFlows
from stores.elasticsearch.layout import AGGREGATES, KIND_OF, pattern
from stores.elasticsearch.ledger import ledger_answer
from stores.elasticsearch.questions import QUIET as LENIENT
from stores.elasticsearch.questions import AggregateTables
from stores.elasticsearch.target import Target
from stores.parquet.raw import MACROS, columns_of, flows_table, raw_tables
from stores.parquet.statements import QUIET
from stores.questions import Filters, FlowsQuery, Items, Key, LedgerQuery, Piece, Ranked, Source, Span

_FETCHED: Final = "no_flows"
"""The table that the raw statements read where there are no files."""
_COUNTED: Final = ("exporter_addr", "location", "direction", "in_if", "out_if", "bytes", "packets", "sampling_interval")
_SORTED: Final = {"newest": ("netflow.last_switched", "desc"), "oldest": ("netflow.delta_switched", "asc")}
_ORDER: Final = {
    "newest": "end_ms DESC, id",
    "oldest": "start_ms, id",
    "largest": "scaled(bytes, sampling_interval) DESC, id",
}
_SPECIAL: Final = {"id": "concat_ws('-', collector, epoch, lane, seq, row)", "exporter": "exporter_addr"}
_LISTED: Final = tuple("exporter_addr" if name == "exporter" else name for name in FLOWS_SCHEMA.names[3:] if name not in DERIVED)


class ElasticsearchStore(Answering):
    """A store opened for reading. Not thread-safe; open one per thread."""

    def __init__(self, client: Client, connection: duckdb.DuckDBPyConnection, both_sides: bool) -> None:
        super().__init__(connection)
        self._client = client
        self._both_sides = both_sides

    @classmethod
    def open(cls, target: Target, both_sides: bool = False) -> Self:
        """Open a target; `both_sides` as in the pipeline's settings. Raises ConfigError; StoreError comes with the questions."""
        connection = duckdb.connect(":memory:", config=dict(QUIET))
        for macro in MACROS:
            connection.execute(macro)
        return cls(Client.open(target), connection, both_sides)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._connection.close()
        self._client.close()

    def extent(self, source: Source) -> Span | None:
        """The range that has data of a source; None when it has none."""
        if source == "raw":
            return RawFlows(self._client, EVER, Filters()).extent()
        window = {"first": {"min": {"field": "range_start"}}, "last": {"max": {"field": "range_end"}}}
        found = self._search(KIND_OF[source], {"size": 0, "aggs": window}).get("aggregations")
        return Span(int(found["first"]["value"]), int(found["last"]["value"])) if found and found["last"]["value"] else None

    def flows(self, query: FlowsQuery) -> Flows:
        """Raw flows whose interval [start, end] touches the span."""

        def ask() -> Flows:
            matching = RawFlows(self._client, query.span, query.filters)
            matched = matching.count()
            if query.order in _SORTED and query.limit < matched and query.limit <= PAGE:
                self._take(matching.first(_LISTED, *_SORTED[query.order], query.limit))
            else:
                self._take(matching.table(_LISTED))
            self._connection.execute(flows_table([], Filters()).text)
            columns = ", ".join(f"{(_SPECIAL | DERIVED).get(name, name)} AS {name}" for name in FLOWS_SCHEMA.names)
            text = f"SELECT {columns} FROM flows ORDER BY {_ORDER[query.order]} LIMIT {query.limit}"
            rows: pa.Table = self._connection.sql(text).to_arrow_table()
            provenance = Provenance("raw", query.span, matching.extent(), self._final_through())
            return Flows(rows.cast(FLOWS_SCHEMA), matched, provenance)

        return self._attempt(ask)

    def ledger(self, query: LedgerQuery) -> Ledger:
        """What came, and what was lost where, of receive minutes."""
        return ledger_answer(self._client, query)

    def _prepare(self, items: Ranked | None, piece: Piece, filters: Filters, step_ms: int | None) -> None:
        span = piece.span
        if piece.source == "raw":
            self._take(self._needed(items, span, filters))
            for statement in raw_tables([], items, span, filters, step_ms, self._both_sides):
                self._connection.execute(statement.text, dict(statement.values))
            return
        tables = AggregateTables(self._client, items, piece, filters, step_ms)
        self._put("items", tables.items())
        self._put("groups", tables.groups())

    def _needed(self, items: Ranked | None, span: Span, filters: Filters) -> pa.Table:
        """Flows for the raw statements: at exporter scope all of an exporter, as one flow may decide which side counts."""
        by_interface = filters.interface is not None or items is Items.INTERFACES
        chosen = replace(filters, interface=None) if by_interface else Filters(exporter=filters.exporter)
        ends = ("src_addr", "dst_addr") if filters.host is not None else ()
        application = ("application",) if filters.application is not None else ()
        return RawFlows(self._client, span, chosen).table([*_COUNTED, *columns_of(items), *ends, *application])

    def _protocols(self, span: Span) -> Mapping[Key, Sequence[int]]:
        return RawFlows(self._client, span, Filters()).versions()

    def _final_through(self) -> int | None:
        body = {"size": 0, "query": {"term": {"final": True}}, "aggs": {"last": {"max": {"field": "range_end"}}}}
        found = self._search(AGGREGATES, body).get("aggregations")
        return int(found["last"]["value"]) if found and found["last"]["value"] is not None else None

    def _search(self, kind: str, body: dict[str, Any]) -> Any:
        return self._client.ask("POST", f"/{pattern(self._client.target.prefix, kind)}/_search?{LENIENT}", body)

    def _take(self, flows: pa.Table) -> None:
        self._put(_FETCHED, flows)

    def _put(self, name: str, table: pa.Table) -> None:
        self._connection.register("fetched", table)
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM fetched")
        self._connection.unregister("fetched")

    def _attempt(self, ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except duckdb.Error as error:
            raise StoreError(f"{self._client.target.place}: {' '.join(str(error).split())[:300]}") from error
