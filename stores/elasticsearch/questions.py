"""Questions about aggregates as aggregations that the server adds up.

In: a question. Out: requests, and from their answers the rows of `items` and `groups` (stores/parquet/answers.py). Refuses to rank:
every key is asked for, page by page, so that no shard's own top list can leave one out.

Sums come as 64-bit floats: beyond 2^53 they are rounded to 53 bits.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from flowpb.groupings import WIDE, Grouping, Kind, Scope, Values
from stores.contract import MEASURES
from stores.elasticsearch.client import Client
from stores.elasticsearch.layout import KIND_OF, indices_of
from stores.parquet.aggregates import kept_at, scope_of
from stores.questions import NO_APPLICATION, Filters, Items, Piece, Ranked, Span

PAGE: Final = 10_000
QUIET: Final = "ignore_unavailable=true&allow_no_indices=true"
Query = dict[str, Any]
_KIND: Final = {Items.APPLICATIONS: Kind.APPLICATION, Items.HOSTS: Kind.HOST, Items.CONVERSATIONS: Kind.CONVERSATION}
_KEY: Final[Mapping[Items, Mapping[str, str]]] = {
    Items.APPLICATIONS: {"application": "application"},
    Items.HOSTS: {"host": "host_address"},
    Items.CONVERSATIONS: {"conversation_key": "conversation_key"},
    Items.INTERFACES: {"location": "location", "exporter": "exporter.address", "interface": "if_index"},
    Items.EXPORTERS: {"location": "location", "exporter": "exporter.address"},
}
"""Columns of `items` and the fields that they come from."""
_ALL_TIME: Final = "100000d"
"""One step for everything: that long since 1970."""
_TYPES: Final = {"interface": pa.int64()}
_WINDOW: Final = {"first_ms": {"min": {"field": "range_start"}}, "last_ms": {"max": {"field": "range_end"}}}
_SUMS: Final = {name: {"sum": {"field": name}} for name in MEASURES}


class AggregateTables:
    """The two tables of one question, fetched from the server."""

    def __init__(self, client: Client, items: Ranked | None, piece: Piece, filters: Filters, step_ms: int | None) -> None:
        self._client, self._items, self._span, self._filters, self._step_ms = client, items, piece.span, filters, step_ms
        self._kind = _kind_of(items) if items else _filtered_kind(filters)
        self._path = f"/{indices_of(client.target.prefix, KIND_OF[piece.source], piece.span)}/_search?{QUIET}"
        scope = scope_of(items, filters)
        if scope in WIDE and not (kept_at(items, scope) and self._has_all(scope)):
            scope = Scope.EXPORTER
        self._total = Grouping(scope, Kind.TOTAL).grouped_by
        self._ranked = Grouping(scope, self._kind).grouped_by if self._kind else self._total

    def items(self) -> pa.Table:
        """One row per step and key: sums, errors less the bounds of where it was ranked, first and last window."""
        keys = _keys(self._items) if self._items else {}
        errors = {name: {"sum": {"field": name}} for name in ("error", "bound")}
        chosen = [
            _term("grouped_by", self._ranked),
            _term("aggregation_type", "TOPK" if self._kind else "TOTAL"),
            *_item_filters(self._filters),
        ]
        schema = _schema({name: _TYPES.get(name, pa.string()) for name in keys}, "error")
        rows = ({**row, "error": row["error"] - row["bound"]} for row in self._rows(chosen, keys, {**_SUMS, **errors, **_WINDOW}))
        return _table(rows, schema)

    def groups(self) -> pa.Table:
        """One row per step: exact sums, and the sum of what an absent item has at most in each window and group."""
        totals = self._rows([_term("grouped_by", self._total)], {}, {**_SUMS, **_WINDOW})
        found = {row["bucket"]: {**row, "bound": 0} for row in totals}
        if self._ranked != self._total:
            rest = [_term("grouped_by", self._ranked), _term("aggregation_type", "OTHER")]
            for row in self._rows(rest, {}, {"bound": {"sum": {"field": "bound"}}}):
                group = found.setdefault(row["bucket"], {"bucket": row["bucket"], **dict.fromkeys(MEASURES, 0)})
                group["bound"] = row["bound"]
        return _table(found.values(), _schema({}, "bound"))

    def _has_all(self, scope: Scope) -> bool:
        """Whether every window with exporters has documents of the scope, too; older ones, and the newest, may not."""
        count = {"windows": {"cardinality": {"field": "range_start", "precision_threshold": 40_000}}}
        names = [Grouping(each, Kind.TOTAL).grouped_by for each in (Scope.EXPORTER, scope)]
        filters = {name: {"filter": _term("grouped_by", name), "aggs": count} for name in names}
        body = {"size": 0, "query": {"bool": {"filter": _window_filters(self._span)}}, "aggs": filters}
        found = self._client.ask("POST", self._path, body).get("aggregations", {})
        exporters, wide = (found.get(name, {}).get("windows", {}).get("value", 0) for name in names)
        return bool(exporters == wide)

    def _rows(self, chosen: Sequence[Query], keys: Mapping[str, str], sums: Mapping[str, Query]) -> Iterator[dict[str, Any]]:
        """Buckets as rows, all pages of them."""
        body = {
            "size": 0,
            "track_total_hits": False,
            "query": {"bool": {"filter": [*_window_filters(self._span), *_place_filters(self._filters), *chosen]}},
        }
        composite: Query = {"size": PAGE, "sources": [_bucket_source(self._step_ms), *(_source(*each) for each in keys.items())]}
        while True:
            buckets = self._page({**body, "aggs": {"rows": {"composite": composite, "aggs": sums}}})
            for bucket in buckets.get("buckets", ()):
                values = {name: bucket[name]["value"] for name in sums}
                start = self._span.from_ms if self._step_ms is None else bucket["key"]["bucket"]
                yield {**bucket["key"], **values, "bucket": start}
            if "after_key" not in buckets:
                return
            composite = {**composite, "after": buckets["after_key"]}

    def _page(self, body: Query) -> Any:
        return self._client.ask("POST", self._path, body).get("aggregations", {}).get("rows", {})


def _bucket_source(step_ms: int | None) -> Query:
    interval = _ALL_TIME if step_ms is None else f"{step_ms}ms"
    return {"bucket": {"date_histogram": {"field": "range_start", "fixed_interval": interval}}}


def _source(name: str, path: str) -> Query:
    return {name: {"terms": {"field": path, "missing_bucket": True}}}


def _window_filters(span: Span) -> list[Query]:
    return [{"range": {"range_start": {"gte": span.from_ms, "lt": span.to_ms, "format": "epoch_millis"}}}]


def _place_filters(filters: Filters) -> list[Query]:
    exporter = [] if filters.exporter is None else [address_term("exporter.address", filters.exporter)]
    location = [] if filters.location is None else [_term("location", filters.location)]
    return exporter + location + ([] if filters.interface is None else [_term("if_index", filters.interface)])


def _item_filters(filters: Filters) -> list[Query]:
    found = []
    if filters.application == NO_APPLICATION:
        found.append({"bool": {"must_not": {"exists": {"field": "application"}}}})
    elif filters.application is not None:
        found.append(_term("application", filters.application))
    if filters.host is not None:
        found.append(_term("host_address", filters.host))
    return found


def address_term(path: str, address: str) -> Query:
    """Documents with this address; none where it is no address, which the server would take for a fault."""
    known = address.replace(".", "").replace(":", "").isalnum() and "/" not in address
    return _term(path, address) if known else {"match_none": {}}


def _term(path: str, value: str | int) -> Query:
    return {"term": {path: {"value": value}}}


def _keys(items: Ranked) -> Mapping[str, str]:
    return {"item": "item"} if isinstance(items, Values) else _KEY[items]


def _kind_of(items: Ranked) -> Kind | Values | None:
    return items if isinstance(items, Values) else _KIND.get(items)


def _filtered_kind(filters: Filters) -> Kind | None:
    if filters.application is not None:
        return Kind.APPLICATION
    return Kind.HOST if filters.host is not None else None


def _schema(keys: Mapping[str, pa.DataType], last: str) -> pa.Schema:
    numbers = ("bucket", *MEASURES, last, "first_ms", "last_ms")
    return pa.schema([*keys.items(), *((name, pa.int64()) for name in numbers)])


def _table(rows: Any, schema: pa.Schema) -> pa.Table:
    keys = [field.name for field in schema if field.type == pa.string()]
    return pa.Table.from_pylist(
        [{name: row.get(name) if name in keys else _whole(row, name) for name in schema.names} for row in rows], schema
    )


def _whole(row: Mapping[str, Any], name: str) -> int | None:
    value = row.get(name)
    return None if value is None else int(value)
