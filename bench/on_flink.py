"""The pipeline on a Flink of its own on this machine, reading a folder: what JobManager, TaskManager and Python worker take.

In: entries, part by part. Out: CPU time and memory of the three processes. The bus is a spool whose entries are not let go, so that
a job can go back, and no broker's time is in the figures; documents go to files. One slot, one worker: what a core does.

A job is done when its documents have every flow that was given, and the watermark has passed it at every stage: how much CPU is
used says nothing, since an idle job takes some and a working one waits.
"""

import functools
import itertools
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bench.cases import LANES, Entries
from bench.pipeline import Figures
from bench.written import Sums, Written, sums_of
from bus.spool import SpoolLimits, SpoolProducer
from bus.spool_source import SpoolSource
from common.config import Settings
from flink.cluster import Cluster, ClusterSettings
from flink.distribution import cache_folder, install
from flink.job import Documents, builder_over, element_of
from flink.jobserver import runner_jar
from flink.process import cpu_seconds, cpu_seconds_of_threads, resident_bytes
from flink.rest import FlinkRest, JobId
from flink.submit import FlinkOptions, inherited_worker_env, submit
from flink.succession import wait_until_it_runs
from flowpb.codec import decode_header
from pipelines.source import DELAY_MS

_PATIENCE_S: Final = 180.0
_POLL_S: Final = 0.5
_JVMS: Final = ("jobmanager", "taskmanager")
_COMPILERS: Final = (b"C1 ", b"C2 ")
JIT: Final = "JIT"
_NO_JOB: Final = JobId("")
_AS_THEY_COME: Final = 2 / 3
"""Of the traffic: a part for each second of it. The rest is given at once, as a backlog."""
_FRESH_METRICS: Final = {"metrics.fetcher.update-interval": "500"}
"""Flink collects watermarks every ten seconds otherwise."""


class KeptSpool(SpoolSource):
    """A spool that keeps what was read: a job that goes back to its last checkpoint reads it again."""

    def release(self, partition: int, offset: int) -> None:
        """Only written down."""
        self._released.put(partition, offset)

    @property
    def is_read(self) -> bool:
        """Whether a reader, in whichever process, came to the end of everything."""
        return all(self.released(each) == self.end(each) for each in range(self.partitions))


def open_kept(path: str) -> KeptSpool:
    """In whichever process asks."""
    return KeptSpool(Path(path), LANES)


@dataclass(slots=True)
class Line:
    """A running job over a folder, what it was given, and what it has written so far."""

    cluster: Cluster
    producer: SpoolProducer
    folder: Path
    job: JobId = _NO_JOB
    sent: Sums = field(default_factory=Sums)
    written: Written = field(default_factory=Written)
    marks: dict[int, int] = field(default_factory=dict)

    @property
    def rest(self) -> FlinkRest:
        """Of the cluster."""
        return self.cluster.rest

    def give(self, part: Entries) -> None:
        """Puts entries on the bus."""
        for lane, value in part:
            self.producer.send(lane, value)
            self.marks[lane] = decode_header(value)[0].mark_ms
        self.producer.flush(60)
        self.sent.add(sums_of(part))

    def cpu_s(self) -> dict[str, float]:
        """CPU time so far by process, what the JVMs spend on compiling apart: a job of months does that in its first minutes."""
        pids = self.pids()
        compiling: dict[str, float] = {name: sum(map(_compiler_seconds, pids[name])) for name in _JVMS if name in pids}
        spent = {name: sum(map(cpu_seconds, each)) - compiling.get(name, 0.0) for name, each in pids.items()}
        return {**spent, JIT: sum(compiling.values())}

    def resident(self) -> dict[str, int]:
        """Memory by process."""
        return {name: sum(map(resident_bytes, pids)) for name, pids in self.pids().items()}

    def pids(self) -> dict[str, list[int]]:
        """Processes that do the job."""
        own = {"jobmanager": self.cluster.jobmanager_pid(), "taskmanager": self.cluster.taskmanager_pid()}
        return {"worker": self.cluster.worker_pids(), **{name: [pid] for name, pid in own.items() if pid is not None}}

    def count(self) -> None:
        """Takes the documents written since the last time, and deletes their files."""
        documents = self.folder / "documents"
        self.written.take_files(documents)
        for file in (documents / "ledger").glob("*.ndjson"):
            file.unlink()

    def has_read(self) -> bool:
        """Whether the worker has read all that was given."""
        with closing(open_kept(str(self.folder / "bus"))) as spool:
            return spool.is_read

    def has_all(self) -> bool:
        """Whether the flows of all that was given are in the documents."""
        self.count()
        return self.written.sums == self.sent

    def is_past(self) -> bool:
        """Whether the watermark has passed the last that was given, at every stage that has one."""
        last_ms = min(self.marks.values()) - DELAY_MS
        _, *stages = self.rest.vertices(self.job)  # the source of elements has none
        seen = [self.rest.watermarks(self.job, vertex.id) for vertex in stages]
        return all(seen) and min(itertools.chain.from_iterable(seen)) >= last_ms

    def wait(self, reached: Callable[[], bool], what: str, patience_s: float = _PATIENCE_S) -> None:
        """Until so; TimeoutError with what the job says, when it does not come."""
        until = time.monotonic() + patience_s
        while not reached():
            if time.monotonic() > until:
                said = self.rest.root_exception(self.job)[:300] or "nothing"
                raise TimeoutError(
                    f"no {what} within {patience_s:.0f} s: sent {self.sent}, written {self.written.sums}, "
                    f"{self.written.documents} documents; the job says: {said}"
                )
            time.sleep(_POLL_S)


def _compiler_seconds(pid: int) -> float:
    return sum(cpu_seconds_of_threads(pid, name) for name in _COMPILERS)


def pair() -> str:
    """The versions that run here."""
    return str(runner_jar(cache_folder()).pair)


@contextmanager
def running(
    settings: Settings, first: Entries, change: Callable[[FlinkOptions], FlinkOptions] = lambda options: options
) -> Iterator[Line]:
    """A cluster and a job for the length of a block.

    `first` is on the bus before the job begins, and has something of every lane: a partition that nobody was ever heard of in
    follows the clock, beside which traffic of years ago is late.
    """
    runner = runner_jar(cache_folder())
    home = install(runner.pair.flink, cache_folder())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nephrite-bench-")))
        (folder / "documents").mkdir()
        ports = ClusterSettings(rest_port=_free_port(), rpc_port=_free_port(), taskmanager_memory_mb=2_048, extra=_FRESH_METRICS)
        cluster = Cluster(home, folder / "flink", ports)
        cluster.start(taskmanagers=1)
        stack.callback(cluster.stop)
        limits = SpoolLimits(total_bytes=1 << 40, fsync=False)
        producer = stack.enter_context(closing(SpoolProducer(folder / "bus", LANES, limits)))
        options = FlinkOptions(cluster.rest_url, runner.path, parallelism=1, worker_env=inherited_worker_env())
        opener = functools.partial(open_kept, str(folder / "bus"))
        builder = builder_over(settings, Documents(str(folder / "documents")), opener, [element_of(lane) for lane in range(LANES)])
        line = Line(cluster, producer, folder)
        line.give(first)
        line.job = submit(builder, change(options))
        wait_until_it_runs(cluster.rest, line.job)
        line.wait(line.has_read, "end of the first second")
        yield line


def run(due: Iterable[Entries], settings: Settings, change: Callable[[FlinkOptions], FlinkOptions] = replace) -> Figures:
    """The figures of one case after its first second. Two thirds of the traffic are given when due, the others as a backlog.

    `wall_s` is what the backlog takes until it is in documents, `backlog` its flows. The whole is without the JVMs'
    compilers, which are among the parts.
    """
    warm, *timely, last = due
    backlog = timely[round(len(timely) * _AS_THEY_COME) :]
    del timely[-len(backlog) :]
    with running(settings, warm, change) as line:
        before, flows = line.cpu_s(), line.sent.flows
        started = time.monotonic()
        for number, part in enumerate(timely):
            time.sleep(max(0.0, started + number - time.monotonic()))
            line.give(part)
        given, started = line.sent.flows, time.monotonic()
        for part in (*backlog, last):
            line.give(part)
        line.wait(line.has_all, "documents of all flows")
        wall = time.monotonic() - started
        line.wait(line.is_past, "watermark past all that was given")
        line.count()
        spent = {name: cpu_s - before.get(name, 0.0) for name, cpu_s in line.cpu_s().items()}
        lasting = sum(spent.values()) - spent[JIT]
        return Figures(line.sent.flows - flows, line.written.documents, wall, lasting, spent, line.sent.flows - given)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
