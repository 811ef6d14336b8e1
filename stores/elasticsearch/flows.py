"""Raw flows out of the server, by columns: what a question needs of them, as rows that the embedded store's SQL takes.

In: a span and filters. Out: a table of RAW_SCHEMA. Refuses to judge flows again: mark and frontier are chosen so that numbers.md 2
finds the interval that the document already has. More than ROWS flows are an error that says so: whole days are a matter of
aggregates.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from common.errors import StoreError
from flowpb.groupings import HORIZON_MS, REACH_MS, WINDOW_MS
from flowpb.schema import BY_NAME
from stores.elasticsearch.client import Client
from stores.elasticsearch.fields import ANCIENT, NAMED
from stores.elasticsearch.layout import RAW, pattern
from stores.elasticsearch.questions import QUIET, Query, address_term
from stores.parquet.rows import RAW_SCHEMA
from stores.questions import NO_APPLICATION, Filters, Key, Span

ROWS: Final = 500_000
PAGE: Final = 10_000
EVER: Final = Span(-62_135_596_800_000, 253_402_300_799_999)
"""All times that a document can have."""
_TIMES: Final = ("last_switched_ms", "delta_switched_ms")
_NUMBERS: Final = {name: {word: number for number, word in reversed(list(words.items()))} for name, words in NAMED.items()}
_KEEP: Final = "1m"


class RawFlows:
    """What one target's raw indices have of a span."""

    def __init__(self, client: Client, span: Span, filters: Filters) -> None:
        self._client = client
        self._place = pattern(client.target.prefix, RAW)
        self._query = {"bool": {"filter": [*_touching(span), *_filters(filters)]}}

    def count(self) -> int:
        """How many flows there are."""
        found: int = self._client.ask("POST", f"/{self._place}/_count?{QUIET}", {"query": self._query}).get("count", 0)
        return found

    def extent(self) -> Span | None:
        """From the first start to the last end of all."""
        ends = {"first": {"min": {"field": "netflow.delta_switched"}}, "last": {"max": {"field": "netflow.last_switched"}}}
        body = {"size": 0, "query": self._query, "aggs": ends}
        found = self._client.ask("POST", f"/{self._place}/_search?{QUIET}", body).get("aggregations")
        if not found or found["last"]["value"] is None:
            return None
        return Span(int(found["first"]["value"]), int(found["last"]["value"]) + 1)

    def table(self, columns: Sequence[str]) -> pa.Table:
        """All of them, in no order; raises StoreError when there are more than ROWS."""
        matched = self.count()
        if matched > ROWS:
            raise StoreError(f"{matched} raw flows in this range, {ROWS} can be read at once: ask for less time, or for aggregates")
        return _table(self._pages(columns) if matched else (), columns)

    def first(self, columns: Sequence[str], field: str, order: str, limit: int) -> pa.Table:
        """The first `limit` by a field, and all that are equal to the last of them."""
        body = {**self._body(columns), "size": min(limit, PAGE), "sort": [{field: order}]}
        hits = self._search(f"/{self._place}/_search?{QUIET}", body)
        if len(hits) == limit and limit:
            same = {"bool": {"filter": [self._query, {"term": {field: hits[-1]["sort"][0]}}]}}
            known = {hit["_id"] for hit in hits}
            more = self._search(f"/{self._place}/_search?{QUIET}", {**body, "size": PAGE, "query": same})
            hits = [*hits, *(hit for hit in more if hit["_id"] not in known)]
        return _table([hits], columns)

    def versions(self) -> dict[Key, list[int]]:
        """Protocol versions per (location, exporter)."""
        sources = [
            {name: {"terms": {"field": path, "missing_bucket": True}}}
            for name, path in (("location", "location"), ("exporter", "host"), ("version", "netflow.version"))
        ]
        body = {"size": 0, "query": self._query, "aggs": {"rows": {"composite": {"size": PAGE, "sources": sources}}}}
        answer = self._client.ask("POST", f"/{self._place}/_search?{QUIET}", body)
        found: dict[Key, list[int]] = {}
        for bucket in answer.get("aggregations", {}).get("rows", {}).get("buckets", ()):
            key = bucket["key"]
            known = found.setdefault((key["location"], key["exporter"]), [])
            if key["version"] is not None:
                known.append(number_of("protocol_version", key["version"]))
        return {key: sorted(versions) for key, versions in found.items()}

    def _pages(self, columns: Sequence[str]) -> Iterator[list[Any]]:
        opened = self._client.ask("POST", f"/{self._place}/_pit?keep_alive={_KEEP}&{QUIET}")["id"]
        body = {**self._body(columns), "size": PAGE, "sort": ["_shard_doc"], "pit": {"id": opened, "keep_alive": _KEEP}}
        try:
            while hits := self._search("/_search", body):
                yield hits
                body["search_after"] = hits[-1]["sort"]
        finally:
            self._client.ask("DELETE", "/_pit", {"id": opened})

    def _search(self, path: str, body: Query) -> list[Any]:
        hits: list[Any] = self._client.ask("POST", path, body).get("hits", {}).get("hits", [])
        return hits

    def _body(self, columns: Sequence[str]) -> dict[str, Any]:
        fields = [_doc_value(name) for name in dict.fromkeys((*_TIMES, *columns))]
        return {
            "query": self._query,
            "_source": False,
            "track_total_hits": False,
            "docvalue_fields": [*fields, {"field": ANCIENT.path}],
        }


def number_of(column: str, word: str) -> int:
    """The number that a word stands for."""
    known = _NUMBERS[column].get(word)
    return int(word) if known is None else known


def _doc_value(column: str) -> Query:
    declared = BY_NAME[column]
    return {"field": declared.es, "format": "epoch_millis"} if declared.es_type == "date" else {"field": declared.es}


def _touching(span: Span) -> list[Query]:
    return [
        {"range": {"netflow.last_switched": {"gte": span.from_ms, "format": "epoch_millis"}}},
        {"range": {"netflow.delta_switched": {"lt": span.to_ms, "format": "epoch_millis"}}},
    ]


def _filters(filters: Filters) -> list[Query]:
    found: list[Query] = [] if filters.exporter is None else [address_term("host", filters.exporter)]
    if filters.application == NO_APPLICATION:
        found.append({"bool": {"must_not": {"exists": {"field": "netflow.application"}}}})
    elif filters.application is not None:
        found.append({"term": {"netflow.application": filters.application}})
    if filters.host is not None:
        found.append(_either(address_term(f"netflow.{end}_addr", filters.host) for end in ("src", "dst")))
    if filters.interface is not None:
        found.append(_either({"term": {f"netflow.{side}_snmp": filters.interface}} for side in ("input", "output")))
    if filters.location is not None:
        found.append({"term": {str(BY_NAME["location"].es): filters.location}})
    return found


def _either(queries: Any) -> Query:
    return {"bool": {"should": list(queries), "minimum_should_match": 1}}


def _table(pages: Any, columns: Sequence[str]) -> pa.Table:
    rows = [_row(hit, columns) for page in pages for hit in page]
    return pa.Table.from_pylist(rows, RAW_SCHEMA)


def _row(hit: Any, columns: Sequence[str]) -> dict[str, Any]:
    fields = hit.get("fields", {})
    row = {name: _value(name, fields[path][0]) for name in columns if (path := BY_NAME[name].es) in fields}
    end, start = (int(fields[BY_NAME[name].es][0]) for name in _TIMES)
    # What judged a flow is not kept: any mark and frontier do that leave its interval as it is, and let ancient flows be ancient.
    ancient = ANCIENT.path in fields
    collector, epoch, lane, seq, number = hit["_id"].rsplit("-", 4)
    return {
        **row,
        "last_switched_ms": end,
        "delta_switched_ms": start,
        "first_switched_ms": start,
        "mark_ms": end + REACH_MS if ancient else end,
        "frontier_ms": end + WINDOW_MS + HORIZON_MS if ancient else start,
        "collector": collector,
        "epoch": int(epoch),
        "lane": int(lane),
        "seq": int(seq),
        "row": int(number),
    }


def _value(name: str, value: Any) -> Any:
    if name in _NUMBERS:
        return number_of(name, value)
    kind = BY_NAME[name].type
    if pa.types.is_integer(kind):
        return int(value)
    return float(value) if pa.types.is_floating(kind) else value
