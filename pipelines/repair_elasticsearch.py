"""Repairs of the full store: windows that miss late flows are put together again from the bus, and written anew.

In: the queue in Elasticsearch, flows of the bus, partials of the other lanes. Out: documents of all scopes, partials of which hours
are made again, what the ledger has to know, and a queue without what they make good. Refuses to write a window whose flows are not
all there any more (docs/explanation/numbers.md 2.6). Documents go first, the queue last: a crash in between repairs again, and
finds nothing to write. A job that goes on beside it harms nothing: what it writes has fewer rows and is refused.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from columns.arrays import Ints
from columns.documents import ids_of, to_json
from columns.lane import contribution, emit_wide
from columns.ledger_table import ledger_ids, ledger_json, rows_of_repair
from columns.marks import REPAIR
from columns.naming import named
from columns.partials import partial_of
from flowpb.documents import LEVEL_HOUR, LEVEL_MINUTE
from flowpb.groupings import WINDOW_MS
from pipelines.recompute import Rebuilt, Recompute
from pipelines.repair import gained, what_is_missing
from pipelines.rollup import Rules, kept_from
from stores.elasticsearch.aggregates import aggregate_documents
from stores.elasticsearch.bulk import Bulk
from stores.elasticsearch.cascade import final_through, states_of_window
from stores.elasticsearch.client import Client
from stores.elasticsearch.dead_letters import burial
from stores.elasticsearch.documents import Documents
from stores.elasticsearch.layout import AGGREGATES, index_at
from stores.elasticsearch.ledger import ledger_documents
from stores.elasticsearch.partials import partial_documents
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


def ready(queue: Queue, through_ms: int | None, now_ms: int, settle_ms: int, again: bool) -> list[Queued]:
    """Entries whose windows all lanes are through with (`final_through` of the server), for which no late flow came for
    `settle_ms` and, unless `again`, none failed."""
    over = [
        entry
        for entry in queue.entries
        if through_ms is not None
        and entry.window_start_ms + WINDOW_MS <= through_ms
        and now_ms >= entry.late.frontier_ms + settle_ms
    ]
    return [entry for entry in over if again or not entry.problem]


def repair(client: Client, queue: Queue, entries: Sequence[Queued], again: Again, rules: Rules) -> Iterator[Step]:
    """Repairs entries, some windows at a time, each step in the server before it is told; raises StoreError."""
    bulk = Bulk(client, burial(client))
    partials_from_ms = kept_from(LEVEL_HOUR, final_through(client) or 0)
    writing = _Writing(client, bulk, rules, partials_from_ms)
    try:
        left = list(entries)
        while left:
            first = left[0].window_start_ms
            span = Span(first, first + WINDOWS_AT_ONCE * WINDOW_MS)
            chosen = [entry for entry in left if entry.window_start_ms < span.to_ms]
            left = left[len(chosen) :]
            step = _repair_some(writing, chosen, span, again)
            take_out(client, queue, [each.window for each in step.done], {each.window: each.problem for each in step.failed})
            yield step
    finally:
        bulk.close()


def _repair_some(writing: "_Writing", entries: Sequence[Queued], span: Span, again: Again) -> Step:
    wanted = {entry.window: entry for entry in entries}
    recompute = Recompute(wanted, writing.rules.limits)
    for flows in again(entries, span):
        recompute.add(*flows)
    writing.refresh(entry.window_start_ms for entry in entries)
    done, failed, documents = [], [], 0
    bases: dict[int, dict[int, bytes]] = {}
    for rebuilt in recompute.rebuilt():
        entry = wanted[rebuilt.lane, rebuilt.window_start_ms]
        stored = writing.stored(rebuilt.window_start_ms, rebuilt.lane)
        if problem := what_is_missing(rebuilt, entry.late, stored):
            failed.append(Queued(entry.lane, entry.window_start_ms, entry.late, problem))
            continue
        done.append(entry)
        documents += writing.of_lane(rebuilt, stored)
        if rebuilt.base is not None:
            bases.setdefault(rebuilt.window_start_ms, {})[rebuilt.lane] = rebuilt.base
    documents += sum(writing.of_all_lanes(start_ms, lanes) for start_ms, lanes in sorted(bases.items()))
    return Step(done, failed, documents)


@dataclass(frozen=True, slots=True)
class _Writing:
    """What is known and written of repaired windows; of those that start before `partials_from_ms` nothing longer is made again."""

    client: Client
    bulk: Bulk
    rules: Rules
    partials_from_ms: int

    def refresh(self, windows: Iterable[int]) -> None:
        """All that was written of these windows is seen."""
        self.client.ask("POST", f"/{','.join(sorted({self._index(start_ms) for start_ms in windows}))}/_refresh?{QUIET}")

    def stored(self, window_start_ms: int, lane: int | None) -> pa.Table:
        """What documents there are of a lane's window, or of location and system scope."""
        return stored_documents(self.client, self._index(window_start_ms), lane, window_start_ms)

    def of_lane(self, rebuilt: Rebuilt, stored: pa.Table) -> int:
        """Documents of one lane's window, and the rows of the ledger; returns how many documents."""
        account = rows_of_repair(rebuilt.lane, rebuilt.window_start_ms, rebuilt.origins)
        written = 0 if rebuilt.documents is None else self._write(rebuilt.documents, stored)
        self._send(ledger_documents(self.client.target.prefix, account, ledger_ids(account), ledger_json(account)))
        return written

    def of_all_lanes(self, window_start_ms: int, bases: dict[int, bytes]) -> int:
        """Documents of location and system scope from all lanes' partials, then the partials of the repaired ones."""
        if window_start_ms < self.partials_from_ms:
            return 0
        limits = self.rules.limits
        written = 0
        if self.rules.wide:
            states = {**states_of_window(self.client, LEVEL_MINUTE, window_start_ms), **bases}
            contributions = [contribution(states[lane], limits) for lane in sorted(states)]
            wide = emit_wide(contributions, window_start_ms, REPAIR, True, limits)
            written = self._write(wide, self.stored(window_start_ms, None))
        partials = [partial_of(base, lane, window_start_ms, limits) for lane, base in sorted(bases.items())]
        self._send(partial_documents(self.client.target.prefix, pa.concat_tables(partials)))
        return written

    def _write(self, documents: pa.Table, stored: pa.Table) -> int:
        """Slots that are left over from a larger K go first, then all slots of the groups that gained rows are written."""
        table = named(gained(documents, stored), self.rules.enricher)
        if not table.num_rows:
            return 0
        ids = ids_of(table)
        versions = dict(zip(table["group_id"].to_pylist(), table["rows"].to_pylist(), strict=True))
        kept, groups = set(ids), zip(stored["id"].to_pylist(), stored["group_id"].to_pylist(), strict=True)
        stale = {name: versions[group] for name, group in groups if group in versions and name not in kept}
        delete_documents(self.client, self._index(pc.min(table["window_start_ms"]).as_py()), stale)
        self._send(aggregate_documents(self.client.target.prefix, table, ids, to_json(table)))
        count: int = table.num_rows
        return count

    def _send(self, documents: Iterable[Documents]) -> None:
        for each in documents:
            self.bulk.add(each)
        self.bulk.flush()

    def _index(self, window_start_ms: int) -> str:
        return index_at(self.client.target.prefix, AGGREGATES, window_start_ms)
