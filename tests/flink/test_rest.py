"""The REST client against an HTTP server that answers like Flink."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flink.errors import RestError
from flink.rest import Checkpoints, FlinkRest, JarId, Job, JobId, Overview

JOB = JobId("f1b5d113a8fcacf006bcee11a034c99d")


class Flink(ThreadingHTTPServer):
    """Answers from a table (method and path -> status and body, one after another); remembers what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[tuple[int, object]]] = {}
        self.bodies: dict[str, bytes] = {}
        self.asked: list[str] = []

    def add(self, request: str, *answers: tuple[int, object]) -> None:
        self.answers[request] = list(answers)


class Handler(BaseHTTPRequestHandler):
    server: Flink

    def handle_any(self) -> None:
        name = f"{self.command} {self.path}"
        self.server.asked.append(name)
        self.server.bodies[name] = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answers = self.server.answers[name]
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:
        return


for _verb in ("GET", "POST", "PATCH", "DELETE"):
    setattr(Handler, f"do_{_verb}", Handler.handle_any)


@contextmanager
def serving() -> Iterator[Flink]:
    """A server that answers while the block lasts."""
    with Flink() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def flink() -> Iterator[Flink]:
    with serving() as server:
        yield server


@pytest.fixture
def rest(flink: Flink) -> FlinkRest:
    return FlinkRest(f"http://127.0.0.1:{flink.server_port}/", timeout_s=10)


def test_an_overview_is_read(flink: Flink, rest: FlinkRest) -> None:
    body = {"taskmanagers": 2, "slots-total": 4, "slots-available": 1, "flink-version": "1.16.3", "jobs-running": 1}
    flink.add("GET /v1/overview", (200, body))
    assert rest.overview() == Overview(2, 4, 1, "1.16.3")


def test_a_jar_is_uploaded_as_a_form(flink: Flink, rest: FlinkRest, tmp_path: Path) -> None:
    jar = tmp_path / "job.jar"
    jar.write_bytes(b"PK" * 2_000_000)
    flink.add("POST /v1/jars/upload", (200, {"filename": "/tmp/flink-web/x_job.jar", "status": "success"}))
    assert rest.upload_jar(jar) == "x_job.jar"
    boundary, disposition, kind, empty, rest_of_it = flink.bodies["POST /v1/jars/upload"].split(b"\r\n", 4)
    assert disposition == b'Content-Disposition: form-data; name="jarfile"; filename="job.jar"'
    assert (kind, empty) == (b"Content-Type: application/x-java-archive", b"")
    assert rest_of_it == jar.read_bytes() + b"\r\n" + boundary + b"--\r\n"


def test_a_jar_is_run_from_a_savepoint(flink: Flink, rest: FlinkRest) -> None:
    flink.add("POST /v1/jars/x_job.jar/run", (200, {"jobid": JOB}))
    assert rest.run_jar(JarId("x_job.jar"), "file:/sp") == JOB
    assert json.loads(flink.bodies["POST /v1/jars/x_job.jar/run"]) == {
        "entryClass": "org.apache.beam.runners.flink.FlinkPipelineRunner",
        "savepointPath": "file:/sp",
        "allowNonRestoredState": False,
    }


def test_a_savepoint_is_awaited(flink: Flink, rest: FlinkRest) -> None:
    path = f"/v1/jobs/{JOB}/savepoints"
    flink.add(f"POST {path}", (202, {"request-id": "r1"}))
    flink.add(
        f"GET {path}/r1",
        (200, {"status": {"id": "IN_PROGRESS"}, "operation": None}),
        (200, {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/sp/1"}}),
    )
    assert rest.savepoint(JOB, "file:/sp", cancel=True) == "file:/sp/1"
    assert json.loads(flink.bodies[f"POST {path}"]) == {"target-directory": "file:/sp", "cancel-job": True}


def test_a_failed_savepoint_says_why(flink: Flink, rest: FlinkRest) -> None:
    cause = {"class": "x", "stack-trace": "java.io.IOException: no such folder\n\tat x.Y"}
    flink.add(f"POST /v1/jobs/{JOB}/savepoints", (202, {"request-id": "r1"}))
    answer = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": cause}}
    flink.add(f"GET /v1/jobs/{JOB}/savepoints/r1", (200, answer))
    with pytest.raises(RestError, match=r"savepoint failed: java\.io\.IOException: no such folder$"):
        rest.savepoint(JOB, "/x")


def test_waiting_ends_with_the_state_or_with_the_reason(flink: Flink, rest: FlinkRest) -> None:
    entry = {"jid": JOB, "name": "n"}
    flink.add(f"GET /v1/jobs/{JOB}", (200, entry | {"state": "CREATED"}), (200, entry | {"state": "RUNNING"}))
    assert rest.wait_for(JOB, frozenset({"RUNNING"})) == Job(JOB, "n", "RUNNING")
    flink.add(f"GET /v1/jobs/{JOB}", (200, entry | {"state": "FAILED"}))
    flink.add(f"GET /v1/jobs/{JOB}/exceptions", (200, {"root-exception": "java.lang.Error: out of luck"}))
    with pytest.raises(RestError, match=r"is FAILED, not RUNNING: java\.lang\.Error: out of luck"):
        rest.wait_for(JOB, frozenset({"RUNNING"}))


@pytest.mark.parametrize("latest", [None, {"state_size": 7, "end_to_end_duration": 9, "external_path": "file:/c"}])
def test_checkpoints_are_read_before_and_after_the_first(flink: Flink, rest: FlinkRest, latest: object) -> None:
    counts = {"completed": 3, "failed": 1, "in_progress": 0, "restored": 2}
    flink.add(f"GET /v1/jobs/{JOB}/checkpoints", (200, {"counts": counts, "latest": {"completed": latest}}))
    sizes = (7, 9, "file:/c") if latest else (0, 0, None)
    assert rest.checkpoints(JOB) == Checkpoints(3, 1, 0, 2, *sizes)


def test_metrics_are_asked_for_by_name(flink: Flink, rest: FlinkRest) -> None:
    flink.add(f"GET /v1/jobs/{JOB}/vertices/v/metrics?get=a%2Cb", (200, [{"id": "a", "value": "1"}, {"id": "b"}]))
    assert rest.metrics(JOB, "v", "a", "b") == {"a": "1", "b": ""}


def test_watermarks_are_numbers(flink: Flink, rest: FlinkRest) -> None:
    flink.add(f"GET /v1/jobs/{JOB}/vertices/v/watermarks", (200, [{"id": "0.currentInputWatermark", "value": "17"}]))
    assert rest.watermarks(JOB, "v") == [17]
    flink.add(f"GET /v1/jobs/{JOB}/vertices/v/watermarks", (200, {}))
    with pytest.raises(RestError, match="a list was expected"):
        rest.watermarks(JOB, "v")


def test_an_error_keeps_flinks_causes_and_drops_its_stack(flink: Flink, rest: FlinkRest) -> None:
    trace = "org.x.RestHandlerException: Could not execute.\n\tat a.b\n\tat c.d\nCaused by: java.lang.X: no jar\n\t... 4 more"
    flink.add(f"PATCH /v1/jobs/{JOB}?mode=cancel", (500, {"errors": ["Internal server error.", trace]}))
    with pytest.raises(RestError) as caught:
        rest.cancel(JOB)
    assert caught.value.status == 500
    assert str(caught.value).endswith(
        "?mode=cancel: 500 Internal server error. | org.x.RestHandlerException: Could not execute. | Caused by: java.lang.X: no jar"
    )


def test_answers_of_another_shape_are_refused(flink: Flink, rest: FlinkRest) -> None:
    flink.add("GET /v1/overview", (200, {"taskmanagers": 1}))
    with pytest.raises(RestError, match="no number 'slots-total'"):
        rest.overview()
    flink.add("GET /v1/overview", (200, b"<html>"))
    with pytest.raises(RestError, match="no usable answer"):
        rest.overview()


def test_nobody_there_is_said_with_a_remedy() -> None:
    with pytest.raises(RestError, match="does the JobManager run there") as caught:
        FlinkRest("http://127.0.0.1:1").jobs()
    assert caught.value.status == 0
