"""The pipeline on a Flink of its own on this machine, reading a folder: what JobManager, TaskManager and Python worker take.

In: entries, part by part. Out: CPU time and memory of the three processes. The bus is a spool whose entries are not let go, so that
a job can go back, and no broker's time is in the figures; documents go to files. One slot, one worker: what a core does.
"""

import functools
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench.cases import LANES, Entries
from bench.pipeline import Figures
from bus.spool import SpoolLimits, SpoolProducer
from bus.spool_source import SpoolSource
from common.config import Settings
from flink.cluster import Cluster, ClusterSettings
from flink.distribution import cache_folder, install
from flink.job import Documents, builder_over, element_of
from flink.jobserver import runner_jar
from flink.process import cpu_seconds, resident_bytes
from flink.rest import FlinkRest, JobId
from flink.submit import FlinkOptions, inherited_worker_env, submit
from flink.succession import wait_until_it_runs
from flowpb.codec import decode_header

_QUIET_S: Final = 6.0
_QUIET_CPU: Final = 0.25
"""The Python worker takes less than this much of a core when it has nothing to do but to look (JVMs take a fifth of one then)."""
_PATIENCE_S: Final = 900.0
_POLL_S: Final = 0.25


class KeptSpool(SpoolSource):
    """A spool that keeps what was read: a job that goes back to its last checkpoint reads it again."""

    def release(self, partition: int, offset: int) -> None:
        """Nothing is let go."""


def open_kept(path: str) -> KeptSpool:
    """In whichever process asks."""
    return KeptSpool(Path(path), LANES)


@dataclass(slots=True)
class Line:
    """A running job over a folder."""

    cluster: Cluster
    job: JobId
    producer: SpoolProducer
    folder: Path

    @property
    def rest(self) -> FlinkRest:
        """Of the cluster."""
        return self.cluster.rest

    def give(self, part: Entries) -> int:
        """Puts entries on the bus; returns how many flows they have."""
        for lane, value in part:
            self.producer.send(lane, value)
        self.producer.flush(60)
        return sum(decode_header(value)[0].flow_count for _, value in part)

    def cpu_s(self) -> dict[str, float]:
        """CPU time so far by process."""
        return {name: sum(map(cpu_seconds, pids)) for name, pids in self.pids().items()}

    def resident(self) -> dict[str, int]:
        """Memory by process."""
        return {name: sum(map(resident_bytes, pids)) for name, pids in self.pids().items()}

    def pids(self) -> dict[str, list[int]]:
        """Processes that do the job."""
        own = {"jobmanager": self.cluster.jobmanager_pid(), "taskmanager": self.cluster.taskmanager_pid()}
        return {"worker": self.cluster.worker_pids(), **{name: [pid] for name, pid in own.items() if pid is not None}}

    def settle(self) -> None:
        """Returns when the job has nothing to do any more."""
        until, quiet_since = time.monotonic() + _PATIENCE_S, time.monotonic()
        before, seen = self.cpu_s()["worker"], time.monotonic()
        while time.monotonic() - quiet_since < _QUIET_S:
            if time.monotonic() > until:
                raise TimeoutError(f"the job still works after {_PATIENCE_S:.0f} s: {self.rest.root_exception(self.job)[:300]}")
            time.sleep(_POLL_S)
            now, at = self.cpu_s()["worker"], time.monotonic()
            if now - before > _QUIET_CPU * (at - seen):
                quiet_since = at
            before, seen = now, at

    def documents(self) -> int:
        """Lines in the files of documents."""
        return sum(file.read_bytes().count(b"\n") for file in (self.folder / "documents").glob("*.ndjson"))


def pair() -> str:
    """The versions that run here."""
    return str(runner_jar(cache_folder()).pair)


@contextmanager
def running(settings: Settings, change: Callable[[FlinkOptions], FlinkOptions] = lambda options: options) -> Iterator[Line]:
    """A cluster and a job for the length of a block."""
    runner = runner_jar(cache_folder())
    home = install(runner.pair.flink, cache_folder())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nephrite-bench-")))
        (folder / "documents").mkdir()
        ports = ClusterSettings(rest_port=_free_port(), rpc_port=_free_port(), taskmanager_memory_mb=2_048)
        cluster = Cluster(home, folder / "flink", ports)
        cluster.start(taskmanagers=1)
        stack.callback(cluster.stop)
        limits = SpoolLimits(total_bytes=1 << 40, fsync=False)
        producer = stack.enter_context(closing(SpoolProducer(folder / "bus", LANES, limits)))
        options = FlinkOptions(cluster.rest_url, runner.path, parallelism=1, worker_env=inherited_worker_env())
        opener = functools.partial(open_kept, str(folder / "bus"))
        builder = builder_over(settings, Documents(str(folder / "documents")), opener, [element_of(lane) for lane in range(LANES)])
        job = submit(builder, change(options))
        wait_until_it_runs(cluster.rest, job)
        yield Line(cluster, job, producer, folder)


def run(due: Iterable[Entries], settings: Settings, change: Callable[[FlinkOptions], FlinkOptions] = replace) -> Figures:
    """The figures of one case: the first parts warm up, then all others are given at once."""
    parts = list(due)
    with running(settings, change) as line:
        line.give(parts[0])
        line.settle()
        before, documents, started = line.cpu_s(), line.documents(), time.perf_counter()
        flows = sum(map(line.give, parts[1:]))
        line.settle()
        wall = time.perf_counter() - started - _QUIET_S
        spent = {name: cpu_s - before.get(name, 0.0) for name, cpu_s in line.cpu_s().items()}
        return Figures(flows, line.documents() - documents, wall, sum(spent.values()), spent)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
