"""The `flink` commands: what they print, and a cluster that another process can stop."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from flink import commands
from flink.cluster import Cluster
from flink.jobserver import ASSEMBLED, RunnerJar
from flink.rest import JobId, Vertex
from flink.submit import FlinkOptions, submit
from flink.succession import Succession
from tests.flink import lane_job
from tests.flink.lane_job import Topic
from tests.servers.flink import FlinkCluster
from tests.servers.ports import free_block


def call(*arguments: str) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    commands.app_commands(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["flink", *arguments], catch_exceptions=False)


def test_the_runner_jar_is_named_with_its_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPHRITE_CACHE", str(tmp_path))
    (tmp_path / "beam-runner-not-resolved.json").touch()
    (tmp_path / f"{ASSEMBLED.name}.json").touch()
    assert call("jar").stdout.splitlines() == [
        "flink 1.16.3 (beam runner 2.56.0), assembled from libraries",
        str(tmp_path / f"{ASSEMBLED.name}.jar"),
    ]


def test_stopping_where_nothing_runs_is_harmless(tmp_path: Path) -> None:
    assert call("stop", str(tmp_path)).exit_code == 0


@pytest.mark.server("flink")
def test_a_cluster_is_started_for_other_processes(flink_cluster: FlinkCluster, tmp_path: Path) -> None:
    port = free_block(2)
    arguments = [f"--rest-port={port}", f"--rpc-port={port + 1}", "--taskmanagers=1", "--slots=1"]
    try:
        started = call("start", str(tmp_path), *arguments)
        assert started.stdout == f"{flink_cluster} with 1 slots at http://127.0.0.1:{port}\n"
        assert call("jobs", f"--url=http://127.0.0.1:{port}").stdout == ""
    finally:
        call("stop", str(tmp_path))
    assert Cluster(flink_cluster.cluster.home, tmp_path).taskmanager_pid() is None


@pytest.mark.server("flink")
def test_jobs_are_listed_and_cancelled(flink_cluster: FlinkCluster, tmp_path: Path) -> None:
    topic = Topic(start_s=0, rate=1.0, batches=0, ends=False, out=str(tmp_path))
    job = submit(lambda pipeline: lane_job.build(pipeline, topic, 1), flink_cluster.options(job_name="listed"))
    url = f"--url={flink_cluster.rest_url}"
    try:
        assert any(line.startswith(job) and line.endswith("  listed") for line in call("jobs", url).stdout.splitlines())
        assert call("cancel", job, url).stdout == "CANCELED\n"
    finally:
        flink_cluster.cancel(job)


def test_a_job_of_the_command_line_has_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`rescale` and `upgrade` hand over what they were told; 0 leaves the parallelism of the job that runs."""
    told: list[tuple[str, int, bool, str | None]] = []

    def note(job: str, builder: object, options: FlinkOptions, folder: str | None) -> Succession:
        told.append((job, options.parallelism, options.disable_metrics, folder))
        return Succession("file:/sp", JobId("new"))

    jar = RunnerJar(tmp_path / "runner.jar", ASSEMBLED)
    vertices = [Vertex("v", "Read", 3, "RUNNING", {})]
    monkeypatch.setattr("flink.commands.runner_jar", lambda cache: jar)
    monkeypatch.setattr("flink.job.job_builder", lambda settings, documents, span: None)
    monkeypatch.setattr("flink.succession.succeed", note)
    monkeypatch.setattr("flink.rest.FlinkRest.vertices", lambda rest, job: vertices)
    assert call("rescale", "old", "2", "--documents=./x", "--metrics").stdout.splitlines()[-1] == "new"
    assert call("upgrade", "old", "--documents=./x", "--savepoints=file:/here").exit_code == 0
    assert told == [("old", 2, False, None), ("old", 3, True, "file:/here")]
