"""Whether memory stays flat: a job on Flink, or `nephrite up`, under a constant load for as long as asked.

In: minutes and a load. Out: memory of each process by minute and its slope over the second half, size of state, and whether all
that was sent is in the documents. The first half fills what is bounded: caches, heaps, windows that are still open (17 minutes of
them). A job on Flink is fed four times as fast as its time goes by, and first watched while it has nothing to do, since the old
runner leaks a little by itself.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bench import on_flink
from bench.cases import CASES, Entries, closing, endless
from bench.memory import HEAP, Memory
from bench.written import Sums, Written, sums_of
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
    with on_flink.running(Settings(pipeline=Pipeline())) as line:
        fed = Fed(line)
        fed.give(next(due))
        line.settle()
        fed.wait(lambda: fed.written.documents > 0, "documents of the first second")
        idle = watch(idle_minutes, fed.held, fed.state, lambda: None, show)
        load = watch(minutes, fed.held, fed.state, lambda: fed.give(next(due)), show)
        fed.give(list(closing(last)))
        fed.wait(lambda: fed.written.sums == fed.sent, "documents of all that was sent", fails=False)
        counts = {**fed.state(), "restarts": float(line.rest.checkpoints(line.job).restored)}
        return Soak(load, fed.sent, fed.written.sums, counts, idle)


@dataclass(slots=True)
class Fed:
    """A job on Flink, what it got, and what it has written so far."""

    line: on_flink.Line
    sent: Sums = field(default_factory=Sums)
    written: Written = field(default_factory=Written)

    def give(self, part: Entries) -> None:
        """To the job."""
        brought = sums_of(part)
        self.sent.flows += brought.flows
        self.sent.octets += brought.octets
        self.line.give(part)

    def held(self) -> dict[str, int]:
        """Memory by process, and of the TaskManager's what its heap holds."""
        return {**self.line.resident(), HEAP: self.line.rest.heap_bytes()}

    def state(self) -> dict[str, float]:
        """The latest checkpoint, and documents so far."""
        self._count()
        latest = self.line.rest.checkpoints(self.line.job)
        took, size = round(latest.latest_ms / 1_000, 2), round(latest.latest_bytes / _MB, 2)
        sums = {"sent": self.sent.flows, "in documents": self.written.sums.flows, "documents": self.written.documents}
        return {"checkpoint_mb": size, "checkpoint_s": took, "failed": latest.failed, **sums}

    def wait(self, reached: Callable[[], bool], what: str, fails: bool = True) -> None:
        """Until so; when it does not come, TimeoutError with what the job says, or back to the figures, which tell it, too."""
        until = time.monotonic() + _PATIENCE_S
        while not reached():
            if time.monotonic() > until:
                if not fails:
                    return
                said = self.line.rest.root_exception(self.line.job)[:300] or "nothing"
                raise TimeoutError(
                    f"no {what} within {_PATIENCE_S:.0f} s: sent {self.sent}, written {self.written.sums}, "
                    f"{self.written.documents} documents; the job says: {said}"
                )
            time.sleep(_SAMPLE_S / 5)
            self._count()

    def _count(self) -> None:
        documents = self.line.folder / "documents"
        self.written.take_files(documents)
        for file in (documents / "ledger").glob("*.ndjson"):
            file.unlink()


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
