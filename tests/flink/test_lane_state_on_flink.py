"""What Nephrite's aggregation needs of Flink, proven on a real cluster with processes killed under it."""

import functools
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flink.rest import JobId
from flink.submit import submit
from tests.flink import lane_job
from tests.flink.lane_job import MARKS_MS, Topic
from tests.servers.flink import FlinkCluster

pytestmark = pytest.mark.server("flink")

LANES = 4
LAST_MARK = len(MARKS_MS) - 1
START_UP_S = 8.0
DEADLINE_S = 75.0


@dataclass(frozen=True, slots=True)
class Write:
    """One document as the sink got it."""

    time_s: float
    pid: int
    lane: int
    start_ms: int
    mark: int
    parts: int
    checksum: int
    timestamp_ms: int

    @property
    def group(self) -> tuple[int, int]:
        return self.lane, self.start_ms


def writes(out: Path) -> list[Write]:
    lines = [line.split() for file in out.glob("*.txt") for line in file.read_text().splitlines(keepends=True) if line[-1] == "\n"]
    return sorted((Write(float(time_s), *map(int, rest)) for time_s, *rest in lines), key=lambda write: write.time_s)


def finished(out: Path) -> set[tuple[int, int]]:
    return {write.group for write in writes(out) if write.mark == LAST_MARK}


def until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {deadline_s:.0f} s"
        time.sleep(0.1)


@contextmanager
def running(cluster: FlinkCluster, topic: Topic, **changes: Any) -> Iterator[JobId]:
    job = submit(functools.partial(lane_job.build, topic=topic, lanes=LANES), cluster.options(**changes))
    try:
        yield job
    finally:
        cluster.cancel(job)


def assert_exact(out: Path, topic: Topic) -> None:
    """Every window's last document holds every part once; no document ever held a part twice."""
    answer = lane_job.expected(topic, LANES)
    last = {(write.group, write.parts, write.checksum) for write in writes(out) if write.mark == LAST_MARK}
    assert last == {(group, *total) for group, total in answer.items()}
    assert [write for write in writes(out) if write.mark < 0 or write.parts > answer[write.group][0]] == []


def assert_marks_in_order(out: Path) -> None:
    """Within one worker's life a window's marks come in order, each at its own time."""
    marks = defaultdict(list)
    for write in writes(out):
        marks[write.pid, write.group].append(write.mark)
        assert write.timestamp_ms == write.start_ms + lane_job.WINDOW_MS + MARKS_MS[write.mark]
    assert [seen for seen in marks.values() if seen != sorted(set(seen))] == []


def test_state_and_timers_survive_killed_workers_and_taskmanagers(flink_cluster: FlinkCluster, tmp_path: Path) -> None:
    topic = Topic(start_s=time.time() + START_UP_S, rate=12.0, batches=160, ends=False, out=str(tmp_path))
    with running(flink_cluster, topic) as job:
        until(lambda: len(writes(tmp_path)) >= 30, "first documents")
        os.kill(flink_cluster.worker_pids()[0], signal.SIGKILL)
        seen = len(writes(tmp_path))
        until(lambda: len(writes(tmp_path)) >= seen + 20, "documents after a worker was killed")
        flink_cluster.kill_taskmanager()
        flink_cluster.start_taskmanager()
        until(lambda: finished(tmp_path) == set(lane_job.expected(topic, LANES)), "all windows finished")
        checkpoints = flink_cluster.rest.checkpoints(job)
        assert checkpoints.restored >= 2
        # 0.3 MB when all windows are closed; a runner that keeps every residual of the source is at 3 MB by now
        assert checkpoints.latest_bytes < 1_000_000
    assert_exact(tmp_path, topic)
    assert_marks_in_order(tmp_path)


def test_a_source_that_ends_fires_every_mark_once(flink_cluster: FlinkCluster, tmp_path: Path) -> None:
    topic = Topic(start_s=time.time(), rate=1_000.0, batches=60, ends=True, out=str(tmp_path))
    with running(flink_cluster, topic) as job:
        until(lambda: finished(tmp_path) == set(lane_job.expected(topic, LANES)), "all windows finished")
        assert flink_cluster.rest.root_exception(job) == ""
    assert_exact(tmp_path, topic)
    assert_marks_in_order(tmp_path)
    assert len(writes(tmp_path)) == len(MARKS_MS) * len(lane_job.expected(topic, LANES))


def test_a_savepoint_carries_state_and_timers_into_the_next_job(flink_cluster: FlinkCluster, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    topic = Topic(start_s=time.time() + START_UP_S, rate=16.0, batches=100, ends=False, out=str(out))
    with running(flink_cluster, topic) as first:
        until(lambda: len(writes(out)) >= 30, "first documents")
        savepoint = flink_cluster.rest.savepoint(first, (tmp_path / "savepoints").as_uri(), cancel=True)
        flink_cluster.rest.wait_for(first)
    before = len(writes(out))
    with running(flink_cluster, topic, savepoint=savepoint):
        until(lambda: finished(out) == set(lane_job.expected(topic, LANES)), "all windows finished")
    assert_exact(out, topic)
    every_mark = len(MARKS_MS) * len(lane_job.expected(topic, LANES))
    assert before < len(writes(out)) == every_mark, "a stop with a savepoint repeats nothing"
