"""The pipeline on one machine: bounded micro-batches on Beam's in-process runner, with carried state.

In: new entries of the bus. Out: Parquet files and one transaction of the manifest per run, which holds offsets, lane logs,
window state and the list of files together: a crash anywhere repeats the run harmlessly. Refuses to know how a window is
computed. The runner is named explicitly: Beam's switching DirectRunner would look for another one, and on endless input never
gives anything. The program is built once and run many times: building it costs three times what running it does.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment

from bus.contract import Entry, Source
from columns.enrich import Enricher
from columns.lane import Limits, contribution, due, mark_times
from columns.log import LaneLog
from common.clock import wall_clock
from common.errors import BusError, NephriteError, OutletError
from common.logs import Limited
from common.metrics import Counters
from common.start import EARLIEST, Start
from flowpb.documents import LEVEL_MINUTE
from flowpb.groupings import FINAL_DELAY_MS, HORIZON_MS, LEASE_MS, WINDOW_MS
from pipelines.aggregate import Outputs, build_run
from pipelines.document_intake import DocumentIntake
from pipelines.handover import Run, Window, handed_over, new_token
from pipelines.intake import Intake, frontiers, read_on
from pipelines.ranges import first_offset
from pipelines.standing import gauges_of, lag_of
from stores.parquet.ledger_state import LedgerState
from stores.parquet.manifest import Commit, Manifest, WindowState
from stores.parquet.wide import WideWindow
from stores.parquet.writer import write_ledger
from transforms.carried_state import CarriedWindow, Stepped
from transforms.carried_wide import CarriedWide
from transforms.flows import NAMESPACE, AcceptedBatch
from transforms.ledger import NO_LEDGER, CarriedLedger, SteppedLedger, remembered, step_ledger

log = logging.getLogger(__name__)
_RETRY_S: Final = (1.0, 30.0)
_COUNTED_FILES: Final = (
    ("aggregate", "pipeline_documents_total"),
    ("raw", "pipeline_raw_documents_total"),
    ("ledger", "pipeline_ledger_rows_total"),
)
_IDLE_MS: Final = 10_000
_ABREAST_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run did; nothing was committed when there was nothing to do."""

    committed: bool
    octets: int = 0
    flows: int = 0
    documents: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """What every run does alike."""

    enricher: Enricher
    limits: Limits
    lanes: int
    run_bytes: int = 64 << 20
    outputs: Outputs = field(default_factory=Outputs)
    documents: bool = False
    """Whether the source has FlowDocuments instead of batches."""


class Program:
    """A Beam pipeline that is built once and run, in this process, as often as wanted."""

    def __init__(self, build: Callable[[beam.Pipeline], None]) -> None:
        logging.getLogger("apache_beam.runners.common").addFilter(_is_news)
        self._options = PipelineOptions([])
        pipeline = beam.Pipeline(FnApiRunner(), options=self._options)
        build(pipeline)
        self._proto = pipeline.to_runner_api(default_environment=EmbeddedPythonEnvironment.default())

    def run(self) -> dict[str, int]:
        """Runs it to its end; returns its counters that are not 0. Raises what a transform raised."""
        result = FnApiRunner().run_via_runner_api(self._proto, self._options)
        result.wait_until_finish()
        counters = result.metrics().query()["counters"]
        return {c.key.metric.name: c.committed for c in counters if c.key.metric.namespace == NAMESPACE and c.committed}


def contributed_before(data_dir: Path, window_start_ms: int, limits: Limits) -> dict[int, bytes]:
    """What the lanes whose window is closed gave to location and system scope, by lane: one more lane may still open it.

    Reads the last commit, through a connection of its own: transforms run in threads of the runner.
    """
    with Manifest.open(data_dir, writer=False) as manifest, manifest.partials() as partials:
        return {lane: contribution(state, limits) for lane, state in partials.of_window(LEVEL_MINUTE, window_start_ms).items()}


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of Beam's log tells of something that is not raised as an error of ours anyway."""
    return not (record.exc_info and isinstance(record.exc_info[1], NephriteError))


class MicroBatches:
    """Drives runs over one bus into one manifest. Not thread-safe; one driver per manifest.

    Without `resume` the bus is read from its beginning: its offsets are not those of the bus that the manifest knows. The lanes'
    logs drop what was read before. `bus_counters`, which the source counts in, are moved to the manifest by each run.
    """

    def __init__(
        self,
        source: Source,
        manifest: Manifest,
        work: Work,
        resume: bool = True,
        bus_counters: Counters | None = None,
        start: Start = EARLIEST,
    ) -> None:
        self._bus_counters = Counters() if bus_counters is None else bus_counters
        self._source, self._manifest, self._work = source, manifest, work
        token = self._token = new_token()
        self._program = Program(
            lambda pipeline: build_run(pipeline, token, manifest.pending_dir, work.enricher, work.limits, work.outputs)
        )
        self._start = start
        self._read_ms: dict[int, int] = {}
        self._told = Limited(log, period_s=60.0)
        self._failed_runs = 0
        self._standing: Mapping[str, int] = {}
        self._standing_until_s = 0.0
        carried = manifest.load()
        self._positions = {at: offset for at, offset in carried.positions.items() if resume and self._is_there(at, offset)}
        self._logs = {lane: LaneLog.unpack(data) for lane, data in carried.lanes.items()}
        self._ledgers = {kept.lane: CarriedLedger(kept.next_mark_ms, kept.base, kept.parts) for kept in carried.ledgers}
        self._windows = {(w.lane, w.window_start_ms): CarriedWindow(w.next_mark, w.base, w.parts) for w in carried.windows}
        self._wide = {w.window_start_ms: CarriedWide(w.next_mark, w.fresh, dict(w.contributions)) for w in carried.wide}

    def run_once(self, wait_s: float = 0.0) -> RunReport:
        """Takes what the bus has (waiting up to `wait_s` when it has nothing), runs it, commits it."""
        intake = self._intake()
        positions, octets = self._take(intake, wait_s)
        now = frontiers(intake.logs)
        due_now = list(self._due(now)) if positions or self._work.documents else []
        if not positions and not due_now:
            return RunReport(committed=False)
        run = self._run(intake.accepted, now, due_now, list(self._wide_due(now)))
        with handed_over(self._token, run), self._left_clean(run):
            counted = {**self._program.run(), **self._bus_counters.as_map(), "pipeline_bus_errors_total": self._failed_runs}
        ledgers = self._step_ledgers(run)
        self._manifest.commit(_commit_of(intake, positions, run, counted, ledgers))
        self._bus_counters.totals.clear()
        self._failed_runs = 0
        self._logs = intake.logs
        self._positions.update(positions)
        self._read_ms.update(intake.read_ms)
        self._remember_all(run, ledgers)
        for partition, offset in positions.items():
            self._source.release(partition, offset)
        documents = sum(file.rows for file in run.files if file.kind == "aggregate")
        return RunReport(True, octets, counted.get("pipeline_flows_total", 0), documents)

    def run_until(self, stopped: Event, interval_s: float, between: Callable[[], None]) -> None:
        """Runs every `interval_s`, and at once while the bus has more than a run takes; `between` is called after each.

        While the bus does not answer it is asked again, after a while that doubles up to half a minute.
        """
        delay_s = _RETRY_S[0]
        while not stopped.is_set():
            started = time.monotonic()
            try:
                octets = self.run_once(interval_s).octets
                self.look_around()
            except (BusError, OutletError) as error:
                self._failed_runs += 1
                self._told.warning(type(error).__name__, f"{error}; trying again in {delay_s:g} s")
                between()
                stopped.wait(delay_s)
                delay_s = min(delay_s * 2, _RETRY_S[1])
                continue
            delay_s = _RETRY_S[0]
            between()
            if octets < self._work.run_bytes // 2:
                stopped.wait(max(0.0, started + interval_s - time.monotonic()))

    @property
    def failed_runs(self) -> int:
        """Runs since the last commit that the bus did not let through."""
        return self._failed_runs

    @property
    def standing(self) -> Mapping[str, int]:
        """Gauges as of the last `look_around`, by the names of the metrics table; may be read by any thread."""
        return self._standing

    def look_around(self) -> None:
        """Takes the gauges anew, at most once a second: lags of all partitions, frontiers and live collectors; raises BusError."""
        if time.monotonic() < self._standing_until_s:
            return
        source = self._source
        lags = [
            lag_of(source, at, self._positions.get(at, 0) or source.begin(at), self._read_ms.get(at))
            for at in range(source.partitions)
        ]
        self._standing = gauges_of(lags, self._logs)
        self._standing_until_s = time.monotonic() + 1.0

    def finish(self) -> None:
        """Gives every open window its last mark, as the end of a bounded range does: nothing more will come."""
        ledgers = {lane for lane, kept in self._ledgers.items() if kept.base is not None or kept.parts}
        if not (self._windows or self._wide or ledgers):
            return
        behind_ms = max(frontiers(self._logs).values(), default=0) + LEASE_MS + HORIZON_MS + WINDOW_MS + FINAL_DELAY_MS
        open_windows = {*(window_start_ms for _, window_start_ms in self._windows), *self._wide}
        last_ms = max([behind_ms, *(mark_times(window_start_ms)[-1] for window_start_ms in open_windows)])
        now = dict.fromkeys({*ledgers, *(lane for lane, _ in self._windows)} or set(self._logs), last_ms)
        run = self._run({}, now, list(self._windows), list(self._wide))
        with handed_over(self._token, run):
            counted = self._program.run()
        stepped = self._step_ledgers(run)
        self._manifest.commit(_commit_of(Intake(dict(self._logs), self._work.lanes), {}, run, counted, stepped))
        self._remember_all(run, stepped)

    def drain(self) -> int:
        """Runs until the bus has nothing more; returns the number of flows."""
        flows = 0
        while (report := self.run_once()).committed:
            flows += report.flows
        return flows

    def _take(self, intake: Intake, wait_s: float) -> tuple[dict[int, int], int]:
        positions: dict[int, int] = {}
        found: dict[int, Sequence[Entry]] = {}
        partitions = self._source.partitions
        share = max(1, self._work.run_bytes // partitions)
        for partition in range(partitions):
            offset = self._positions.get(partition)
            offset = first_offset(self._source, partition, self._start) if offset is None else offset
            wait_here_s = 0.0 if positions else wait_s / partitions
            entries, reached = read_on(self._source, partition, offset, share, wait_here_s, intake.counters)
            if reached != offset:
                found[partition] = entries
                positions[partition] = reached
        if self._work.documents:
            self._keep_abreast(found, positions, share)
        for entries in found.values():
            intake.take(entries)
        if isinstance(intake, DocumentIntake):
            idle_ms = wall_clock() - _IDLE_MS
            for partition in range(partitions):
                at = positions.get(partition, self._positions.get(partition))
                if at is not None and self._source.end(partition) <= at:
                    intake.idle(partition, idle_ms)
        return positions, sum(len(entry.value) for entries in found.values() for entry in entries)

    def _keep_abreast(self, found: dict[int, Sequence[Entry]], positions: dict[int, int], share: int) -> None:
        """Leaves to the next run what is far ahead of a partition that has more: a lane's flows come from all partitions."""
        ends = [es[-1].append_ms for es in found.values() if es and sum(len(e.value) for e in es) >= share]
        until_ms = min(ends, default=1 << 62) + _ABREAST_MS
        for partition, entries in list(found.items()):
            kept = [entry for entry in entries if entry.append_ms <= until_ms]
            if len(kept) == len(entries):
                continue
            found[partition] = kept
            if kept:
                positions[partition] = kept[-1].offset + 1
            else:
                del found[partition], positions[partition]

    @contextmanager
    def _left_clean(self, run: Run) -> Iterator[None]:
        """A run that fails leaves no files behind: it may be tried again for hours."""
        try:
            yield
        except BaseException:
            for file in run.files:
                (self._manifest.pending_dir / file.name).unlink(missing_ok=True)
            raise

    def _run(
        self,
        accepted: Mapping[int, Sequence[AcceptedBatch]],
        now: Mapping[int, int],
        due_now: Sequence[Window],
        wide_due: Sequence[int],
    ) -> Run:
        before = partial(contributed_before, self._manifest.data_dir, limits=self._work.limits)
        return Run(accepted, self._windows, now, due_now, wide=self._wide, wide_due=wide_due, wide_before=before)

    def _intake(self) -> Intake:
        kind = DocumentIntake if self._work.documents else Intake
        return kind(dict(self._logs), self._work.lanes)

    def _is_there(self, partition: int, offset: int) -> bool:
        """Whether a bus that is still the same could have given `offset`; one that was replaced is read from its beginning."""
        end = self._source.end(partition) if partition < self._source.partitions else offset
        if offset > end:
            log.warning("partition %d ends at %d, %d was read once: another bus, read from its beginning", partition, end, offset)
        return offset <= end

    def _step_ledgers(self, run: Run) -> list[SteppedLedger]:
        """Ledgers that this run touches, or that a mark is due for; their rows become a file of the run."""
        lanes = {*run.ledger, *(lane for lane, kept in self._ledgers.items() if kept.base is not None or kept.parts)}
        steps = (
            step_ledger(lane, self._ledgers.get(lane, NO_LEDGER), tuple(run.ledger.get(lane, ())), run.frontiers[lane])
            for lane in sorted(lanes & run.frontiers.keys())
        )
        stepped = [step for step in steps if step.appended or step.rewritten]
        if rows := [step.rows for step in stepped if step.rows is not None]:
            run.files.extend(write_ledger(self._manifest.pending_dir, pa.concat_tables(rows)))
        return stepped

    def _due(self, now: Mapping[int, int]) -> Iterator[Window]:
        for (lane, window_start_ms), carried in self._windows.items():
            if due(window_start_ms, carried.next_mark + 1, now.get(lane)):
                yield lane, window_start_ms

    def _wide_due(self, now: Mapping[int, int]) -> Iterator[int]:
        for window_start_ms, carried in self._wide.items():
            if due(window_start_ms, carried.next_mark + 1, min(now.values(), default=None)):
                yield window_start_ms

    def _remember_all(self, run: Run, ledgers: Sequence[SteppedLedger]) -> None:
        for stepped in run.stepped:
            self._remember(stepped)
        for step in ledgers:
            self._ledgers[step.lane] = remembered(self._ledgers.get(step.lane, NO_LEDGER), step)
        for wide in run.stepped_wide:
            old = self._wide.pop(wide.window_start_ms, CarriedWide())
            if not wide.closed:
                contributions = {**old.contributions, **wide.contributions}
                self._wide[wide.window_start_ms] = CarriedWide(wide.next_mark, wide.fresh, contributions)

    def _remember(self, stepped: Stepped) -> None:
        key = (stepped.lane, stepped.window_start_ms)
        if stepped.closed:
            self._windows.pop(key, None)
        elif stepped.rewritten is not None:
            self._windows[key] = stepped.rewritten
        elif stepped.appended:
            old = self._windows.get(key, CarriedWindow())
            self._windows[key] = CarriedWindow(old.next_mark, old.base, (*old.parts, *stepped.appended))


def final_through(now: Mapping[int, int]) -> int | None:
    """Windows that end here or earlier have their last documents in every lane that was heard of; None before the first."""
    return (min(now.values()) - HORIZON_MS - FINAL_DELAY_MS) // WINDOW_MS * WINDOW_MS if now else None


def _commit_of(
    intake: Intake, positions: Mapping[int, int], run: Run, counted: Mapping[str, int], ledgers: Sequence[SteppedLedger] = ()
) -> Commit:
    counters = {**counted, **intake.counters.as_map(), "pipeline_runs_total": 1}
    for kind, name in _COUNTED_FILES:
        counters[name] = sum(file.rows for file in run.files if file.kind == kind)
    return Commit(
        positions=positions,
        lanes={lane: intake.logs[lane].pack() for lane in intake.touched},
        frontiers=run.frontiers,
        appended=[(s.lane, s.window_start_ms, part) for s in run.stepped for part in s.appended],
        rewritten=[
            WindowState(s.lane, s.window_start_ms, s.rewritten.next_mark, s.rewritten.base, s.rewritten.parts)
            for s in run.stepped
            if s.rewritten
        ],
        closed=[(s.lane, s.window_start_ms) for s in run.stepped if s.closed],
        files=run.files,
        late=run.late,
        counters=counters,
        final_through_ms=final_through(run.frontiers),
        partials=[partial for s in run.stepped for partial in s.partials],
        ledgers_rewritten=[
            LedgerState(s.lane, s.rewritten.next_mark_ms, s.rewritten.base, s.rewritten.parts) for s in ledgers if s.rewritten
        ],
        ledgers_appended=[(s.lane, part) for s in ledgers for part in s.appended],
        wide=[WideWindow(s.window_start_ms, s.next_mark, s.fresh, s.contributions, s.closed) for s in run.stepped_wide],
    )
