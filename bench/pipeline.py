"""How much of a core the embedded pipeline takes: batches on a bus in memory -> enriched, classified, aggregated documents.

The traffic is the scenario `bench` (50 exporters, 400 interfaces) at 100,000 flows a second, or a capture; runs take about one
second of it, as the service does. CPU is that of this process, everything included: Beam, the manifest, files and their syncs.
"""

import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.stages import REST, timed
from bus.memory import MemoryLog, MemoryProducer, MemorySource
from common.config import Ingest, Settings
from ingest.loadgen.batches import BusEntry
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.run import Player
from ingest.replay import entries_of_capture
from pipelines.aggregate import Outputs
from pipelines.direct import MicroBatches, Work
from pipelines.embedded import work_of
from stores.parquet.manifest import Manifest

RATE: Final = 100_000
LANES: Final = 16
START_MS: Final = 1_700_000_040_000
_CLOSING: Final = 0.97
Entries = Sequence[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Figures:
    """What was done, and what it took: of all processes that take part, in seconds."""

    flows: int
    documents: int
    wall_s: float
    cpu_s: float
    parts: Mapping[str, float] = field(default_factory=dict)
    """The same by stage, or by process."""
    backlog: int = 0
    """Flows that were done in `wall_s`, where that is not all of them."""

    @property
    def flows_per_second(self) -> float:
        """On the clock on the wall."""
        return (self.backlog or self.flows) / self.wall_s

    @property
    def us_by_part(self) -> dict[str, float]:
        """CPU microseconds per flow of each part."""
        return {name: spent / self.flows * 1e6 for name, spent in self.parts.items()}

    @property
    def us_per_flow(self) -> float:
        """CPU microseconds per flow, which is CPU seconds per million flows."""
        return self.cpu_s / self.flows * 1e6

    def as_json(self) -> dict[str, Any]:
        """For the command."""
        return {
            "flows": self.flows,
            "documents": self.documents,
            "flows_per_second": round(self.flows_per_second),
            "cpu_seconds_per_million_flows": round(self.us_per_flow, 2),
            "by_part": {name: round(us, 2) for name, us in self.us_by_part.items()},
        }


def measure(capture: Path | None, seconds: int) -> dict[str, Any]:
    """Flows, CPU seconds per million flows and flows per second, with and without raw flows."""
    entries = list(entries_of_capture(capture, Ingest(), LANES, "bench")) if capture else generated(seconds)
    return {
        "traffic": str(capture or f"bench, {RATE} flows/s, {seconds} s"),
        "aggregates": run(slices(entries, seconds), Settings(), raw=False).as_json(),
        "aggregates_and_raw": run(slices(entries, seconds), Settings(), raw=True).as_json(),
    }


def generated(seconds: int, start_ms: int = START_MS) -> Entries:
    """Bus entries of the scenario `bench` at RATE."""
    scenario = BUILTIN["bench"].model_copy(update={"rate": RATE, "duration_s": seconds})
    entries: list[tuple[int, bytes]] = []

    def keep(entry: BusEntry) -> bool:
        entries.append((entry.lane, entry.value))
        return True

    Player(scenario, start_ms, lambda _task, _reached: None, lambda: False).to_bus(keep, with_answer=False)
    return entries


def slices(entries: Entries, seconds: int) -> Iterator[Entries]:
    """About a second of entries at a time; what only closes windows comes last, in one."""
    step = max(1, math.ceil(len(entries) * _CLOSING / seconds))
    yield from (entries[at : at + step] for at in range(0, len(entries), step))


def run(due: Iterable[Entries], settings: Settings, raw: bool) -> Figures:
    """Runs of the micro-batch driver over entries that come one part after another; the first part only warms up."""
    log = MemoryLog(LANES)
    producer = MemoryProducer(log)
    base = work_of(settings)
    work = Work(base.enricher, base.limits, LANES, outputs=Outputs(raw=raw))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nephrite-bench-")))
        manifest = stack.enter_context(Manifest.open(folder, writer=True))
        driver = MicroBatches(MemorySource(log), manifest, work)
        flows, cpu, wall = 0, 0.0, 0.0
        spent = stack.enter_context(timed())
        for number, part in enumerate(due):
            for lane, value in part:
                producer.send(lane, value)
            started = time.process_time(), time.perf_counter()
            done = driver.drain()
            if number:
                flows, cpu, wall = flows + done, cpu + time.process_time() - started[0], wall + time.perf_counter() - started[1]
            else:  # rules are compiled and modules loaded, once in a process's life
                spent.update(dict.fromkeys(spent, 0.0))
        documents = manifest.load().counters.get("pipeline_documents_total", 0)
    return Figures(flows, documents, wall, cpu, {**spent, REST: cpu - sum(spent.values())})
