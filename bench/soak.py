"""Whether memory stays flat: a job on Flink, or `nephrite up`, under a constant load for as long as asked.

In: minutes and a load. Out: memory of each process by minute and its slope over the second half, size of state, and whether all
that was sent is in the documents. The first half fills what is bounded: caches, heaps, windows that are still open (17 minutes of
them). A job on Flink is fed four times as fast as its time goes by, and first watched while it has nothing to do, since the old
runner leaks a little by itself.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from bench import on_flink
from bench.cases import CASES, closing, endless
from bench.memory import HEAP, Memory
from bench.written import Sums
from common.config import Pipeline, Settings
from flowpb.codec import Header

RATE: Final = 5_000
PACE: Final = 4
_SAMPLE_S: Final = 5.0
_PATIENCE_S: Final = 300.0
_MB: Final = 1e6
Figures = Mapping[str, float]
Show = Callable[[str], None]


def silent(line: str) -> None:
    """Shows nothing."""


@dataclass(slots=True)
class Watched:
    """What was seen in a time: memory by process, and one row of figures for each minute."""

    memory: Memory = field(default_factory=Memory)
    rows: list[dict[str, float]] = field(default_factory=list)

    @property
    def slopes(self) -> dict[str, dict[str, float]]:
        """MB at the end and MB an hour over the second half, by process."""
        return self.memory.figures()


@dataclass(slots=True)
class Soak:
    """A run: `idle` is a job on Flink with nothing to do; `counts` what else counted once, at the end."""

    load: Watched
    sent: Sums
    written: Sums
    counts: dict[str, float]
    idle: Watched | None = None

    def as_json(self) -> dict[str, Any]:
        """For people and scripts."""
        idle = {"idle": self.idle.slopes} if self.idle else {}
        sums = {name: [each.flows, each.octets] for name, each in (("sent", self.sent), ("in documents", self.written))}
        return {**idle, "load": self.load.slopes, "minutes": self.load.rows, "flows and octets": sums, "counts": self.counts}


def watch(
    minutes: float, held: Callable[[], Mapping[str, int]], state: Callable[[], Figures], give: Callable[[], None], show: Show
) -> Watched:
    """So many minutes, with `give` called `PACE` times a second, memory sampled often, and a row of both each minute."""
    seen, started, given, sampled = Watched(), time.monotonic(), 0, 0
    while (passed := time.monotonic() - started) < minutes * 60:
        if passed * PACE > given:
            give()
            given += 1
        if passed > sampled * _SAMPLE_S:
            seen.memory.sample(held())
            sampled += 1
        if passed > (len(seen.rows) + 1) * 60:
            _close_minute(seen, state(), show)
        time.sleep(0.02)
    _close_minute(seen, state(), show)
    return seen


def _close_minute(seen: Watched, state: Figures, show: Show) -> None:
    by_minute = seen.memory.by_minute()
    minute = len(seen.rows)
    row = {"minute": minute + 1.0, **{name: values[min(minute, len(values) - 1)] for name, values in by_minute.items()}, **state}
    seen.rows.append(row)
    show("  ".join(f"{name} {value:g}" for name, value in row.items()))


def flink(minutes: float, idle_minutes: float, rate: int = RATE, show: Show = silent) -> Soak:
    """An idle job, then the same job under load; at its end all windows are closed. Raises TimeoutError when nothing is written."""
    last: dict[int, Header] = {}
    due = endless(CASES[1], rate, 5, last)
    with on_flink.running(Settings(pipeline=Pipeline()), next(due)) as line:
        idle = watch(idle_minutes, lambda: _held(line), lambda: _state(line), lambda: None, show)
        load = watch(minutes, lambda: _held(line), lambda: _state(line), lambda: line.give(next(due)), show)
        line.give(list(closing(last)))
        with suppress(TimeoutError):  # the figures tell it, too
            line.wait(line.has_all, "documents of all that was sent", _PATIENCE_S)
        counts = {**_state(line), "restarts": float(line.rest.checkpoints(line.job).restored)}
        return Soak(load, line.sent, line.written.sums, counts, idle)


def _held(line: on_flink.Line) -> dict[str, int]:
    """Memory by process, and of the TaskManager's what its heap holds."""
    return {**line.resident(), HEAP: line.rest.heap_bytes()}


def _state(line: on_flink.Line) -> dict[str, float]:
    """The latest checkpoint, and documents so far."""
    line.count()
    latest = line.rest.checkpoints(line.job)
    took, size = round(latest.latest_ms / 1_000, 2), round(latest.latest_bytes / _MB, 2)
    sums = {"sent": line.sent.flows, "in documents": line.written.sums.flows, "documents": line.written.documents}
    return {"checkpoint_mb": size, "checkpoint_s": took, "failed": latest.failed, **sums}


def lines(soak: Soak, every: int = 5) -> Iterator[str]:
    """A table: the first minutes and every so many, then slopes of the second half."""
    names = list(soak.load.rows[0])
    yield "| " + " | ".join(_HEADS.get(name, name) for name in names) + " |"
    yield "|" + "---|" * len(names)
    for row in soak.load.rows:
        if row["minute"] in (1, 2, len(soak.load.rows)) or row["minute"] % every == 0:
            yield "| " + " | ".join(f"{row[name]:,.0f}" if row[name] >= 100 else f"{row[name]:g}" for name in names) + " |"
    slopes = soak.load.slopes
    cells = (f"{slopes[name]['mb_per_hour']:+g}" if name in slopes else "" for name in names[1:])
    yield "| MB an hour | " + " | ".join(cells) + " |"


_HEADS: Final = {
    "worker": "Python worker, MB",
    "taskmanager": "TaskManager, MB",
    "jobmanager": "JobManager, MB",
    HEAP: "of it live heap, MB",
    "ingest": "ingest, MB",
    "pipeline": "pipeline, MB",
    "serve": "serve, MB",
    "checkpoint_mb": "checkpoint, MB",
    "checkpoint_s": "took, s",
    "failed": "failed",
    "state_mb": "open windows, MB",
    "spool_mb": "spool, MB",
    "sent": "flows sent",
    "in documents": "flows in documents",
}
