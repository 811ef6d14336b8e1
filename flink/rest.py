"""A small typed client of Flink's REST API (v1), as far as Nephrite needs it.

In: the JobManager's URL. Out: frozen values and narrow errors. Refuses to know what a job does. Requests are made with
the standard library; a jar of 100 MB is streamed, never held in memory.
"""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final, NewType
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from flink.errors import RestError

JobId = NewType("JobId", str)
JarId = NewType("JarId", str)

ENTRY_CLASS: Final = "org.apache.beam.runners.flink.FlinkPipelineRunner"
TERMINAL: Final = frozenset({"FINISHED", "CANCELED", "FAILED"})
TIMEOUT_S: Final = 30.0
UPLOAD_TIMEOUT_S: Final = 300.0
POLL_S: Final = 0.1
_CHUNK: Final = 1 << 20
_CAUSES: Final = 6

Json = Mapping[str, "JsonValue"]
JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


@dataclass(frozen=True, slots=True)
class Overview:
    """What the cluster offers."""

    taskmanagers: int
    slots_total: int
    slots_available: int
    flink_version: str


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the JobManager lists it; `state` is Flink's own word (RUNNING, RESTARTING, FAILED, ...)."""

    id: JobId
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class Vertex:
    """One chained operator of a job's graph; `tasks` counts its subtasks by state."""

    id: str
    name: str
    parallelism: int
    state: str
    tasks: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Checkpoint statistics of a job; sizes in bytes, times in ms; `latest_*` are 0 or None before the first."""

    completed: int
    failed: int
    in_progress: int
    restored: int
    latest_bytes: int
    latest_ms: int
    latest_path: str | None


class FlinkRest:
    """Requests to one JobManager. Every method raises RestError when it cannot have its answer."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self.timeout_s = timeout_s

    def overview(self) -> Overview:
        """TaskManagers and slots of the cluster."""
        got = self._get("/overview")
        return Overview(
            taskmanagers=_int(got, "taskmanagers"),
            slots_total=_int(got, "slots-total"),
            slots_available=_int(got, "slots-available"),
            flink_version=_text(got, "flink-version"),
        )

    def upload_jar(self, jar: Path) -> JarId:
        """Upload a jar to the JobManager, which keeps it until it is deleted or stops."""
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="jarfile"; filename="{jar.name}"\r\n'
            "Content-Type: application/x-java-archive\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        request = Request(
            f"{self.url}/v1/jars/upload",
            data=_pieces(head, jar, tail),
            headers={
                "Content-Type": f"multipart/form-data; boundary={boundary}",
                "Content-Length": str(len(head) + jar.stat().st_size + len(tail)),
            },
            method="POST",
        )
        got = self._send(request, UPLOAD_TIMEOUT_S)
        return JarId(_text(got, "filename").rsplit("/", 1)[-1])

    def run_jar(self, jar: JarId, savepoint: str | None = None, *, allow_non_restored: bool = False) -> JobId:
        """Start an uploaded jar, from `savepoint` (a path or URI that a savepoint or checkpoint gave) if there is one."""
        body: dict[str, JsonValue] = {"entryClass": ENTRY_CLASS}
        if savepoint is not None:
            body |= {"savepointPath": savepoint, "allowNonRestoredState": allow_non_restored}
        return JobId(_text(self._post(f"/jars/{quote(jar)}/run", body, UPLOAD_TIMEOUT_S), "jobid"))

    def delete_jar(self, jar: JarId) -> None:
        """Forget an uploaded jar; running jobs do not need it."""
        self._send(Request(f"{self.url}/v1/jars/{quote(jar)}", method="DELETE"))

    def jars(self) -> list[JarId]:
        """Ids of the uploaded jars."""
        return [JarId(_text(entry, "id")) for entry in _objects(self._get("/jars"), "files")]

    def jobs(self) -> list[Job]:
        """All jobs that the JobManager remembers, ended ones too."""
        return [_job(entry) for entry in _objects(self._get("/jobs/overview"), "jobs")]

    def job(self, job: JobId) -> Job:
        """One job."""
        return _job(self._get(f"/jobs/{job}"))

    def vertices(self, job: JobId) -> list[Vertex]:
        """The operators of a job, sources first."""
        return [
            Vertex(
                id=_text(entry, "id"),
                name=_text(entry, "name"),
                parallelism=_int(entry, "parallelism"),
                state=_text(entry, "status"),
                tasks={state: int(str(count)) for state, count in _object(entry, "tasks").items()},
            )
            for entry in _objects(self._get(f"/jobs/{job}"), "vertices")
        ]

    def metrics(self, job: JobId, vertex: str, *names: str) -> dict[str, str]:
        """Values of the named metrics of one operator, as text; without names, which there are (empty values).

        Names start with the subtask's number. Flink collects metrics when asked, at most every ten seconds, and
        answers with what it has: nothing at all the first time.
        """
        query = f"?get={quote(','.join(names))}" if names else ""
        found = self._list(f"/jobs/{job}/vertices/{vertex}/metrics{query}")
        return {_text(entry, "id"): str(entry.get("value", "")) for entry in found}

    def watermarks(self, job: JobId, vertex: str) -> list[int]:
        """Input watermarks of an operator's subtasks, in ms; empty until Flink has collected them (see `metrics`)."""
        return [int(_text(entry, "value")) for entry in self._list(f"/jobs/{job}/vertices/{vertex}/watermarks")]

    def checkpoints(self, job: JobId) -> Checkpoints:
        """How checkpointing of a job goes."""
        got = self._get(f"/jobs/{job}/checkpoints")
        counts, latest = _object(got, "counts"), _object(got, "latest").get("completed")
        done = latest if isinstance(latest, dict) else {}
        path = done.get("external_path")
        return Checkpoints(
            completed=_int(counts, "completed"),
            failed=_int(counts, "failed"),
            in_progress=_int(counts, "in_progress"),
            restored=_int(counts, "restored"),
            latest_bytes=_int(done, "state_size") if done else 0,
            latest_ms=_int(done, "end_to_end_duration") if done else 0,
            latest_path=path if isinstance(path, str) else None,
        )

    def heap_bytes(self) -> int:
        """What the heaps of all TaskManagers hold, rubbish included; 0 until Flink has collected it (see `metrics`)."""
        name = "Status.JVM.Memory.Heap.Used"
        found = self._list(f"/taskmanagers/metrics?get={name}&agg=sum")
        return sum(int(float(str(entry.get("sum", 0)))) for entry in found if entry.get("id") == name)

    def root_exception(self, job: JobId) -> str:
        """Why the job last failed, empty when it never did."""
        return str(self._get(f"/jobs/{job}/exceptions").get("root-exception") or "")

    def cancel(self, job: JobId) -> None:
        """Ask for the job's end, without a savepoint; see `wait_for`."""
        self._send(Request(f"{self.url}/v1/jobs/{job}?mode=cancel", method="PATCH"))

    def savepoint(self, job: JobId, folder: str | None, *, cancel: bool = False, timeout_s: float = 120.0) -> str:
        """Write a savepoint below `folder` (a URI or path on the cluster) and return its path; end the job if `cancel`.

        Without a folder it goes where the cluster is configured to keep them.

        Raises RestError when it fails or is not complete after `timeout_s`.
        """
        asked = self._post(f"/jobs/{job}/savepoints", {"target-directory": folder, "cancel-job": cancel})
        path = f"/jobs/{job}/savepoints/{_text(asked, 'request-id')}"
        until = time.monotonic() + timeout_s
        while (status := _text(_object(got := self._get(path), "status"), "id")) != "COMPLETED":
            if time.monotonic() > until:
                raise RestError(f"{self.url}{path}: savepoint still {status} after {timeout_s:.0f} s")
            time.sleep(POLL_S)
        operation = _object(got, "operation")
        if "location" not in operation:
            raise RestError(f"{self.url}{path}: savepoint failed: {_cause(operation.get('failure-cause'))}")
        return _text(operation, "location")

    def wait_for(self, job: JobId, states: frozenset[str] = TERMINAL, timeout_s: float = 60.0) -> Job:
        """Return the job once it is in one of `states`; RestError when it ends in another or `timeout_s` passes."""
        until = time.monotonic() + timeout_s
        while (now := self.job(job)).state not in states:
            if now.state in TERMINAL or time.monotonic() > until:
                wanted = " or ".join(sorted(states))
                raise RestError(f"{self.url}: job {job} is {now.state}, not {wanted}: {self.root_exception(job)[:500]}")
            time.sleep(POLL_S)
        return now

    def _get(self, path: str) -> Json:
        return self._send(Request(f"{self.url}/v1{path}"))

    def _list(self, path: str) -> list[Json]:
        got = self._read(Request(f"{self.url}/v1{path}"), self.timeout_s)
        if not isinstance(got, list):
            raise RestError(f"{self.url}/v1{path}: a list was expected")
        return [entry for entry in got if isinstance(entry, dict)]

    def _post(self, path: str, body: Json, timeout_s: float | None = None) -> Json:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return self._send(Request(f"{self.url}/v1{path}", data=data, headers=headers, method="POST"), timeout_s)

    def _send(self, request: Request, timeout_s: float | None = None) -> Json:
        got = self._read(request, timeout_s or self.timeout_s)
        if not isinstance(got, dict):
            raise RestError(f"{request.full_url}: an object was expected")
        return got

    def _read(self, request: Request, timeout_s: float) -> JsonValue:
        where = f"{request.get_method()} {request.full_url}"
        try:
            with urlopen(request, timeout=timeout_s) as answer:
                got: JsonValue = json.loads(answer.read() or b"{}")
        except HTTPError as err:
            with err:
                raise RestError(f"{where}: {err.code} {_reason(err.read())}", err.code) from err
        except (OSError, HTTPException, ValueError) as err:
            raise RestError(f"{where}: no usable answer ({err}); does the JobManager run there?") from err
        return got


def _pieces(head: bytes, body: Path, tail: bytes) -> Iterator[bytes]:
    yield head
    with body.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
    yield tail


def _reason(body: bytes) -> str:
    """What Flink says went wrong, from outside and from the bottom: its errors carry whole Java stack traces."""
    try:
        errors = json.loads(body)["errors"]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
    causes = [line for error in errors for line in str(error).splitlines() if not line.startswith(("\tat ", "\t..."))]
    return " | ".join(causes if len(causes) <= _CAUSES else [*causes[:2], *causes[2 - _CAUSES :]])


def _cause(failure: JsonValue) -> str:
    trace = failure.get("stack-trace") if isinstance(failure, dict) else None
    return str(trace or failure).partition("\n")[0]


def _job(entry: Json) -> Job:
    return Job(JobId(_text(entry, "jid")), _text(entry, "name"), _text(entry, "state"))


def _text(got: Json, key: str) -> str:
    value = got.get(key)
    if not isinstance(value, str):
        raise RestError(f"flink's answer has no text {key!r}: {str(got)[:200]}")
    return value


def _int(got: Json, key: str) -> int:
    value = got.get(key)
    if not isinstance(value, int):
        raise RestError(f"flink's answer has no number {key!r}: {str(got)[:200]}")
    return value


def _object(got: Json, key: str) -> Json:
    value = got.get(key)
    if not isinstance(value, dict):
        raise RestError(f"flink's answer has no object {key!r}: {str(got)[:200]}")
    return value


def _objects(got: Json, key: str) -> list[Json]:
    value = got.get(key)
    if not isinstance(value, list):
        raise RestError(f"flink's answer has no list {key!r}: {str(got)[:200]}")
    return [entry for entry in value if isinstance(entry, dict)]
