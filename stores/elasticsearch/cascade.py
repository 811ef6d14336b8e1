"""The full store's part in the cascade: stores.cascade.Cascade over Elasticsearch.

In: partials and documents of longer windows. Out: what to make them of. Refuses to know how ids and JSON are made: `spell` gives
them. Documents go first and their partials last, so that a failure in between makes the window again.

Which minutes are final is read from the partials: the last mark of a window fires by one watermark, that of all lanes: a
partial of a later window says that all lanes are through with the earlier ones, as soon as other workers have written theirs
(SLACK_MS). What comes later than that makes the hour again.
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa

from common.errors import StoreError
from flowpb.documents import LEVEL_MINUTE
from stores.cascade import Kept, unsqueezed
from stores.elasticsearch.aggregates import aggregate_documents
from stores.elasticsearch.bulk import Bulk
from stores.elasticsearch.client import NDJSON, Client
from stores.elasticsearch.dead_letters import burial
from stores.elasticsearch.layout import DAY_MS, KIND_OF, index_at, indices_of, last_day_of_index, partials_kind, pattern
from stores.elasticsearch.partials import partial_documents
from stores.elasticsearch.questions import QUIET
from stores.questions import Span

SLACK_MS: Final = 120_000
_PAGE: Final = 10_000
_STATES: Final = 30
"""States of one answer: each may have megabytes."""
Spell = Callable[[pa.Table, str], tuple[Sequence[str], Sequence[bytes]]]
"""(documents, level) -> ids and JSON of all rows."""


class ElasticsearchCascade:
    """Over a client of its own, which `close` lets go of."""

    def __init__(self, client: Client, spell: Spell) -> None:
        self._client, self._spell = client, spell
        self._bulk = Bulk(client, burial(client))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bulk.close()
        self._client.close()

    @property
    def client(self) -> Client:
        """Where it asks."""
        return self._client

    def final_through(self) -> int | None:
        """The end of the newest window of which any lane has given its last partial, less the slack."""
        return final_through(self._client)

    def kept(self, level: str) -> list[Kept]:
        """The partials of a level, by window and lane."""
        names = ("range_start", "lane", "rows", "made_of")
        body = {"docvalue_fields": list(names), "_source": False}
        rows = ([hit["fields"][name][0] for name in names] for hit in self._hits(partials_kind(level), body))
        return sorted(Kept(int(start), int(lane), int(rows), made_of) for start, lane, rows, made_of in rows)

    def states(self, level: str, from_ms: int, to_ms: int, lane: int) -> list[bytes]:
        """States of a lane's partials whose windows start in [from_ms, to_ms), in their order."""
        chosen = [{"range": {"range_start": {"gte": from_ms, "lt": to_ms}}}, {"term": {"lane": lane}}]
        body: dict[str, Any] = {
            "size": _STATES,
            "query": {"bool": {"filter": chosen}},
            "sort": ["range_start"],
            "_source": ["state"],
        }
        path = f"/{indices_of(self._client.target.prefix, partials_kind(level), Span(from_ms, to_ms))}/_search?{QUIET}"
        found: list[bytes] = []
        while hits := self._client.ask("POST", path, body)["hits"]["hits"]:
            found += [unsqueezed(base64.b64decode(hit["_source"]["state"])) for hit in hits]
            body["search_after"] = hits[-1]["sort"]
        return found

    def put(self, level: str, window_start_ms: int, partials: pa.Table, documents: pa.Table) -> None:
        """Documents, then partials; then documents of an earlier making go whose slots are left."""
        prefix = self._client.target.prefix
        ids, lines = self._spell(documents, level)
        self._send(aggregate_documents(prefix, documents, ids, lines, level))
        self._drop_others(level, window_start_ms, set(ids))
        self._send(partial_documents(prefix, partials))

    def forget(self, level: str, before_ms: int) -> int:
        """Deletes the daily indices whose windows all start before; returns how many partials were in them."""
        prefix, kind, gone = self._client.target.prefix, partials_kind(level), 0
        for name in self._client.ask("GET", f"/{pattern(prefix, kind)}?filter_path=*.settings.index.uuid"):
            day = last_day_of_index(prefix, kind, name)
            if day is not None and ((day - date(1970, 1, 1)).days + 1) * DAY_MS <= before_ms:
                gone += self._client.ask("GET", f"/{name}/_count")["count"]
                self._client.ask("DELETE", f"/{name}")
        return gone

    def _send(self, documents: Sequence[Any]) -> None:
        for each in documents:
            self._bulk.add(each)
        self._bulk.flush()

    def _drop_others(self, level: str, window_start_ms: int, ids: set[str]) -> None:
        body = {"query": {"term": {"range_start": window_start_ms}}, "_source": False}
        index = index_at(self._client.target.prefix, KIND_OF[level], window_start_ms)
        stale = [hit["_id"] for hit in self._hits(KIND_OF[level], body) if hit["_id"] not in ids]
        if stale:
            lines = b"".join(b'{"delete":{"_id":"%s"}}\n' % name.encode() for name in stale)
            answer = self._client.send("POST", f"/{index}/_bulk?filter_path=errors,items.*.error", lines, NDJSON)
            if answer.status >= 300 or answer.content.get("errors"):
                raise StoreError(f"{self._client.target.place}: documents of {index} not deleted: {answer.reason}")

    def _hits(self, kind: str, body: dict[str, Any]) -> Iterator[Any]:
        """All that match, after a refresh."""
        place = f"/{pattern(self._client.target.prefix, kind)}"
        self._client.ask("POST", f"{place}/_refresh?{QUIET}")
        opened = self._client.ask("POST", f"{place}/_pit?keep_alive=2m&{QUIET}")["id"]
        asked: dict[str, Any] = {**body, "size": _PAGE, "pit": {"id": opened}, "sort": ["_shard_doc"]}
        try:
            while hits := self._client.ask("POST", "/_search", asked)["hits"]["hits"]:
                yield from hits
                asked["search_after"] = hits[-1]["sort"]
        finally:
            self._client.ask("DELETE", "/_pit", {"id": opened})


def final_through(client: Client) -> int | None:
    """The end of the newest window of which any lane has given its last partial, less the slack; raises StoreError."""
    path = f"/{pattern(client.target.prefix, partials_kind(LEVEL_MINUTE))}/_search?{QUIET}"
    found = client.ask("POST", path, {"size": 0, "aggs": {"last": {"max": {"field": "range_end"}}}})
    last = found.get("aggregations", {}).get("last", {}).get("value")
    return None if last is None else int(last) - SLACK_MS


def states_of_window(client: Client, level: str, window_start_ms: int) -> dict[int, bytes]:
    """The states of a window by lane, after a refresh; raises StoreError."""
    index = index_at(client.target.prefix, partials_kind(level), window_start_ms)
    client.ask("POST", f"/{index}/_refresh?{QUIET}")
    body: dict[str, Any] = {
        "size": _STATES,
        "query": {"term": {"range_start": window_start_ms}},
        "sort": ["lane"],
        "_source": ["lane", "state"],
    }
    found: dict[int, bytes] = {}
    while hits := client.ask("POST", f"/{index}/_search?{QUIET}", body).get("hits", {}).get("hits", []):
        found |= {int(hit["_source"]["lane"]): unsqueezed(base64.b64decode(hit["_source"]["state"])) for hit in hits}
        body["search_after"] = hits[-1]["sort"]
    return found
