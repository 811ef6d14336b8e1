"""Rows of the ledger to bulk requests, and their sums back.

In: rows of LEDGER with their ids and JSON; questions about the ledger. Out: Documents, one per day of minutes, newer versions over
older ones; and rows of answers, added up by the server. Refuses to know how ids and JSON are made (columns/ledger_table.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from flowpb.groupings import WINDOW_MS
from flowpb.ledger import ESTIMATES, LASTS, SUMS
from stores.contract import LEDGER_ANSWER, Ledger
from stores.elasticsearch.client import Client
from stores.elasticsearch.documents import Documents
from stores.elasticsearch.layout import DAY_MS, LEDGER, days_of, index_at, indices_of
from stores.elasticsearch.questions import QUIET, address_term
from stores.questions import LedgerQuery, Span

_PAGE: Final = 1_000
_ALL_TIME: Final = "100000d"
_SUMS: Final[Mapping[str, Any]] = {
    **{name: {"sum": {"field": name}} for name in (*SUMS, *ESTIMATES)},
    "since_ms": {"min": {"field": "since_ms"}},
    "until_ms": {"max": {"field": "until_ms"}},
    "first": {"min": {"field": "minute"}},
    "last": {"max": {"field": "minute"}},
    "latest": {
        "top_hits": {
            "size": 1,
            "_source": False,
            "sort": [{"until_ms": {"order": "desc", "missing": "_last"}}],
            "docvalue_fields": list(LASTS),
        }
    },
}


def ledger_documents(prefix: str, table: pa.Table, ids: Sequence[str], documents: Sequence[bytes]) -> list[Documents]:
    """Documents of all rows of `table`, in order per day; `ids` and `documents` have one entry per row."""
    day = days_of(table.column("minute_ms").to_numpy())
    versions = table.column("version").to_pylist()
    lines = [
        f'{{"index":{{"_id":"{name}","version":{version},"version_type":"external_gte"}}}}\n'.encode() + document + b"\n"
        for name, version, document in zip(ids, versions, documents, strict=True)
    ]
    text = pa.array(lines, pa.binary()).cast(pa.string())
    return [
        Documents(index_at(prefix, LEDGER, number * DAY_MS), text.filter(pa.array(day == number)))
        for number in np.unique(day).tolist()
    ]


def ledger_answer(client: Client, query: LedgerQuery) -> Ledger:
    """The ledger of a question, added up by the server; raises StoreError."""
    buckets = list(_buckets(client, query))
    rows = [_row(bucket, query) for bucket in buckets]
    table = pa.Table.from_pylist(rows, LEDGER_ANSWER).sort_by([("start_ms", "ascending"), ("exporter", "ascending")])
    if not buckets:
        return Ledger(table, None)
    first, last = min(each["first"]["value"] for each in buckets), max(each["last"]["value"] for each in buckets)
    return Ledger(table, Span(int(first), int(last) + WINDOW_MS))


def _buckets(client: Client, query: LedgerQuery) -> Iterator[Any]:
    chosen: list[Any] = [{"range": {"minute": {"gte": query.span.from_ms, "lt": query.span.to_ms, "format": "epoch_millis"}}}]
    if query.exporter is not None:
        chosen.append(address_term("exporter.address", query.exporter))
    interval = _ALL_TIME if query.step_ms is None else f"{query.step_ms}ms"
    sources: list[Any] = [{"start_ms": {"date_histogram": {"field": "minute", "fixed_interval": interval}}}]
    if query.by_exporter:
        sources.append({"exporter": {"terms": {"field": "exporter.address", "missing_bucket": True}}})
    composite: dict[str, Any] = {"size": _PAGE, "sources": sources}
    path = f"/{indices_of(client.target.prefix, LEDGER, query.span)}/_search?{QUIET}"
    body = {"size": 0, "track_total_hits": False, "query": {"bool": {"filter": chosen}}}
    while True:
        found = client.ask("POST", path, {**body, "aggs": {"rows": {"composite": composite, "aggs": _SUMS}}})
        page = found.get("aggregations", {}).get("rows", {})
        yield from page.get("buckets", ())
        if "after_key" not in page:
            return
        composite = {**composite, "after": page["after_key"]}


def _row(bucket: Mapping[str, Any], query: LedgerQuery) -> dict[str, Any]:
    hits = bucket["latest"]["hits"]["hits"]
    latest = hits[0].get("fields", {}) if hits else {}
    return {
        "start_ms": query.span.from_ms if query.step_ms is None else bucket["key"]["start_ms"],
        "exporter": bucket["key"].get("exporter"),
        **{name: max(int(bucket[name]["value"] or 0), 0) for name in (*SUMS, *ESTIMATES, "since_ms", "until_ms")},
        **{name: int(latest.get(name, (0,))[0]) for name in LASTS},
    }
