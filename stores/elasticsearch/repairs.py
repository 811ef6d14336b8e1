"""The queue of repairs in Elasticsearch: one document per batch that had late flows, until its windows are repaired.

In: what windows miss, by batch. Out: entries by (lane, window), and which documents they come from. Refuses to repair. Ids are
those of the batches: a job that goes back to a checkpoint writes the same documents over themselves, and a late flow counts once.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson
import pyarrow as pa

from common.errors import StoreError
from stores.elasticsearch.client import NDJSON, Client
from stores.elasticsearch.documents import Documents
from stores.elasticsearch.layout import REPAIRS, index_at, pattern
from stores.elasticsearch.questions import QUIET
from stores.judged import LoggedBatch
from stores.queued import Late, Queued, Window

_PAGE: Final = 5_000
_STORED: Final = pa.schema([("id", pa.string()), ("group_id", pa.uint64()), ("grouped_by", pa.string()), ("rows", pa.int64())])


class LateBatch(LoggedBatch, Protocol):
    """A logged batch, as far as the queue has to know it."""

    @property
    def offset(self) -> int:
        """Where the bus has it."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Entries, oldest windows first, and by index and id the documents that they are made of, whole."""

    entries: Sequence[Queued]
    documents: dict[tuple[str, str], Any] = field(repr=False)


def repair_documents(prefix: str, late: Iterable[tuple[LateBatch, Mapping[int, tuple[int, int]]]]) -> list[Documents]:
    """Documents of batches with (flows, shares) per window that they came too late for, per day of the frontier."""
    days: dict[str, list[bytes]] = {}
    for batch, windows in late:
        row = {
            "@timestamp": batch.frontier_ms,
            "mark": batch.mark_ms,
            "lane": batch.lane,
            "offset": batch.offset,
            "windows": [[start, flows, shares] for start, (flows, shares) in sorted(windows.items())],
        }
        days.setdefault(index_at(prefix, REPAIRS, batch.frontier_ms), []).append(_indexed(_id_of(batch), row))
    return [Documents(index, pa.array(lines, pa.binary()).cast(pa.string())) for index, lines in days.items()]


def read_queue(client: Client) -> Queue:
    """Everything that waits, after a refresh; raises StoreError."""
    entries: dict[Window, Queued] = {}
    documents: dict[tuple[str, str], Any] = {}
    for hit in _hits(client):
        row = hit["_source"]
        documents[hit["_index"], hit["_id"]] = row
        for start, flows, shares in row["windows"]:
            late, known = Late(flows, shares, row["@timestamp"], row["offset"]), entries.get((row["lane"], start))
            problem = row.get("problem", "") or (known.problem if known else "")
            entries[row["lane"], start] = Queued(row["lane"], start, known.late.plus(late) if known else late, problem)
    return Queue(sorted(entries.values(), key=lambda entry: entry.window[::-1]), documents)


def take_out(client: Client, queue: Queue, done: Iterable[Window], failed: Mapping[Window, str]) -> None:
    """Removes what was repaired from the documents of the queue, there and in `queue`, and notes why the rest was not.

    Raises StoreError.
    """
    gone = set(done)
    lines: dict[str, list[bytes]] = {}
    for (index, name), row in list(queue.documents.items()):
        touched = [(row["lane"], each[0]) for each in row["windows"]]
        if gone.isdisjoint(touched) and not any(window in failed for window in touched):
            continue
        left = [each for each in row["windows"] if (row["lane"], each[0]) not in gone]
        problem = next((failed[window] for window in touched if window in failed), row.get("problem", ""))
        queue.documents[index, name] = {**row, "windows": left, "problem": problem}
        action = _indexed(name, queue.documents[index, name]) if left else _deleted(name)
        lines.setdefault(index, []).append(action)
    for index, actions in lines.items():
        for first in range(0, len(actions), _PAGE):
            _send(client, index, actions[first : first + _PAGE])


def stored_documents(client: Client, index: str, lane: int | None, window_start_ms: int) -> pa.Table:
    """`id`, `group_id`, `grouped_by` and `rows` of all documents of a lane's window, or without a lane, of those that are of no
    lane: location and system scope. Raises StoreError."""
    of_window: dict[str, Any] = {"filter": [{"term": {"range_start": window_start_ms}}]}
    if lane is None:
        of_window["must_not"] = {"exists": {"field": "lane"}}
    else:
        of_window["filter"].append({"term": {"lane": lane}})
    body: dict[str, Any] = {
        "query": {"bool": of_window},
        "_source": False,
        "docvalue_fields": ["grouped_by", "rows"],
        "size": _PAGE,
        "sort": ["group_id", "slot"],
    }
    rows = []
    while hits := client.ask("POST", f"/{index}/_search?{QUIET}", body).get("hits", {}).get("hits", []):
        for hit in hits:
            group = int.from_bytes(base64.urlsafe_b64decode(hit["_id"])[5:13], "big")
            rows.append((hit["_id"], group, hit["fields"]["grouped_by"][0], int(hit["fields"]["rows"][0])))
        body["search_after"] = hits[-1]["sort"]
    columns = zip(*rows, strict=True) if rows else [[]] * len(_STORED)
    return pa.table([pa.array(list(column), field.type) for column, field in zip(columns, _STORED, strict=True)], schema=_STORED)


def delete_documents(client: Client, index: str, versions: Mapping[str, int]) -> None:
    """Deletes slots that are no more, each up to a version: an older mark that comes again cannot bring it back at once."""
    actions = [
        orjson.dumps({"delete": {"_id": name, "version": version, "version_type": "external_gte"}}) + b"\n"
        for name, version in versions.items()
    ]
    if actions:
        _send(client, index, actions)


def _hits(client: Client) -> Iterator[Any]:
    place = f"/{pattern(client.target.prefix, REPAIRS)}"
    client.ask("POST", f"{place}/_refresh?{QUIET}")
    opened = client.ask("POST", f"{place}/_pit?keep_alive=2m&{QUIET}")["id"]
    asked: dict[str, Any] = {"size": _PAGE, "pit": {"id": opened}, "sort": ["_shard_doc"]}
    try:
        while hits := client.ask("POST", "/_search", asked)["hits"]["hits"]:
            yield from hits
            asked["search_after"] = hits[-1]["sort"]
    finally:
        client.ask("DELETE", "/_pit", {"id": opened})


def _send(client: Client, index: str, actions: Sequence[bytes]) -> None:
    answer = client.send("POST", f"/{index}/_bulk?filter_path=errors,items.*.error", b"".join(actions), NDJSON)
    errors = [] if answer.status >= 300 else [each for item in answer.content.get("items", []) for each in item.values()]
    grave = [each for each in errors if each.get("error", {}).get("type") not in (None, "version_conflict_engine_exception")]
    if answer.status >= 300 or grave:
        raise StoreError(f"{client.target.place}: {index}: not taken: {grave[0]['error']['reason'] if grave else answer.reason}")


def _id_of(batch: LateBatch) -> str:
    return f"{batch.collector}-{batch.epoch}-{batch.lane}-{batch.seq}"


def _indexed(name: str, row: Mapping[str, object]) -> bytes:
    return orjson.dumps({"index": {"_id": name}}) + b"\n" + orjson.dumps(row) + b"\n"


def _deleted(name: str) -> bytes:
    return orjson.dumps({"delete": {"_id": name}}) + b"\n"
