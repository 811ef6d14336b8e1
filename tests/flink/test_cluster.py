"""Configuration and processes of a cluster, without Flink."""

import os
import signal
from pathlib import Path

import pytest

from flink import cluster as cluster_module
from flink import process
from flink.cluster import Cluster, ClusterSettings, configuration
from flink.errors import ClusterError


def home(folder: Path, version: str, script: str) -> Path:
    made = folder / f"flink-{version}"
    (made / "bin").mkdir(parents=True)
    (made / "conf").mkdir()
    for name in ("jobmanager.sh", "taskmanager.sh"):
        (made / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (made / "bin" / name).chmod(0o755)
    return made


@pytest.mark.parametrize("version", ["1.16.3", "1.20.5", "2.2.1"])
def test_everything_listens_on_the_host_alone(version: str, tmp_path: Path) -> None:
    got = configuration(ClusterSettings(host="127.0.0.9"), tmp_path, version)
    addresses = {key for key in got if key.endswith(("-host", ".host", ".address", "bind-address"))}
    assert addresses == {
        "jobmanager.rpc.address",
        "jobmanager.bind-host",
        "taskmanager.bind-host",
        "taskmanager.host",
        "rest.address",
        "rest.bind-address",
    }
    assert {got[key] for key in addresses} == {"127.0.0.9"}


def test_what_the_user_adds_wins(tmp_path: Path) -> None:
    got = configuration(ClusterSettings(extra={"state.backend": "rocksdb", "rest.port": "1"}), tmp_path, "1.16.3")
    assert (got["state.backend"], got["rest.port"]) == ("rocksdb", "1")


@pytest.mark.parametrize(
    ("version", "name", "key"),
    [
        ("1.16.3", "flink-conf.yaml", "restart-strategy: exponential-delay"),
        ("1.20.5", "config.yaml", "restart-strategy.type: exponential-delay"),
    ],
)
def test_the_configuration_has_the_name_and_keys_of_its_version(version: str, name: str, key: str, tmp_path: Path) -> None:
    cluster = Cluster(home(tmp_path, version, "exit 0"), tmp_path / "run")
    cluster.configure()
    assert key in (tmp_path / "run" / "conf" / name).read_text().splitlines()


def test_a_process_is_started_once_found_again_and_killed(tmp_path: Path) -> None:
    flink = home(tmp_path, "1.16.3", "exec sleep 60")
    cluster = Cluster(flink, tmp_path / "cluster")
    cluster.configure()
    cluster.start_taskmanager()
    pid = cluster.taskmanager_pid()
    assert pid is not None
    with pytest.raises(ClusterError, match="taskmanager-0 already runs"):
        cluster.start_taskmanager()
    assert Cluster(flink, tmp_path / "cluster").taskmanager_pid() == pid
    assert cluster.worker_pids() == []
    cluster.kill_taskmanager()
    assert cluster.taskmanager_pid() is None
    assert process.command_line(pid) == b""


def test_a_pid_of_another_process_is_not_ours(tmp_path: Path) -> None:
    cluster = Cluster(home(tmp_path, "1.16.3", ""), tmp_path / "cluster")
    cluster.configure()
    (tmp_path / "cluster" / "run" / "taskmanager-0.pid").write_text(str(os.getppid()))
    assert cluster.taskmanager_pid() is None
    cluster.stop()
    os.kill(os.getppid(), 0)


def test_a_deaf_process_is_killed_in_the_end(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"]
    pid_file = tmp_path / "x.pid"
    pid = process.spawn(command, {"FOLDER": str(tmp_path), "PATH": os.environ["PATH"]}, tmp_path / "out", pid_file)
    while "deaf" not in (tmp_path / "out").read_text():
        assert process.running_pid(pid_file, tmp_path) == pid
    process.end(pid_file, tmp_path, signal.SIGTERM, timeout_s=0.3)
    assert process.running_pid(pid_file, tmp_path) is None
    assert not pid_file.exists()


def test_a_cluster_that_dies_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "POLL_S", 0.01)
    cluster = Cluster(home(tmp_path, "1.16.3", "echo no memory; exit 1"), tmp_path / "cluster", ClusterSettings(rest_port=1))
    with pytest.raises(ClusterError, match=r"jobmanager ended; jobmanager says: no memory"):
        cluster.start()


def test_a_process_that_replaces_its_program_is_still_ours(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", 'exec /bin/sh -c "$0" "$0"', 'exec /bin/sh -c "$0" "$0"']
    pid_file = tmp_path / "x.pid"
    pid = process.spawn(command, {"FOLDER": str(tmp_path), "PATH": os.environ["PATH"]}, tmp_path / "out", pid_file)
    try:
        assert [process.running_pid(pid_file, tmp_path) for _ in range(2_000)] == [pid] * 2_000
    finally:
        process.end(pid_file, tmp_path, signal.SIGKILL, timeout_s=5)
