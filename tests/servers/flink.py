"""A real Flink cluster of one JobManager and one TaskManager, with the runner jar that fits it."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from flink.cluster import METRICS_PORTS, Cluster, ClusterSettings
from flink.distribution import cache_folder, install
from flink.errors import FlinkError
from flink.jobserver import RunnerJar, runner_jar
from flink.rest import TERMINAL, FlinkRest, JobId
from flink.submit import FlinkOptions, inherited_worker_env
from tests.servers.ports import free_block
from tests.servers.registry import ServerUnavailableError, require

SLOTS = 2
# serial collector and no optimising compiler: on two cores a test needs start-up, not throughput; and many faults in a short time
_JVM = {"env.java.opts.jobmanager": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"}
_QUICK = {"restart-strategy.exponential-delay.max-backoff": "2 s"}


class FlinkCluster:
    """A cluster with its files below `folder`; `patient` restarts jobs as a cluster of users does, not as soon as it can."""

    def __init__(self, folder: Path, *, patient: bool = False) -> None:
        require("java", "mvn", "bash")
        port = free_block(2 + METRICS_PORTS)
        self.runner, home = _installed(cache_folder())
        settings = ClusterSettings(
            rest_port=port,
            rpc_port=port + 1,
            slots=SLOTS,
            jobmanager_memory_mb=896,
            taskmanager_memory_mb=1792,
            heartbeat_interval_ms=1_000,
            heartbeat_timeout_ms=6_000,
            metrics_port=port + 2,
            extra=_JVM if patient else _JVM | _QUICK,
        )
        self.cluster = Cluster(home, folder, settings)

    @property
    def rest_url(self) -> str:
        """Where the JobManager's REST API is."""
        return self.cluster.rest_url

    @property
    def rest(self) -> FlinkRest:
        """A client for it."""
        return self.cluster.rest

    @property
    def slots(self) -> int:
        """How many subtasks fit at a time."""
        return SLOTS

    def start(self) -> None:
        """Start both processes; returns once all slots are offered."""
        try:
            self.cluster.start(taskmanagers=1)
        except FlinkError as err:
            raise ServerUnavailableError(str(err)) from err

    def stop(self) -> None:
        """End both."""
        self.cluster.stop()

    def start_taskmanager(self) -> None:
        """Start a TaskManager in place of a killed one; does not wait, the job will."""
        self.cluster.start_taskmanager()

    def kill_taskmanager(self) -> None:
        """SIGKILL the TaskManager."""
        self.cluster.kill_taskmanager()

    def worker_pids(self) -> list[int]:
        """Process ids of the Python workers."""
        return self.cluster.worker_pids()

    def metrics(self) -> str:
        """What Prometheus would scrape: the pages of all processes."""
        first = self.cluster.settings.metrics_port or 0
        pages = (_page(first + number) for number in range(METRICS_PORTS))
        return "".join(page for page in pages if page)

    def options(self, **changes: Any) -> FlinkOptions:
        """Options for a job on this cluster: quick checkpoints and bundles, workers import what this process can."""
        quick = FlinkOptions(
            rest_url=self.rest_url,
            runner_jar=self.runner.path,
            parallelism=SLOTS,
            sdk_worker_parallelism=SLOTS,
            checkpointing_interval_ms=1_000,
            max_bundle_time_ms=100,
            worker_env=inherited_worker_env(),
        )
        return replace(quick, **changes)

    def cancel(self, job: JobId) -> None:
        """Cancel a job and wait for its end; harmless for one that has ended."""
        if self.rest.job(job).state not in TERMINAL:
            self.rest.cancel(job)
            self.rest.wait_for(job)

    def __str__(self) -> str:
        return str(self.runner.pair)


def _page(port: int) -> str:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            page: str = answer.read().decode()
            return page
    except URLError:
        return ""  # no process has this port


def _installed(cache: Path) -> tuple[RunnerJar, Path]:
    try:
        runner = runner_jar(cache)
        return runner, install(runner.pair.flink, cache)
    except FlinkError as err:
        raise ServerUnavailableError(str(err)) from err
