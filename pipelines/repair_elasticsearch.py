"""Repairs of the full store: windows that miss late flows are put together again from the bus, and written anew.

In: the queue in Elasticsearch, flows of the bus. Out: documents, and a queue without what they make good. Refuses to write a window
whose flows are not all there any more (docs/explanation/numbers.md 2.6). Documents go first, the queue last: a crash in between
repairs again, and finds nothing to write. A job that goes on beside it harms nothing: what it writes has fewer rows and is refused.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from columns.arrays import Ints
from columns.documents import ids_of, to_json
from columns.enrich import Enricher
from columns.lane import Limits
from columns.naming import named
from flowpb.groupings import FINAL_DELAY_MS, HORIZON_MS, WINDOW_MS
from pipelines.recompute import Rebuilt, Recompute
from pipelines.repair import gained, what_is_missing
from stores.elasticsearch.aggregates import aggregate_documents
from stores.elasticsearch.bulk import Bulk
from stores.elasticsearch.client import Client
from stores.elasticsearch.dead_letters import burial
from stores.elasticsearch.layout import AGGREGATES, index_at
from stores.elasticsearch.questions import QUIET
from stores.elasticsearch.repairs import Queue, delete_documents, stored_documents, take_out
from stores.questions import Span
from stores.queued import Queued

WINDOWS_AT_ONCE: Final = 8
"""Windows of all lanes that one reading of the bus is for; their candidates are in memory together."""
Again = Callable[[Sequence[Queued], Span], Iterable[tuple[int, pa.RecordBatch, int | Ints, int | Ints]]]
"""(entries, span) -> the flows of their lanes that count in the span, as Recompute takes them."""


@dataclass(frozen=True, slots=True)
class Step:
    """What became of some entries; `documents` were written."""

    done: Sequence[Queued]
    failed: Sequence[Queued]
    documents: int


def ready(queue: Queue, now_ms: int, settle_ms: int, again: bool) -> list[Queued]:
    """Entries whose windows have had their last mark, for which none came for `settle_ms` and, unless `again`, none failed."""
    over = [
        entry
        for entry in queue.entries
        if now_ms >= max(entry.window_start_ms + WINDOW_MS + HORIZON_MS + FINAL_DELAY_MS, entry.late.frontier_ms + settle_ms)
    ]
    return [entry for entry in over if again or not entry.problem]


def repair(
    client: Client, queue: Queue, entries: Sequence[Queued], again: Again, limits: Limits, enricher: Enricher
) -> Iterator[Step]:
    """Repairs entries, some windows at a time, each step in the server before it is told; raises StoreError."""
    bulk = Bulk(client, burial(client))
    try:
        left = list(entries)
        while left:
            first = left[0].window_start_ms
            span = Span(first, first + WINDOWS_AT_ONCE * WINDOW_MS)
            chosen = [entry for entry in left if entry.window_start_ms < span.to_ms]
            left = left[len(chosen) :]
            step = _repair_some(client, bulk, chosen, span, again, limits, enricher)
            take_out(client, queue, [each.window for each in step.done], {each.window: each.problem for each in step.failed})
            yield step
    finally:
        bulk.close()


def _repair_some(
    client: Client, bulk: Bulk, entries: Sequence[Queued], span: Span, again: Again, limits: Limits, enricher: Enricher
) -> Step:
    wanted = {entry.window: entry for entry in entries}
    recompute = Recompute(wanted, limits)
    for flows in again(entries, span):
        recompute.add(*flows)
    client.ask("POST", f"/{','.join(sorted({_index(client, entry.window_start_ms) for entry in entries}))}/_refresh?{QUIET}")
    done, failed, documents = [], [], 0
    for rebuilt in recompute.rebuilt():
        entry = wanted[rebuilt.lane, rebuilt.window_start_ms]
        stored = stored_documents(client, _index(client, rebuilt.window_start_ms), rebuilt.lane, rebuilt.window_start_ms)
        if problem := what_is_missing(rebuilt, entry.late, stored):
            failed.append(Queued(entry.lane, entry.window_start_ms, entry.late, problem))
        else:
            done.append(entry)
            documents += _write(client, bulk, rebuilt, stored, enricher)
    return Step(done, failed, documents)


def _write(client: Client, bulk: Bulk, rebuilt: Rebuilt, stored: pa.Table, enricher: Enricher) -> int:
    """Slots that are left over from a larger K go first, then all slots of the groups that gained rows are written."""
    if rebuilt.documents is None:
        return 0
    table = named(gained(rebuilt.documents, stored), enricher)
    ids = ids_of(table)
    versions = dict(zip(table["group_id"].to_pylist(), table["rows"].to_pylist(), strict=True))
    kept, groups = set(ids), zip(stored["id"].to_pylist(), stored["group_id"].to_pylist(), strict=True)
    stale = {name: versions[group] for name, group in groups if group in versions and name not in kept}
    delete_documents(client, _index(client, rebuilt.window_start_ms), stale)
    for documents in aggregate_documents(client.target.prefix, table, ids, to_json(table)):
        bulk.add(documents)
    bulk.flush()
    count: int = table.num_rows
    return count


def _index(client: Client, window_start_ms: int) -> str:
    return index_at(client.target.prefix, AGGREGATES, window_start_ms)
