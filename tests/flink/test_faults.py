"""The fault campaign: the table of what goes wrong on the line Kafka -> Flink -> Elasticsearch, and that its numbers stay right.

After each fault the final documents equal the oracle's to the byte, and every raw flow is there once. CI takes each fault with one
seed, all in one job; `make campaign` takes twenty seeds, each with a job that meets all faults without a rest between them, where
the seed chooses their order, the traffic, the moments and the victims.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from common.clock import wall_clock
from flink.rest import TERMINAL
from flowpb.codec import decode, encode
from ingest.loadgen.batches import BusEntry
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.run import Player
from ingest.loadgen.scenario import Collector
from stores.elasticsearch.target import Target
from tests.flink.rig import Chance, Rig, begun, heartbeats, until
from tests.servers.elasticsearch import ElasticsearchServer
from tests.servers.flink import FlinkCluster
from tests.servers.kafka import KafkaServer

pytestmark = [pytest.mark.server("flink"), pytest.mark.server("kafka"), pytest.mark.server("elasticsearch"), pytest.mark.slow]

DAY_MS: Final = 86_400_000
OUTAGE_S: Final = 20 * 60.0
MAX_DELAY_S: Final = 60.0
CAMPAIGN: Final = range(100, 120)
PATIENCE_S: Final = 600.0
"""A seed of the campaign waits so long for its documents: other things may run on the machine."""
Traffic = Callable[[int, int], list[BusEntry]]
Happening = Callable[[Rig, Chance, Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """Traffic by (seed, start time), and what happens when a part of it is on the bus; it calls for the rest itself."""

    name: str
    traffic: Traffic
    happens: Happening
    now: bool = False


def scenario(
    name: str, rate: float, seconds: int, exporters: int | None = None, interval_ms: int = 1_000, **more: object
) -> Traffic:
    """A built-in scenario, thinned out."""

    def traffic(seed: int, start_ms: int) -> list[BusEntry]:
        chosen = BUILTIN[name]
        changes = {"seed": seed, "rate": rate, "duration_s": seconds, "exporters": chosen.exporters[:exporters]}
        entries: list[BusEntry] = []

        def keep(entry: BusEntry) -> bool:
            entries.append(entry)
            return True

        thin = chosen.model_copy(update={**changes, "batch_interval_ms": interval_ms, **more})
        Player(thin, start_ms, lambda _task, _reached: None, lambda: False).to_bus(keep, with_answer=False)
        return entries

    return traffic


SMALL: Final = scenario("small", 20, 60)
HOUR: Final = scenario("small", 1, 3_600, exporters=1, interval_ms=5_000)
TWO: Final = scenario("lossy", 20, 180, exporters=4)
LIVE: Final = scenario("small", 20, 60, collectors=(Collector(name="east"), Collector(name="west")), closing_ms=60_000)
LIVE_MS: Final = 5 * 60_000
"""Traffic that takes place now begins so long ago: no longer than a lease, and long enough for the second mark of its windows."""


def a_clock_a_day_fast(seed: int, start_ms: int) -> list[BusEntry]:
    """Two collectors, now; one's clock is a day ahead, in marks, receive times and what it took for its exporters' offset."""
    begin_ms = wall_clock() - LIVE_MS
    return [_fast(entry) if decode(entry.value)[0].collector == "west" else entry for entry in LIVE(seed, begin_ms)]


def _fast(entry: BusEntry) -> BusEntry:
    header, flows = decode(entry.value)
    if flows.num_rows:
        columns = {name: flows.column(name) for name in flows.schema.names}
        corrections = columns.get("clock_correction_ms", pa.array([None] * flows.num_rows, pa.int64()))
        columns["clock_correction_ms"] = pc.add(pc.fill_null(corrections, 0), DAY_MS)
        columns["received_ms"] = pc.add(columns["received_ms"], DAY_MS)
        flows = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    return BusEntry(entry.append_ms, entry.lane, encode(replace(header, mark_ms=header.mark_ms + DAY_MS), flows))


def nothing(rig: Rig, chance: Chance, rest: Callable[[], None]) -> None:
    """What is wrong is in the traffic."""
    rest()


def worker_is_killed(rig: Rig, chance: Chance, rest: Callable[[], None]) -> None:
    with going_back(rig):
        os.kill(chance.choice(rig.cluster.worker_pids()), signal.SIGKILL)
        rest()


def taskmanager_is_killed(rig: Rig, chance: Chance, rest: Callable[[], None]) -> None:
    with going_back(rig):
        rig.cluster.kill_taskmanager()
        rig.cluster.start_taskmanager()
        rest()


def kafka_is_killed(rig: Rig, chance: Chance, rest: Callable[[], None]) -> None:
    rig.kafka.kill()
    rig.kafka.start()
    rest()


def elasticsearch_is_down(rig: Rig, chance: Chance, rest: Callable[[], None]) -> None:
    """Longer than the sink tries, so that bundles fail and the job goes back, more than once."""
    before = rig.restored()
    rig.elasticsearch.kill()
    try:
        rest()
        rig.until(lambda: rig.restored() > before + 1, "going back twice while Elasticsearch is down")
    finally:
        rig.elasticsearch.start()


def job_is_resumed(rig: Rig, chance: Chance, rest: Callable[[], None]) -> None:
    before = rig.job
    done = rig.succeed(rig.parallelism)
    assert done.job != before
    assert rig.restored() == 1
    rest()


def job_is_rescaled(rig: Rig, chance: Chance, rest: Callable[[], None]) -> None:
    """From one subtask to two, between two parts of the traffic; both read afterwards."""
    if rig.parallelism != 1:
        rig.succeed(1)
    assert subtasks(rig) == {1}
    rig.succeed(2)
    assert subtasks(rig) == {2}
    rest()
    rig.until(lambda: len(rig.cluster.worker_pids()) == 2, "a worker for each subtask")


def backlog_is_caught_up_with(rig: Rig, chance: Chance, rest: Callable[[], None]) -> None:
    """The job stands still while an hour goes by on the bus."""
    savepoint = rig.stop()
    rest()
    rig.resume(savepoint)


def subtasks(rig: Rig) -> set[int]:
    """Parallelisms of what reads, aggregates and writes; the sources of elements have one subtask each."""
    return {vertex.parallelism for vertex in rig.cluster.rest.vertices(rig.job) if not vertex.name.startswith("Source:")}


@contextmanager
def going_back(rig: Rig) -> Iterator[None]:
    """A block after which the job has gone back to a checkpoint."""
    rig.until(lambda: rig.cluster.rest.checkpoints(rig.job).completed > 0, "a checkpoint")
    before = rig.restored()
    yield
    rig.until(lambda: rig.restored() > before, "going back to a checkpoint")


FAULTS: Final = (
    Fault("a worker is killed", SMALL, worker_is_killed),
    Fault("the job is rescaled from one to two", SMALL, job_is_rescaled),
    Fault("a TaskManager is killed", SMALL, taskmanager_is_killed),
    Fault("Kafka is killed", SMALL, kafka_is_killed),
    Fault("Elasticsearch is down", SMALL, elasticsearch_is_down),
    Fault("the job is resumed from a savepoint", SMALL, job_is_resumed),
    Fault("one of two collectors drains an outage", TWO, nothing),
    Fault("an hour is caught up with", HOUR, backlog_is_caught_up_with),
    Fault("a collector's clock is a day fast", a_clock_a_day_fast, nothing, now=True),
)
"""The last one takes place now, and virtual time can not go on from there."""


@pytest.fixture(scope="module")
def rig(
    kafka: KafkaServer, flink_cluster: FlinkCluster, elasticsearch: ElasticsearchServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    with begun(Rig(kafka, flink_cluster, elasticsearch, tmp_path_factory.mktemp("faults"))) as rig:
        yield rig


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_documents_equal_the_oracles_after(fault: Fault, rig: Rig) -> None:
    suffer(rig, fault, seed=1)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", CAMPAIGN)
def test_documents_equal_the_oracles_after_every_fault_in_any_order(
    seed: int,
    kafka: KafkaServer,
    flink_cluster: FlinkCluster,
    elasticsearch: ElasticsearchServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The next fault comes while the job still works on what the last one left; only then everything has to be right."""
    order = [fault for fault in FAULTS if not fault.now]
    Chance(seed).shuffle(order)
    with begun(Rig(kafka, flink_cluster, elasticsearch, tmp_path_factory.mktemp("faults"), deadline_s=PATIENCE_S)) as rig:
        for fault in order:
            meet(rig, fault, seed)
        rig.settle()
        rig.settle_ledger()
        for fault in FAULTS:
            if fault.now:
                suffer(rig, fault, seed)


@pytest.mark.campaign
def test_elasticsearch_down_for_twenty_minutes(
    kafka: KafkaServer, elasticsearch: ElasticsearchServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With the sink's own patience and the cluster's own delays."""
    cluster = FlinkCluster(tmp_path_factory.mktemp("patient"), patient=True)
    cluster.start()
    try:
        with begun(Rig(kafka, cluster, elasticsearch, tmp_path_factory.mktemp("outage"), retry_s=Target(()).retry_s)) as rig:
            suffer(rig, Fault("Elasticsearch is down for twenty minutes", SMALL, elasticsearch_is_down_for_long), seed=1)
    finally:
        cluster.stop()


def elasticsearch_is_down_for_long(rig: Rig, chance: Chance, rest: Callable[[], None]) -> None:
    there = rig.raw_count()
    rig.elasticsearch.kill()
    back_at = time.monotonic() + OUTAGE_S
    try:
        rest()
        until(lambda: time.monotonic() > back_at, "the end of the outage", OUTAGE_S + 60)
        assert rig.cluster.rest.job(rig.job).state not in TERMINAL
        assert rig.restored() >= 2
    finally:
        rig.elasticsearch.start()
    until(lambda: rig.raw_count() > there, "documents after the outage", 2 * MAX_DELAY_S)


def meet(rig: Rig, fault: Fault, seed: int) -> None:
    """A part of the traffic, the fault, the rest."""
    chance = Chance(f"{fault.name} {seed}")
    rig.met.append(fault.name)
    entries = rig.segment(lambda start_ms: fault.traffic(seed, start_ms))
    cut = chance.randrange(len(entries) // 4, len(entries) * 3 // 4)
    before = rig.raw_count()
    rig.produce(entries[:cut])
    if chance.random() < 0.7:
        rig.until(lambda: rig.raw_count() > before, "the first flows of the segment")
    fault.happens(rig, chance, lambda: rig.produce(entries[cut:]))


def suffer(rig: Rig, fault: Fault, seed: int) -> None:
    """Traffic with a fault; then everything has to be right."""
    meet(rig, fault, seed)
    rig.settle(lambda: rig.produce(heartbeats({"clock": 0, "east": 0, "west": DAY_MS}, wall_clock())) if fault.now else None)
