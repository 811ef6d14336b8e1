"""Repairs of the embedded store: windows that miss late flows are put together again from the raw flows, and written anew.

In: the manifest's queue, live files. Out: files of documents and the entries that they make good, for one transaction of the
manifest. Refuses to write a window whose flows are not all there any more: it stays in the queue, with the reason
(docs/explanation/numbers.md 2.6). A crash anywhere leaves the queue as it was.

The three steps are apart so that only the first and the last touch the manifest: `plan_repair`, `make_repair`, `Manifest.repair`.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from columns.arrays import Ints
from columns.enrich import Enricher
from columns.flows import wanted_columns
from columns.lane import Limits, contribution, emit_wide
from columns.ledger_table import rows_of_repair
from columns.marks import REPAIR
from columns.naming import named
from columns.partials import partial_of
from common.errors import NephriteError
from common.metrics import Counters
from flowpb.documents import LEVEL_HOUR, LEVEL_MINUTE
from flowpb.groupings import FINAL_DELAY_MS, HORIZON_MS, WINDOW_MS, Grouping, Kind, Scope
from pipelines.recompute import Rebuilt, Recompute
from pipelines.rollup import kept_from
from stores.parquet.carried import Repair
from stores.parquet.layout import RAW_LEVEL, LiveFile, find_file, pending_path
from stores.parquet.manifest import Manifest
from stores.parquet.rereading import Reread, reread, stored_rows
from stores.parquet.writer import write_aggregates, write_ledger
from stores.questions import Span
from stores.queued import Late, Queued, Window

log = logging.getLogger(__name__)
WINDOWS_AT_ONCE: Final = 4
"""Windows of all lanes that one repair goes over; their candidates are in memory together."""
_OVER_MS: Final = WINDOW_MS + HORIZON_MS + FINAL_DELAY_MS
_EXPORTER: Final = Grouping(Scope.EXPORTER, Kind.TOTAL).grouped_by
_SYSTEM: Final = Grouping(Scope.SYSTEM, Kind.TOTAL).grouped_by


@dataclass(frozen=True, slots=True)
class Plan:
    """Entries that one repair goes for, and where their flows and their documents are."""

    entries: Sequence[Queued]
    span: Span
    raw: Sequence[Path]
    documents: Sequence[Path]
    partials_from_ms: int = 0
    """Windows from here on have partials that hours are made of."""
    alone_from_ms: int = 1 << 62
    """Windows from here on are still open in other lanes: location and system scope wait for these."""


@dataclass(frozen=True, slots=True)
class Ready:
    """When an entry may be repaired: when its lane is through with its window, `settle_ms` of the lane's time after the last late
    flow; and once more, where there are `wide` scopes, when all lanes are, if they were not at first."""

    settle_ms: int
    again: bool = False
    """Whether what could not be repaired is tried again."""
    wide: bool = True

    def chosen(self, queue: Iterable[Queued], frontiers: Mapping[int, int]) -> list[Queued]:
        """Entries that are ready, in the order of the queue."""
        alone_from_ms = self.alone_from(frontiers)
        return [entry for entry in queue if self._holds(entry, frontiers.get(entry.lane, 0), alone_from_ms)]

    def alone_from(self, frontiers: Mapping[int, int]) -> int:
        """Windows that start before are over in all lanes: what these give to location and system scope is there, and stays."""
        return min(frontiers.values(), default=0) - _OVER_MS + 1 if self.wide else 1 << 62

    def _holds(self, entry: Queued, frontier_ms: int, alone_from_ms: int) -> bool:
        over = frontier_ms >= entry.window_start_ms + _OVER_MS
        new = not entry.only_wide or entry.window_start_ms < alone_from_ms
        settled = frontier_ms >= entry.late.frontier_ms + self.settle_ms
        return over and new and settled and (self.again or not entry.problem)


Flows = Callable[[Plan, Limits], Iterable[tuple[int, pa.RecordBatch, int | Ints, int | Ints]]]
"""Where a plan's flows come from: those of its lanes that count in its span, as Recompute takes them."""


def plan_repair(manifest: Manifest, ready: Ready, passed: Iterable[Window] = ()) -> Plan | None:
    """The oldest windows that are ready and not `passed` over; None when there are none. Raises StoreError."""
    done = set(passed)
    frontiers = manifest.frontiers()
    entries = [each for each in ready.chosen(manifest.queue(), frontiers) if each.window not in done]
    if not entries:
        return None
    first = min(entry.window_start_ms for entry in entries)
    entries = [entry for entry in entries if entry.window_start_ms < first + WINDOWS_AT_ONCE * WINDOW_MS]
    span = Span(first, first + WINDOWS_AT_ONCE * WINDOW_MS)
    raw = manifest.files("raw", RAW_LEVEL, span.from_ms, span.to_ms)
    documents = manifest.files("aggregate", LEVEL_MINUTE, span.from_ms, span.to_ms)
    paths = [[_path(manifest.data_dir, file) for file in files] for files in (raw, documents)]
    partials_from_ms = kept_from(LEVEL_HOUR, manifest.final_through() or 0)
    return Plan(entries, span, paths[0], paths[1], partials_from_ms, ready.alone_from(frontiers))


def raw_flows(plan: Plan, limits: Limits) -> Iterator[Reread]:
    """The plan's flows from the raw store; raises StoreError."""
    return reread(plan.raw, sorted(wanted_columns(limits)), sorted({entry.lane for entry in plan.entries}), plan.span)


def make_repair(plan: Plan, pending: Path, limits: Limits, enricher: Enricher, again: Flows = raw_flows) -> Repair:
    """Documents of the plan's windows in pending/, and what became of each entry. Raises StoreError, or what `again` raises."""
    wanted = {entry.window: entry for entry in plan.entries if not entry.only_wide}
    recompute = Recompute(wanted, limits)
    for flows in again(replace(plan, entries=list(wanted.values())), limits) if wanted else ():
        recompute.add(*flows)
    stored = stored_rows(plan.documents, plan.span)
    made = [entry for entry in plan.entries if entry.only_wide]
    failed, tables, partials, accounts = [], [], [], []
    for rebuilt in recompute.rebuilt():
        entry = wanted[rebuilt.lane, rebuilt.window_start_ms]
        own = stored.filter(
            pc.and_(pc.equal(stored["lane"], rebuilt.lane), pc.equal(stored["window_start_ms"], rebuilt.window_start_ms))
        )
        if problem := what_is_missing(rebuilt, entry.late, own):
            failed.append(replace(entry, problem=problem))
        else:
            made.append(entry)
            accounts.append(rows_of_repair(entry.lane, entry.window_start_ms, rebuilt.origins))
            tables += [named(gained(rebuilt.documents, own), enricher)] if rebuilt.documents is not None else []
            if rebuilt.base is not None and rebuilt.window_start_ms >= plan.partials_from_ms:
                partials.append(partial_of(rebuilt.base, rebuilt.lane, rebuilt.window_start_ms, limits))
    done = [entry for entry in made if entry.window_start_ms < plan.alone_from_ms]
    tables += [named(table, enricher) for table in _wide_documents(pending.parent, stored, done, partials, limits)]
    documents = pa.concat_tables(tables) if tables else None
    files = [*write_aggregates(pending, documents)] if documents is not None and documents.num_rows else []
    if accounts := [rows for rows in accounts if rows.num_rows]:
        files += write_ledger(pending, pa.concat_tables(accounts))
    written = [entry for entry in made if entry.window_start_ms >= plan.alone_from_ms]
    return Repair(files, done, failed, written, _counted(done, failed, written, documents).as_map(), partials)


def _wide_documents(
    data_dir: Path, stored: pa.Table, done: Iterable[Queued], partials: Sequence[pa.Table], limits: Limits
) -> Iterator[pa.Table]:
    """Documents of location and system scope of repaired windows, from all lanes' partials; not where only exporters had any."""
    exporters, wide = (
        set(stored.filter(pc.equal(stored["grouped_by"], name))["window_start_ms"].to_pylist()) for name in (_EXPORTER, _SYSTEM)
    )
    repaired: dict[int, dict[int, bytes]] = {}
    for row in (row for partial in partials for row in partial.to_pylist()):
        repaired.setdefault(row["window_start_ms"], {})[row["lane"]] = row["state"]
    with Manifest.open(data_dir, writer=False) as manifest, manifest.partials() as kept:
        for start_ms in sorted({entry.window_start_ms for entry in done} - (exporters - wide)):
            states = {**kept.of_window(LEVEL_MINUTE, start_ms), **repaired.get(start_ms, {})}
            contributions = [contribution(states[lane], limits) for lane in sorted(states)]
            table = emit_wide(contributions, start_ms, REPAIR, True, limits)
            yield gained(table, stored.filter(pc.equal(stored["window_start_ms"], start_ms)))


def what_is_missing(rebuilt: Rebuilt, late: Late, stored: pa.Table) -> str:
    """Why a window may not be written; empty where it may. `stored` has `group_id`, `grouped_by` and `rows` of its documents."""
    if rebuilt.found.shares < late.shares:
        return f"{late.shares - rebuilt.found.shares} of {late.shares} late shares are not among the flows that are kept"
    exporters = stored.filter(pc.equal(stored["grouped_by"], _EXPORTER))
    known = dict(zip(exporters["group_id"].to_pylist(), exporters["rows"].to_pylist(), strict=True))
    found: dict[int, int] = {}
    if rebuilt.documents is not None:
        found = dict(zip(rebuilt.documents["group_id"].to_pylist(), rebuilt.documents["rows"].to_pylist(), strict=True))
    short = [group for group, rows in known.items() if found.get(group, 0) < rows]
    return f"{len(short)} exporters have more rows in their documents than among the flows that are kept" if short else ""


def gained(documents: pa.Table, stored: pa.Table) -> pa.Table:
    """The documents of groups that have more rows than the stored ones."""
    known = dict(zip(stored["group_id"].to_pylist(), stored["rows"].to_pylist(), strict=True))
    rows = zip(documents["group_id"].to_pylist(), documents["rows"].to_pylist(), strict=True)
    return documents.filter(pa.array([count > known.get(group, 0) for group, count in rows], pa.bool_()))


def repair_all(
    manifest: Manifest, limits: Limits, enricher: Enricher, ready: Ready, again: Flows = raw_flows
) -> Iterable[tuple[Sequence[Queued], Sequence[Queued]]]:
    """Repairs everything that is ready, some windows at a time; yields what each step did and what it could not do.

    What only wider scopes wait for is neither: it stays in the queue.
    """
    passed: list[Window] = []
    while plan := plan_repair(manifest, ready, passed):
        repair = make_repair(plan, manifest.pending_dir, limits, enricher, again)
        manifest.repair(repair)
        passed += [entry.window for entry in plan.entries]
        yield repair.done, repair.failed


class Repairs:
    """Repairs beside a running pipeline: call `step` between runs. They are made in a thread of their own, one at a time.

    Only `step` touches the manifest, so it is called from the thread that commits runs.
    """

    def __init__(self, manifest: Manifest, limits: Limits, enricher: Enricher, ready: Ready, again: Flows = raw_flows) -> None:
        self._manifest, self._limits, self._enricher, self._ready, self._again = manifest, limits, enricher, ready, again
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="repair")
        self._making: Future[Repair] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def step(self) -> None:
        """Commits the repair that is finished, and begins the next; raises StoreError where the manifest fails."""
        if self._making is not None:
            if not self._making.done():
                return
            made, self._making = self._making, None
            try:
                self._manifest.repair(made.result())
            except NephriteError as error:
                log.warning("repair given up, it is tried again: %s", error)
                self._manifest.count({'repair_attempts_total{result="given_up"}': 1})
        if plan := plan_repair(self._manifest, self._ready):
            folder = self._manifest.pending_dir
            self._making = self._pool.submit(make_repair, plan, folder, self._limits, self._enricher, self._again)

    def settle(self) -> None:
        """As `step`, until nothing is ready any more."""
        self.step()
        while self._making is not None:
            wait([self._making])
            self.step()

    def close(self) -> None:
        """Waits for the thread; a repair that was not committed stays in pending/, where the next writer deletes it."""
        self._pool.shutdown()


def _counted(done: Sequence[Queued], failed: Sequence[Queued], written: Sequence[Queued], documents: pa.Table | None) -> Counters:
    counters = Counters()
    counters.add("repair_attempts_total", len(done), result="repaired")
    counters.add("repair_attempts_total", len(failed), result="incomplete")
    counters.add("repair_attempts_total", len(written), result="lane")
    counters.add("repair_flows_total", sum(entry.late.flows for entry in done))
    counters.add("repair_documents_total", documents.num_rows if documents is not None else 0)
    return counters


def _path(data_dir: Path, file: LiveFile) -> Path:
    return find_file(data_dir, file) or pending_path(data_dir, file.name)
