"""Repairs of the embedded store: what came too late is in the documents afterwards, exactly as if it had come in time."""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.contract import Source
from bus.memory import MemoryLog, MemoryProducer, MemorySource
from columns.lane import Limits
from common.config import Store
from flowpb.codec import Header, encode
from flowpb.groupings import Grouping, Kind, Scope
from ingest.loadgen.batches import BusEntry
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.expected import Oracle
from ingest.loadgen.run import Player
from ingest.loadgen.scenario import Collector
from pipelines.aggregate import Outputs
from pipelines.bus_again import flows_again
from pipelines.direct import MicroBatches, Work
from pipelines.repair import Ready, Repairs, make_repair, plan_repair, repair_all
from pipelines.rollup import Rules, roll_up
from query.honesty import completeness_of
from stores.contract import Ledger
from stores.parquet.carried import Repair
from stores.parquet.cascade import ParquetCascade
from stores.parquet.layout import EVER, find_file
from stores.parquet.manifest import Commit, Manifest
from stores.parquet.reader import ParquetStore
from stores.parquet.upkeep import maintain
from stores.questions import LedgerQuery, Span
from stores.queued import Late, Queued
from tests.pipelines.line import ENRICHER, EXACT, LANES, START_MS, driver_of, expected_documents, fill, stored_documents
from tests.pipelines.longer import every_item, longer_documents

NOW: Final = Ready(0)
HOUR_S: Final = 3600


class CrashedError(Exception):
    """What the tests throw into a repair."""


@pytest.fixture(scope="module")
def entries() -> list[BusEntry]:
    """A shorter outage, after which three flows cross the horizon and are clipped."""
    return outage(seed=4, away_s=1500)


@pytest.fixture(scope="module")
def expected(entries: list[BusEntry]) -> list[dict[str, Any]]:
    return repaired_documents(entries)


@pytest.fixture(scope="module")
def drained(entries: list[BusEntry], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with all of it, nothing repaired yet; not to be written to."""
    folder = tmp_path_factory.mktemp("drained")
    with Manifest.open(folder, writer=True) as manifest:
        driver_of(fill(entries), manifest, run_bytes=1 << 16).drain()
    return folder


@pytest.fixture
def folder(drained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(drained, tmp_path / "data"))


def outage(seed: int, away_s: int = HOUR_S) -> list[BusEntry]:
    """Two collectors share the flows; one is cut off from the bus for an hour, and drains what it kept when it is back."""
    away = Collector(name="b", outage_from_s=600, outage_to_s=600 + away_s)
    small = BUILTIN["small"]
    scenario = small.model_copy(
        update={
            "seed": seed,
            "rate": 0.4,
            "duration_s": away_s + 1200,
            "split": "datagrams",
            "batch_interval_ms": 60_000,
            "exporters": small.exporters[:2],
            "collectors": (Collector(name="a"), away),
            "long_share": 0,
        }
    )
    found: list[BusEntry] = []

    def keep(entry: BusEntry) -> bool:
        found.append(entry)
        return True

    Player(scenario, START_MS, lambda _task, _reached: None, lambda: False).to_bus(keep, with_answer=False)
    return found


def repaired_documents(entries: Iterable[BusEntry], limits: Limits = EXACT) -> list[dict[str, Any]]:
    """What the oracle says when all windows were repaired."""
    oracle = Oracle(k=limits.top_k, with_dscp=limits.with_dscp, both_sides=limits.both_sides, repaired=True)
    for entry in entries:
        oracle.take_entry(entry.value)
    return expected_documents(oracle.answer())


def without_horizon(entries: Iterable[BusEntry]) -> list[dict[str, Any]]:
    """What it says when every flow is judged by a frontier that nothing is late for."""
    oracle = Oracle()
    for number, entry in enumerate(entries):
        header, flows = decode_flows(entry)
        oracle.take(replace(flows, mark_ms=header.mark_ms, collector=f"alone-{number}", lane=entry.lane + 100 * number))
    assert (oracle.counts.late, oracle.counts.clipped_bytes) == (0, 0)
    return expected_documents(oracle.answer())


def decode_flows(entry: BusEntry) -> tuple[Header, Any]:
    from flowpb.codec import decode_header
    from ingest.loadgen.oracle.flows import read_entry

    return decode_header(entry.value)[0], read_entry(entry.value)


def run_and_repair(folder: Path, log: MemoryLog, limits: Limits = EXACT) -> int:
    """Runs over the log and repairs everything; returns how many windows."""
    with Manifest.open(folder, writer=True) as manifest:
        driver_of(log, manifest, limits=limits).drain()
        done = [entry for some, failed in repair_all(manifest, limits, ENRICHER, NOW) for entry in (*some, *failed)]
        assert manifest.queue() == []
    return len(done)


def test_an_hours_outage_is_in_the_documents_after_the_repair(tmp_path: Path) -> None:
    entries = outage(seed=7)
    windows = run_and_repair(tmp_path, fill(entries))
    assert windows > 45 * 2  # the most of the hour, in each of the two lanes
    assert stored_documents(tmp_path) == without_horizon(entries)


def test_octets_that_were_clipped_stay_where_they_were_put(folder: Path, expected: list[dict[str, Any]]) -> None:
    with Manifest.open(folder, writer=True) as manifest:
        assert manifest.counters()["pipeline_clipped_bytes_total"] > 0
        list(repair_all(manifest, EXACT, ENRICHER, NOW))
        assert manifest.queue() == []
    assert stored_documents(folder) == expected


def test_the_hours_of_repaired_minutes_are_made_again(entries: list[BusEntry], folder: Path) -> None:
    log = fill(entries)
    heartbeats_of_the_end(MemoryProducer(log))
    with Manifest.open(folder, writer=True) as manifest:
        driver_of(log, manifest).drain()  # but for the last, these are repeats
        before = list(roll_up(ParquetCascade(manifest), Rules(EXACT, ENRICHER)))
        list(repair_all(manifest, EXACT, ENRICHER, NOW))
        assert list(roll_up(ParquetCascade(manifest), Rules(EXACT, ENRICHER))) != []
        assert before != [] == list(roll_up(ParquetCascade(manifest), Rules(EXACT, ENRICHER)))
    minutes = every_item((entry.value for entry in entries), repaired=True)
    assert stored_documents(folder, "1h") == longer_documents(minutes, HOUR_S * 1000)


def heartbeats_of_the_end(producer: MemoryProducer) -> None:
    """All windows are over."""
    for lane in range(LANES):
        producer.send(lane, heartbeat_of_the_end(lane))


def heartbeat_of_the_end(lane: int) -> bytes:
    """A lane's windows are over."""
    return encode(Header("last", 1, lane, 0, START_MS + 6 * HOUR_S * 1000, LANES), None)


def test_nothing_is_repaired_where_nothing_is_late(tmp_path: Path) -> None:
    assert run_and_repair(tmp_path, fill(outage(seed=6, away_s=0))) == 0


def test_the_queue_counts_every_late_flow_once(folder: Path) -> None:
    with Manifest.open(folder, writer=True) as manifest:
        late = manifest.counters()['pipeline_flows_judged_total{reason="late"}']
        assert sum(entry.late.flows for entry in manifest.queue()) == late > 100
        list(repair_all(manifest, EXACT, ENRICHER, NOW))
        assert manifest.counters()["repair_flows_total"] == late


def test_repaired_flows_leave_late_in_the_ledger_and_in_completeness(entries: list[BusEntry], folder: Path) -> None:
    log = fill(entries)
    heartbeats_of_the_end(MemoryProducer(log))
    with Manifest.open(folder, writer=True) as manifest:
        driver_of(log, manifest).drain()  # the ledger is written whole
        late = sum(entry.late.flows for entry in manifest.queue())
        before, told = ledger_of(folder), completeness_of(ledger_answer(folder), "1m")
        plan = plan_repair(manifest, NOW)
        assert plan is not None
        some = make_repair(plan, manifest.pending_dir, EXACT, ENRICHER)
        manifest.repair(some)
        done = sum(entry.late.flows for entry in some.done)
        assert ledger_of(folder) == {**before, "flows_late": late - done, "flows_repaired": done}
        assert 0 < done < late
        list(repair_all(manifest, EXACT, ENRICHER, NOW))
        maintain(manifest, Store(), START_MS + 48 * HOUR_S * 1000, merges=20)
    assert ledger_of(folder) == {**before, "flows_late": 0, "flows_repaired": late}
    assert all(row["flows_late"] == 0 for row in ledger_answer(folder).rows.to_pylist())
    after = completeness_of(ledger_answer(folder), "1m")
    assert told is not None
    assert after is not None
    assert (told.lost["late"], after.lost["late"], after.seen) == (late, 0, told.seen + late)


def ledger_answer(folder: Path) -> Ledger:
    """The whole ledger, by exporter."""
    with ParquetStore.open(folder) as store:
        return store.ledger(LedgerQuery(Span(0, 1 << 60)))


def ledger_of(folder: Path) -> dict[str, int]:
    """Sums of it."""
    rows = ledger_answer(folder).rows
    return {name: sum(rows[name].to_pylist()) for name in ("flows_received", "flows_late", "flows_repaired")}


def test_repairing_the_same_windows_again_finds_nothing_to_write(folder: Path) -> None:
    with Manifest.open(folder, writer=True) as manifest:
        plan = plan_repair(manifest, NOW)
        assert plan is not None
        first = make_repair(plan, manifest.pending_dir, EXACT, ENRICHER)
        assert first.files
        manifest.repair(first)
        documents = [path for file in manifest.files("aggregate", "1m", *EVER) if (path := find_file(folder, file)) is not None]
        again = make_repair(replace(plan, documents=documents), manifest.pending_dir, EXACT, ENRICHER)
        written = [file for file in again.files if file.kind == "aggregate"]
        assert (written, len(again.done)) == ([], len(plan.entries))


def test_an_entry_waits_until_nothing_came_for_a_while_and_the_last_mark_is_over(folder: Path) -> None:
    with Manifest.open(folder, writer=False) as manifest:
        queue, lanes = manifest.queue(), list(manifest.frontiers())
    newest = max(queue, key=lambda entry: entry.late.frontier_ms)
    assert newest not in Ready(600_000).chosen(queue, dict.fromkeys(lanes, newest.late.frontier_ms + 599_999))
    assert newest in Ready(600_000).chosen(queue, dict.fromkeys(lanes, newest.late.frontier_ms + 600_000))
    young = queue[0]
    last_mark = young.window_start_ms + 17 * 60_000
    fresh = replace(young, late=replace(young.late, frontier_ms=last_mark - 60_000))
    assert NOW.chosen([fresh], {young.lane: last_mark - 1}) == []
    assert NOW.chosen([fresh], {young.lane: last_mark}) == [fresh]


@pytest.mark.parametrize("kept", [True, False])
def test_a_lane_is_repaired_while_another_one_is_away_and_the_wider_scopes_when_it_is_back(
    entries: list[BusEntry], expected: list[dict[str, Any]], tmp_path: Path, kept: bool
) -> None:
    """At the end no flows are needed any more, so that it does not matter whether they are `kept`."""
    gone, here = sorted({entry.lane for entry in entries if decode_flows(entry)[0].flow_count})
    order = [each for each in entries if each.lane == here or each.append_ms < START_MS + 500_000]
    rest = [each for each in entries if each not in order]
    log = fill(order)
    producer = MemoryProducer(log)
    producer.send(here, heartbeat_of_the_end(here))
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver = driver_of(log, manifest)
        driver.drain()
        queue = manifest.queue()
        assert {entry.lane for entry in queue} == {here}
        assert [failed for _, failed in repair_all(manifest, EXACT, ENRICHER, NOW) if failed] == []
        assert (plan_repair(manifest, NOW), plan_repair(manifest, Ready(0, again=True))) == (None, None)
        waiting = manifest.queue()
        assert [replace(entry, written=0) for entry in waiting] == queue
        assert all(entry.written == entry.late.shares for entry in waiting)
        assert [row for row in stored_documents(tmp_path) if row["lane"] == here] == [r for r in expected if r["lane"] == here]
        for entry in (*rest, BusEntry(0, gone, heartbeat_of_the_end(gone))):
            producer.send(entry.lane, entry.value)
        driver.drain()
        if not kept:
            maintain(manifest, Store(raw_days=0.001), START_MS + 10 * 24 * HOUR_S * 1000)
        list(repair_all(manifest, EXACT, ENRICHER, NOW))
        left = {entry.window: entry for entry in manifest.queue()}
    assert {lane for lane, _ in left} == (set() if kept else {gone})
    documents = stored_documents(tmp_path)
    assert not kept or documents == expected
    for start_ms in {entry.window_start_ms for entry in waiting}:
        system, exporters = (rows_and_bytes(documents, start_ms, scope) for scope in (Scope.SYSTEM, Scope.EXPORTER))
        assert system == exporters


def rows_and_bytes(documents: Iterable[dict[str, Any]], start_ms: int, scope: Scope) -> tuple[int, int]:
    """Sums of a window's totals at a scope."""
    name = Grouping(scope, Kind.TOTAL).grouped_by
    totals = [each for each in documents if each["window_start_ms"] == start_ms and each["grouped_by"] == name]
    return sum(each["rows"] for each in totals), sum(each["bytes_total"] for each in totals)


def test_more_that_is_late_for_a_repaired_lane_repairs_it_again(entries: list[BusEntry], tmp_path: Path) -> None:
    """Whether the wider scopes have waited or not."""
    late = Late(3, 5, 0, 7)
    with Manifest.open(tmp_path, writer=True) as manifest:
        manifest.commit(Commit(late={(2, 0): late}))
        (entry,) = manifest.queue()
        manifest.repair(Repair(written=[entry]))
        lanes = {2: 1 << 50, 3: 0}
        assert NOW.chosen(manifest.queue(), lanes) == []
        assert Ready(0, wide=False).chosen(manifest.queue(), lanes) == manifest.queue()
        manifest.commit(Commit(late={(2, 0): late}))
        assert NOW.chosen(manifest.queue(), lanes) == [Queued(2, 0, late.plus(late), written=5)]
        manifest.repair(Repair(done=[Queued(2, 0, late, written=5)]))
        assert manifest.queue() == [Queued(2, 0, late)]


@pytest.mark.parametrize("where", ["never", "recorded", "committed", "placed"])
def test_a_crash_in_the_middle_of_a_repair_changes_nothing_in_the_end(
    folder: Path, expected: list[dict[str, Any]], where: str
) -> None:
    armed = ["never"]

    def crash(step: str) -> None:
        if step in armed:
            raise CrashedError

    with Manifest.open(folder, writer=True, step=crash) as manifest:
        plan = plan_repair(manifest, NOW)
        assert plan is not None
        made = make_repair(plan, manifest.pending_dir, EXACT, ENRICHER)
        armed.append(where)
        if where != "never":  # else it dies before it begins
            with pytest.raises(CrashedError):
                manifest.repair(made)
    with Manifest.open(folder, writer=True) as manifest:
        list(repair_all(manifest, EXACT, ENRICHER, NOW))
        assert (manifest.queue(), list(manifest.pending_dir.iterdir())) == ([], [])
    assert stored_documents(folder) == expected


def test_flows_that_retention_took_leave_the_window_as_it_is_and_say_so(folder: Path) -> None:
    before = stored_documents(folder)
    with Manifest.open(folder, writer=True) as manifest:
        maintain(manifest, Store(raw_days=0.001), START_MS + 10 * 24 * HOUR_S * 1000)
        waiting = len(manifest.queue())
        outcomes = list(repair_all(manifest, EXACT, ENRICHER, NOW))
        assert [done for done, _ in outcomes if done] == []
        assert sum(len(failed) for _, failed in outcomes) == waiting
        assert all("late shares are not among the flows" in entry.problem for entry in manifest.queue())
        assert plan_repair(manifest, NOW) is None
        assert plan_repair(manifest, Ready(0, again=True)) is not None
    assert stored_documents(folder) == before


class Lasting(MemorySource):
    """A bus that keeps what was read, as Kafka does."""

    def release(self, partition: int, offset: int) -> None:
        """Nothing goes."""


def test_the_bus_serves_where_raw_flows_are_not_kept(
    entries: list[BusEntry], expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    log = timed(entries)
    reads: list[int] = []

    def opened() -> Source:
        reads.append(1)
        return Lasting(log)

    with Manifest.open(tmp_path, writer=True) as manifest:
        MicroBatches(Lasting(log), manifest, Work(ENRICHER, EXACT, LANES, outputs=Outputs(raw=False))).drain()
        assert [done for done, _ in repair_all(manifest, EXACT, ENRICHER, NOW) if done] == []
        again = Ready(0, again=True)
        list(repair_all(manifest, EXACT, ENRICHER, again, lambda p, _: flows_again(opened, LANES, ENRICHER, p.entries, p.span)))
        assert (manifest.queue(), bool(reads)) == ([], True)
    assert stored_documents(tmp_path) == expected


def test_lanes_are_read_again_where_they_are_when_partitions_were_added(
    entries: list[BusEntry], expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    log = timed(entries, partitions=3)
    with Manifest.open(tmp_path, writer=True) as manifest:
        MicroBatches(Lasting(log), manifest, Work(ENRICHER, EXACT, LANES, outputs=Outputs(raw=False))).drain()
        log.grow(5)
        list(
            repair_all(
                manifest, EXACT, ENRICHER, NOW, lambda p, _: flows_again(lambda: Lasting(log), LANES, ENRICHER, p.entries, p.span)
            )
        )
        assert manifest.queue() == []
    assert stored_documents(tmp_path) == expected


def test_what_the_bus_has_let_go_is_not_repaired(entries: list[BusEntry], tmp_path: Path) -> None:
    log = timed(entries)
    with Manifest.open(tmp_path, writer=True) as manifest:
        MicroBatches(Lasting(log), manifest, Work(ENRICHER, EXACT, LANES, outputs=Outputs(raw=False))).drain()
        before, waiting = stored_documents(tmp_path), manifest.queue()
        for partition in range(LANES):
            log.drop(partition, min((entry.late.offset for entry in waiting if entry.lane == partition), default=0))
        list(
            repair_all(
                manifest, EXACT, ENRICHER, NOW, lambda p, _: flows_again(lambda: Lasting(log), LANES, ENRICHER, p.entries, p.span)
            )
        )
        left = manifest.queue()
        assert left
        assert all("are kept" in entry.problem for entry in left)
    gone = {entry.window_start_ms for entry in left}
    after = stored_documents(tmp_path)
    assert [row for row in after if row["window_start_ms"] in gone] == [row for row in before if row["window_start_ms"] in gone]


def timed(entries: list[BusEntry], partitions: int = LANES) -> MemoryLog:
    """A bus with the append times of the scenario."""
    at = [0]
    log = MemoryLog(partitions, clock=lambda: at[0])
    for entry in entries:
        at[0] = entry.append_ms
        log.append(entry.lane, entry.value)
    return log


def test_repairs_beside_a_pipeline_and_merges(entries: list[BusEntry], expected: list[dict[str, Any]], tmp_path: Path) -> None:
    log, most = MemoryLog(LANES), len(entries) * 7 // 8
    producer = MemoryProducer(log)
    with Manifest.open(tmp_path, writer=True) as manifest, Repairs(manifest, EXACT, ENRICHER, NOW) as repairs:
        driver = driver_of(log, manifest)
        for portion in (entries[:most], entries[most:]):
            for entry in portion:
                producer.send(entry.lane, entry.value)
            driver.drain()
            repairs.step()
            maintain(manifest, Store(), START_MS + 2 * HOUR_S * 1000)
        repairs.settle()
        maintain(manifest, Store(), START_MS + 48 * HOUR_S * 1000, merges=20)
        assert manifest.queue() == []
    assert stored_documents(tmp_path) == expected


@settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32), delayed=st.floats(0.01, 0.5), times=st.integers(1, 2))
def test_any_lateness_in_any_portions_gives_the_oracles_documents(
    entries: list[BusEntry], tmp_path_factory: pytest.TempPathFactory, seed: int, delayed: float, times: int
) -> None:
    folder, random = tmp_path_factory.mktemp("any"), Random(seed)
    order = shuffled(entries, random, delayed)
    log = MemoryLog(LANES)
    producer = MemoryProducer(log)
    cuts = sorted(random.sample(range(len(order)), times))
    for begin, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        for entry in order[begin:end]:
            producer.send(entry.lane, entry.value)
        run_portion(folder, log, random)
    heartbeats_of_the_end(producer)
    run_and_repair(folder, log)
    assert stored_documents(folder) == repaired_documents(order)
    shutil.rmtree(folder)


def run_portion(folder: Path, log: MemoryLog, random: Random) -> None:
    """One start of a pipeline that repairs something or nothing."""
    with Manifest.open(folder, writer=True) as manifest:
        driver_of(log, manifest, run_bytes=random.choice([1 << 14, 1 << 26])).drain()
        if random.random() < 0.7 and (plan := plan_repair(manifest, NOW)):
            manifest.repair(make_repair(plan, manifest.pending_dir, EXACT, ENRICHER))


def shuffled(entries: list[BusEntry], random: Random, delayed: float) -> list[BusEntry]:
    """Some batches of each (lane, collector) and all later ones of it held back for a random time: order inside is kept."""
    held: dict[tuple[int, str], int] = {}
    keyed = []
    for number, entry in enumerate(entries):
        key = (entry.lane, decode_flows(entry)[0].collector)
        if random.random() < delayed / 50:
            held[key] = number + random.randrange(len(entries))
        keyed.append((max(number, held.get(key, 0)), number, entry))
    return [entry for _, _, entry in sorted(keyed, key=lambda each: each[:2])]
