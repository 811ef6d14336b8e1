"""A job's successor against an HTTP server that answers like Flink: what is asked in which order, and what a failure says."""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pytest

from flink.errors import FlinkError, RestError
from flink.rest import JobId
from flink.submit import FlinkOptions
from flink.succession import Succession, succeed
from tests.flink.test_rest import JOB, Flink, serving

NEXT = JobId("0" * 31 + "1")


def builder(pipeline: beam.Pipeline) -> None:
    _ = pipeline | beam.Create([(b"a", b"b")], reshuffle=False) | beam.GroupByKey()


@pytest.fixture
def flink() -> Iterator[Flink]:
    with serving() as server:
        vertices = [{"id": "v", "name": "read", "parallelism": 1, "status": "RUNNING", "tasks": {"RUNNING": 1}}]
        server.add(f"GET /v1/jobs/{JOB}", (200, job(JOB, "RUNNING", vertices)))
        server.add(f"GET /v1/jobs/{NEXT}", (200, job(NEXT, "RUNNING", [vertices[0] | {"parallelism": 2, "tasks": {"RUNNING": 2}}])))
        overview = {"taskmanagers": 1, "slots-total": 2, "slots-available": 1, "flink-version": "1.16.3"}
        server.add("GET /v1/overview", (200, overview))
        server.add("POST /v1/jars/upload", (200, {"filename": "/x/y_nephrite.jar"}))
        server.add(f"POST /v1/jobs/{JOB}/savepoints", (202, {"request-id": "r"}))
        done = {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/sp"}}
        server.add(f"GET /v1/jobs/{JOB}/savepoints/r", (200, done))
        server.add("POST /v1/jars/y_nephrite.jar/run", (200, {"jobid": NEXT}))
        server.add("DELETE /v1/jars/y_nephrite.jar", (200, {}))
        yield server


def job(name: str, state: str, vertices: list[dict[str, object]]) -> dict[str, object]:
    return {"jid": name, "name": "nephrite", "state": state, "vertices": vertices}


@pytest.fixture
def options(flink: Flink, tmp_path: Path) -> FlinkOptions:
    with zipfile.ZipFile(tmp_path / "runner.jar", "w") as jar:
        jar.writestr("Runner.class", b"\xca\xfe")
    return FlinkOptions(f"http://127.0.0.1:{flink.server_port}", tmp_path / "runner.jar", parallelism=2)


def ends_with_the_savepoint(flink: Flink) -> None:
    running, ended = (job(JOB, state, []) for state in ("RUNNING", "CANCELED"))
    vertex: dict[str, object] = {"id": "v", "name": "read", "parallelism": 1, "status": "RUNNING", "tasks": {}}
    flink.add(f"GET /v1/jobs/{JOB}", (200, running), (200, running | {"vertices": [vertex]}), (200, ended))


def test_the_old_job_ends_only_when_everything_for_the_new_one_is_there(flink: Flink, options: FlinkOptions) -> None:
    ends_with_the_savepoint(flink)
    assert succeed(JOB, builder, options, "file:/folder") == Succession("file:/sp", NEXT)
    asked = [name for name in flink.asked if not name.startswith("GET")]
    assert asked == [
        "POST /v1/jars/upload",
        f"POST /v1/jobs/{JOB}/savepoints",
        "POST /v1/jars/y_nephrite.jar/run",
        "DELETE /v1/jars/y_nephrite.jar",
    ]
    assert b'"savepointPath": "file:/sp"' in flink.bodies["POST /v1/jars/y_nephrite.jar/run"]


def test_a_successor_that_is_not_taken_leaves_a_savepoint_that_is_named(flink: Flink, options: FlinkOptions) -> None:
    ends_with_the_savepoint(flink)
    flink.add("POST /v1/jars/y_nephrite.jar/run", (500, {"errors": ["no such operator"]}))
    with pytest.raises(FlinkError, match=r"no such operator; the state is in file:/sp: .* --savepoint file:/sp"):
        succeed(JOB, builder, options)


def test_a_savepoint_that_fails_leaves_the_old_job(flink: Flink, options: FlinkOptions) -> None:
    failed = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"stack-trace": "disk full"}}}
    flink.add(f"GET /v1/jobs/{JOB}/savepoints/r", (200, failed))
    with pytest.raises(RestError, match="savepoint failed: disk full"):
        succeed(JOB, builder, options)
    assert "POST /v1/jars/y_nephrite.jar/run" not in flink.asked


@pytest.mark.parametrize(("parallelism", "reason"), [(3, "needs as many slots, 2 are there"), (129, "above 128, the number of")])
def test_a_parallelism_that_does_not_fit_is_refused_before_anything_is_done(
    flink: Flink, options: FlinkOptions, parallelism: int, reason: str
) -> None:
    with pytest.raises(FlinkError, match=reason):
        succeed(JOB, builder, replace(options, parallelism=parallelism))
    assert [name for name in flink.asked if not name.startswith("GET")] == []


def test_a_job_that_does_not_run_has_no_successor(flink: Flink, options: FlinkOptions) -> None:
    flink.add(f"GET /v1/jobs/{JOB}", (200, job(JOB, "RESTARTING", [])))
    with pytest.raises(FlinkError, match="is RESTARTING, not RUNNING"):
        succeed(JOB, builder, options)
