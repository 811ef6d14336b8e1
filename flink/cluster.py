"""A standalone Flink cluster on this machine: one JobManager, one or more TaskManagers.

In: an unpacked distribution and a folder of the user's. Out: running processes; their configuration, logs, pid files
and checkpoints are all below that folder, so that another process can find and stop them. Every listener is on
`ClusterSettings.host`, 127.0.0.1 unless told otherwise.

    folder/conf   Flink's configuration         folder/run   <role>.pid
    folder/log    <role>.out, Flink's logs      folder/checkpoints, folder/savepoints
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flink import process
from flink.distribution import minor_version
from flink.errors import ClusterError, RestError
from flink.rest import FlinkRest

JOBMANAGER = "jobmanager"
WORKER = b"sdk_worker_main"
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.1
METRICS_PORTS = 16

# Java 17 hides what Flink 1.16 and Kryo reach into; later releases only list the same in their default configuration
_OPENED = ("lang", "lang.reflect", "nio", "util", "util.concurrent", "net", "io", "time", "text", "math")
_JAVA_OPTIONS = " ".join(
    [
        "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
        "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
        *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED),
    ]
)


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How a cluster is laid out; `extra` holds any further lines of Flink's configuration and wins over ours.

    With `metrics_port` each process shows Flink's metrics and the jobs' counters to Prometheus, on the first free port from there
    on. Flink's reporter knows no host: it listens on every address.
    """

    rest_port: int = 8081
    rpc_port: int = 6123
    slots: int = 1  # of each TaskManager; see flink.submit.FlinkOptions
    host: str = "127.0.0.1"
    jobmanager_memory_mb: int = 1024
    taskmanager_memory_mb: int = 1536
    heartbeat_interval_ms: int = 2_000
    heartbeat_timeout_ms: int = 10_000
    metrics_port: int | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


def configuration(settings: ClusterSettings, folder: Path, version: str) -> dict[str, str]:
    """Flink's configuration for `settings`, key -> value as text.

    A failed job is restarted without limit, at growing distances: a pipeline that cannot write must wait for its
    store, not give up.
    """
    restart = "restart-strategy.type" if minor_version(version) >= (1, 17) else "restart-strategy"
    ours = {
        "jobmanager.rpc.address": settings.host,
        "jobmanager.rpc.port": settings.rpc_port,
        "jobmanager.bind-host": settings.host,
        "taskmanager.bind-host": settings.host,
        "taskmanager.host": settings.host,
        "rest.address": settings.host,
        "rest.bind-address": settings.host,
        "rest.port": settings.rest_port,
        "jobmanager.memory.process.size": f"{settings.jobmanager_memory_mb}m",
        "taskmanager.memory.process.size": f"{settings.taskmanager_memory_mb}m",
        # state is kept on the heap; Flink would set two fifths aside for a store that is not used
        "taskmanager.memory.managed.size": "0",
        "taskmanager.numberOfTaskSlots": settings.slots,
        "state.checkpoints.dir": (folder / "checkpoints").as_uri(),
        "state.savepoints.dir": (folder / "savepoints").as_uri(),
        "heartbeat.interval": settings.heartbeat_interval_ms,
        "heartbeat.timeout": settings.heartbeat_timeout_ms,
        restart: "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "60 s",
        # faults that are this far apart are not one fault: the next starts with a short delay again
        "restart-strategy.exponential-delay.reset-backoff-threshold": "10 min",
        # a job's classes outlive it in pools of the runner; without this the TaskManager's log fills with warnings
        "classloader.check-leaked-classloader": "false",
        "env.java.opts": _JAVA_OPTIONS,
    }
    return {key: str(value) for key, value in (ours | _reporter(settings.metrics_port)).items()} | dict(settings.extra)


def _reporter(port: int | None) -> dict[str, str]:
    """Flink's reporter for Prometheus, a plugin of the distribution; ports for as many processes as one machine may have."""
    if port is None:
        return {}
    return {
        "metrics.reporters": "prom",
        "metrics.reporter.prom.factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory",
        "metrics.reporter.prom.port": f"{port}-{port + METRICS_PORTS - 1}",
    }


class Cluster:
    """Starts and stops the processes of one cluster; keeps nothing that is not also below `folder`."""

    def __init__(self, home: Path, folder: Path, settings: ClusterSettings | None = None) -> None:
        self.home = home
        self.folder = folder.absolute()
        self.settings = settings or ClusterSettings()
        self.version = home.name.removeprefix("flink-")

    @property
    def rest_url(self) -> str:
        """Where Flink's REST API and web page are."""
        return f"http://{self.settings.host}:{self.settings.rest_port}"

    @property
    def rest(self) -> FlinkRest:
        """A client for this cluster."""
        return FlinkRest(self.rest_url)

    def configure(self) -> None:
        """Write the configuration, over one that is there."""
        for name in ("conf", "run", "log", "checkpoints", "savepoints"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for source in (self.home / "conf").glob("log*"):
            shutil.copy(source, self.folder / "conf")
        name = "config.yaml" if minor_version(self.version) >= (1, 19) else "flink-conf.yaml"
        lines = [f"{key}: {value}" for key, value in configuration(self.settings, self.folder, self.version).items()]
        (self.folder / "conf" / name).write_text("\n".join(lines) + "\n")

    def start(self, taskmanagers: int = 2) -> None:
        """Configure, start everything and wait until all slots are offered.

        Raises ClusterError with the end of the log when it does not come up; what was started is stopped then.
        """
        self.configure()
        try:
            self.start_jobmanager()
            for number in range(taskmanagers):
                self.start_taskmanager(number)
            self.wait_for_slots(taskmanagers * self.settings.slots)
        except ClusterError:
            self.stop()
            raise

    def start_jobmanager(self) -> None:
        """Start the JobManager and wait until its REST API answers."""
        self._spawn(JOBMANAGER, "jobmanager.sh")
        self._wait(lambda: self._slots() is not None, JOBMANAGER, "REST API")

    def start_taskmanager(self, number: int = 0) -> None:
        """Start TaskManager `number`; does not wait for it (see `wait_for_slots`)."""
        self._spawn(_taskmanager(number), "taskmanager.sh")

    def wait_for_slots(self, count: int, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once the cluster offers at least `count` slots, busy or free; ClusterError after `timeout_s`."""
        self._wait(lambda: (self._slots() or 0) >= count, _taskmanager(0), f"{count} slots", timeout_s)

    def kill_taskmanager(self, number: int = 0) -> None:
        """Kill TaskManager `number` as a crash would (SIGKILL); nothing happens when it does not run."""
        self._end(_taskmanager(number), signal.SIGKILL)

    def taskmanager_pid(self, number: int = 0) -> int | None:
        """Process id of TaskManager `number`, None when it does not run."""
        return self._pid(_taskmanager(number))

    def jobmanager_pid(self) -> int | None:
        """Process id of the JobManager, None when it does not run."""
        return self._pid(JOBMANAGER)

    def worker_pids(self, number: int = 0) -> list[int]:
        """Process ids of the Python workers that TaskManager `number` started."""
        parent = self.taskmanager_pid(number)
        return [] if parent is None else [pid for pid in process.children(parent) if WORKER in process.command_line(pid)]

    def stop(self) -> None:
        """Stop all processes of this cluster, the last started first; harmless when none runs."""
        for role in sorted((path.stem for path in (self.folder / "run").glob("*.pid")), reverse=True):
            self._end(role, signal.SIGTERM)

    def _spawn(self, role: str, script: str) -> None:
        if self._pid(role) is not None:
            raise ClusterError(f"{self.folder}: {role} already runs; stop it first")
        conf, log, run = (str(self.folder / name) for name in ("conf", "log", "run"))
        env = os.environ | {"FLINK_CONF_DIR": conf, "FLINK_LOG_DIR": log, "FLINK_PID_DIR": run}
        command = [str(self.home / "bin" / script), "start-foreground"]
        process.spawn(command, env, self.folder / "log" / f"{role}.out", self._pid_file(role))

    def _pid_file(self, role: str) -> Path:
        return self.folder / "run" / f"{role}.pid"

    def _pid(self, role: str) -> int | None:
        return process.running_pid(self._pid_file(role), self.folder)

    def _end(self, role: str, how: signal.Signals) -> None:
        process.end(self._pid_file(role), self.folder, how, STOP_TIMEOUT_S)

    def _slots(self) -> int | None:
        try:
            return self.rest.overview().slots_total
        except RestError:
            return None

    def _wait(self, ready: Callable[[], bool], role: str, what: str, timeout_s: float = START_TIMEOUT_S) -> None:
        until = time.monotonic() + timeout_s
        while not ready():
            if self._pid(role) is None:
                raise ClusterError(f"{self.folder}: {role} ended; {self._log_tail(role)}")
            if time.monotonic() > until:
                raise ClusterError(f"{self.folder}: no {what} within {timeout_s:.0f} s; {self._log_tail(role)}")
            time.sleep(POLL_S)

    def _log_tail(self, role: str) -> str:
        try:
            lines = (self.folder / "log" / f"{role}.out").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return f"{role} wrote no log"
        return f"{role} says: " + " | ".join(lines[-5:])


def _taskmanager(number: int) -> str:
    return f"taskmanager-{number}"
