"""What a minute, an hour and a day of aggregates take beside their raw flows, and what 30 days of each cost to ask:
`python -m bench.storage [--minutes 4] [--write PAGE]`.

The traffic is the scenario `bench` (50 exporters, 400 interfaces) at 100,000 flows a second. As much of one minute as half of the
time allows goes through the core, at most all of it; an hour is made of sixty partials of that minute, a day of twenty-four of that
hour, with as many documents as real ones, since each group ranks K and Other. Sizes are those of the embedded store's files, raw
flows as first written. Thirty such days are asked for their largest applications, once from the documents and once from a small
part of as many raw flows, whose cost grows with their number.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from bench.matrix import write_page
from bench.pipeline import LANES, RATE, START_MS
from bus.contract import Entry
from columns.lane import MARKS, absorb, contribution, emit, emit_wide, lay_out_many
from columns.partials import partial_of
from common.config import Settings
from flowpb.documents import LEVEL_DAY, LEVEL_HOUR, LEVEL_MINUTE
from flowpb.groupings import LEVEL_MS
from flowpb.partials import partial_row
from ingest.loadgen.batches import BusEntry
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.run import Player
from pipelines.direct import Work
from pipelines.embedded import work_of
from pipelines.intake import Intake
from pipelines.rollup import Due, Rules, make
from query.planner import Asked, plan
from stores.cascade import squeezed
from stores.parquet.cascade import ParquetCascade
from stores.parquet.layout import PendingFile
from stores.parquet.manifest import Commit, Manifest
from stores.parquet.reader import ParquetStore
from stores.parquet.writer import write_aggregates, write_raw
from stores.questions import Filters, Items, Source, Span, TopQuery
from transforms.flows import AcceptedBatch

WINDOW_MS: Final = LEVEL_MS[LEVEL_MINUTE]
DAY_MS: Final = LEVEL_MS[LEVEL_DAY]
DAYS: Final = 30
_RAW_A_DAY: Final = RATE
"""Raw flows of each of the days that are asked for; a real one has 86,400 times as many."""
_START_DAY_MS: Final = START_MS // DAY_MS * DAY_MS
_TIMES: Final = ("received_ms", "exported_ms", "first_switched_ms", "delta_switched_ms", "last_switched_ms")


@dataclass(slots=True)
class Minute:
    """What the core made of the traffic of one window: parts by lane, and some of the flows as they were enriched."""

    seconds: float = 0.0
    flows: int = 0
    parts: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    first: list[AcceptedBatch] = field(default_factory=list)


def measure(minutes: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Octets and documents of each level, as shares of raw, and what asking takes."""
    with tempfile.TemporaryDirectory(prefix="nephrite-bench-") as name:
        folder, work = Path(name), work_of(Settings())
        minute = minute_of(work, time.monotonic() + minutes * 30, tell)
        with Manifest.open(folder / "levels", writer=True) as manifest:
            sizes, documents = _levels(manifest, work, minute, tell)
        tell(f"{DAYS} days are written")
        _thirty_days(folder / "days", documents[LEVEL_DAY], minute.first)
        tell("and asked")
        return {**sizes, "thirty_days": _asked(folder / "days")}


def minute_of(work: Work, until_s: float, tell: Callable[[str], None]) -> Minute:
    """The traffic of one window, as much of it as there is time for."""
    wanted_ms, minute = START_MS // WINDOW_MS * WINDOW_MS, Minute()
    scenario = BUILTIN["bench"].model_copy(update={"rate": RATE, "duration_s": WINDOW_MS // 1000})
    logs: dict[int, Any] = {}
    told = [0]

    def take(entry: BusEntry) -> bool:
        intake = Intake(logs, LANES)
        intake.take([Entry(entry.lane, told[0], entry.lane, 1 << 60, entry.value)])
        for batch in intake.accepted.get(entry.lane, ()):
            _lay_out(work, minute, batch, wanted_ms)
        minute.seconds = minute.flows / RATE
        if minute.seconds >= told[0] + 5:
            told[0] = int(minute.seconds)
            tell(f"{told[0]} of 60 seconds of traffic")
        return time.monotonic() < until_s

    Player(scenario, START_MS, lambda _task, _reached: None, lambda: False).to_bus(take, with_answer=False)
    return minute


def _lay_out(work: Work, minute: Minute, batch: AcceptedBatch, wanted_ms: int) -> None:
    if not batch.flows.num_rows:
        return
    enriched = work.enricher.enrich(batch.flows)
    laid = lay_out_many([(enriched, batch.mark_ms, batch.frontier_ms)], work.limits)
    if wanted_ms in laid.parts:
        minute.parts[batch.lane].append(laid.parts[wanted_ms])
    minute.flows += batch.flows.num_rows
    if sum(each.flows.num_rows for each in minute.first) < _RAW_A_DAY:
        minute.first.append(replace(batch, flows=enriched))


def _levels(
    manifest: Manifest, work: Work, minute: Minute, tell: Callable[[str], None]
) -> tuple[dict[str, Any], Mapping[str, pa.Table]]:
    folder, rules = manifest.pending_dir, Rules(work.limits, work.enricher)
    made_of = {
        lane: emit(absorb(None, parts, work.limits, True), lane, 0, MARKS, True, work.limits)
        for lane, parts in sorted(minute.parts.items())
    }
    wide = emit_wide([contribution(base, work.limits) for base, _ in made_of.values()], 0, MARKS, True, work.limits)
    documents = {LEVEL_MINUTE: pa.concat_tables([*(table for _, table in made_of.values()), wide])}
    partials = [partial_of(base, lane, 0, work.limits) for lane, (base, _) in made_of.items()]
    kept = sum(len(squeezed(row["state"])) for table in partials for row in table.to_pylist())
    states = {row["lane"]: (row["rows"], row["state"]) for table in partials for row in table.to_pylist()}
    cpu: dict[str, float] = {}
    for level, shorter in ((LEVEL_HOUR, LEVEL_MINUTE), (LEVEL_DAY, LEVEL_HOUR)):
        tell(f"a window of {level} is made of {LEVEL_MS[level] // LEVEL_MS[shorter]} of {shorter}")
        starts = range(0, LEVEL_MS[level], LEVEL_MS[shorter])
        copies = [partial_row(lane, at, rows, state, shorter) for at in starts for lane, (rows, state) in states.items()]
        manifest.commit(Commit(partials=copies))
        began = time.process_time()
        made = make(ParquetCascade(manifest), Due(level, 0, dict.fromkeys(states, "bench")), rules)
        cpu[level] = round(time.process_time() - began, 1)
        documents[level] = made.documents
        states = {row["lane"]: (row["rows"], row["state"]) for row in made.partials.to_pylist()}
    sizes = {level: sum(file.bytes for file in write_aggregates(folder, table, level)) for level, table in documents.items()}
    [written] = write_raw(folder, minute.first)
    a_flow = written.bytes / written.rows
    raw = {level: a_flow * RATE * length_ms / 1000 for level, length_ms in LEVEL_MS.items()}
    return {
        "seconds_of_traffic": round(minute.seconds, 1),
        "raw_bytes_a_flow": round(a_flow, 1),
        "documents": {level: table.num_rows for level, table in documents.items()},
        "bytes": sizes,
        "percent_of_raw": {level: round(100 * sizes[level] / raw[level], 5) for level in sizes},
        "partials_percent_of_raw": round(100 * kept / raw[LEVEL_MINUTE], 2),
        "cpu_seconds": cpu,
    }, documents


def _thirty_days(folder: Path, day: pa.Table, batches: Sequence[AcceptedBatch]) -> None:
    """A store with a file of documents and one of raw flows for each of the days."""
    flows = pa.Table.from_batches([each.flows for each in _alike(batches)]).combine_chunks().to_batches()[0].slice(0, _RAW_A_DAY)
    one = replace(batches[0], flows=flows)
    with Manifest.open(folder, writer=True) as manifest:
        for number in range(DAYS):
            start_ms = _START_DAY_MS + number * DAY_MS
            moved = _moved(one, start_ms - _START_DAY_MS)
            files: list[PendingFile] = write_raw(manifest.pending_dir, [moved])
            files += write_aggregates(manifest.pending_dir, _at(day, start_ms), LEVEL_DAY)
            manifest.commit(Commit(files=files))


def _alike(batches: Sequence[AcceptedBatch]) -> list[AcceptedBatch]:
    """Batches with the columns that all of them have, and plain dictionaries."""
    common = set.intersection(*(set(each.flows.schema.names) for each in batches))
    names = [name for name in batches[0].flows.schema.names if name in common]
    tables = [pa.Table.from_batches([each.flows]).select(names) for each in batches]
    whole = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries().combine_chunks()
    return [replace(batches[0], flows=batch) for batch in whole.to_batches()]


def _moved(batch: AcceptedBatch, by_ms: int) -> AcceptedBatch:
    columns = {
        name: pc.add(batch.flows.column(name), by_ms) if name in _TIMES else batch.flows.column(name)
        for name in batch.flows.schema.names
    }
    flows = pa.record_batch(columns, schema=batch.flows.schema)
    return replace(batch, flows=flows, mark_ms=batch.mark_ms + by_ms, frontier_ms=batch.frontier_ms + by_ms)


def _at(documents: pa.Table, start_ms: int) -> pa.Table:
    for name, value in (("window_start_ms", start_ms), ("window_end_ms", start_ms + DAY_MS)):
        place = documents.schema.get_field_index(name)
        column = pa.array([value] * documents.num_rows, documents.schema.field(name).type)
        documents = documents.set_column(place, documents.schema.field(name), column)
    return documents


def _asked(folder: Path) -> dict[str, Any]:
    """The largest applications of all days, from documents and from raw flows: wall and CPU seconds, the best of three."""
    span = Span(_START_DAY_MS, _START_DAY_MS + DAYS * DAY_MS)
    found: dict[str, Any] = {}
    with ParquetStore.open(folder) as store:
        chosen = plan(store, Asked(span.from_ms, span.to_ms), span.to_ms, Items.APPLICATIONS, Filters())
        raw: Source = "raw"
        questions = {
            "documents": TopQuery(Items.APPLICATIONS, chosen.span, Filters(), chosen.source, 10, chosen.pieces),
            "raw": TopQuery(Items.APPLICATIONS, span, Filters(), raw, 10),
        }
        for name, question in questions.items():
            best = min(_timed(store, question) for _ in range(3))
            found[name] = {"source": question.source, "wall_s": round(best[0], 3), "cpu_s": round(best[1], 3)}
    flows, documents, cost = RATE * 86_400 * DAYS, DAYS * 11, found["raw"]["cpu_s"] / (_RAW_A_DAY * DAYS)
    return {
        **found,
        "raw_flows_asked": _RAW_A_DAY * DAYS,
        "raw_us_a_flow": round(cost * 1e6, 2),
        "documents_of_the_answer": documents,
        "times_fewer_documents": flows // documents,
        "thirty_times_faster_from_flows_per_second": round(30 * found["documents"]["cpu_s"] / cost / (DAYS * 86_400), 1),
    }


def _timed(store: ParquetStore, question: TopQuery) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    store.top(question)
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4, help="about how long it may take")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="page whose table is replaced")
    options = parser.parse_args()
    found = measure(options.minutes, lambda line: print(line, file=sys.stderr, flush=True))
    print(json.dumps(found, indent=2))
    if options.write:
        write_page(options.write, table_of(found))


def table_of(found: Mapping[str, Any]) -> str:
    """The page's table, and what it was measured with."""
    share, asked = found["percent_of_raw"], found["thirty_days"]
    longer = share[LEVEL_HOUR] + share[LEVEL_DAY]
    rows = [
        f"{found['seconds_of_traffic']:g} s of traffic at {RATE:,} flows/s, 50 exporters, 400 interfaces; a raw flow has "
        f"{found['raw_bytes_a_flow']} octets as first written.",
        "",
        "| what | budget | measured |",
        "|---|---|---|",
        f"| minutes, octets | 3 % of raw | {share[LEVEL_MINUTE]:.2f} % ({found['documents'][LEVEL_MINUTE]:,} documents a minute) |",
        f"| hours and days, octets | 0.1 % of raw | {longer:.4f} % |",
        f"| partials, kept for 26 h | - | at least {found['partials_percent_of_raw']:.2f} % of the raw flows of that time |",
        f"| top applications of 30 days, documents of the answer | 100 times fewer | {asked['documents_of_the_answer']} of days, "
        f"{asked['times_fewer_documents']:,} times fewer than raw flows |",
        f"| the same, CPU | 30 times faster | {asked['documents']['cpu_s']:.2f} s from days, {asked['raw_us_a_flow']:.1f} us a raw "
        f"flow (of {asked['raw_flows_asked']:,}): 30 times faster from {asked['thirty_times_faster_from_flows_per_second']:g} "
        "flows/s on, more with more |",
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
