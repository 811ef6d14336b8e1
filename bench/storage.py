"""What a minute, an hour and a day of aggregates take beside their raw flows: `python -m bench.storage [--seconds N]`.

The traffic is the scenario `bench` (50 exporters, 400 interfaces) at 100,000 flows a second. A whole minute of it goes through the
core; an hour is made of sixty partials of that minute, a day of twenty-four of that hour, with as many documents as real ones,
since each group ranks K and Other. Sizes are those of the embedded store's files, raw flows as first written.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from bench.pipeline import LANES, RATE, START_MS, generated
from bus.contract import Entry
from columns.lane import MARKS, absorb, contribution, emit, emit_wide, lay_out_many
from columns.partials import partial_of
from common.config import Settings
from flowpb.documents import LEVEL_DAY, LEVEL_HOUR, LEVEL_MINUTE
from flowpb.groupings import LEVEL_MS
from flowpb.partials import partial_row
from pipelines.embedded import work_of
from pipelines.intake import Intake
from pipelines.rollup import Due, Rules, make
from stores.cascade import squeezed
from stores.parquet.cascade import ParquetCascade
from stores.parquet.manifest import Commit, Manifest
from stores.parquet.writer import write_aggregates, write_raw

WINDOW_MS: Final = LEVEL_MS[LEVEL_MINUTE]


def measure(seconds: int) -> dict[str, Any]:
    """Octets and documents of each level, as shares of raw, and what making an hour costs."""
    with tempfile.TemporaryDirectory(prefix="nephrite-bench-") as name, Manifest.open(Path(name), writer=True) as manifest:
        return _measure(manifest, seconds)


def _measure(manifest: Manifest, seconds: int) -> dict[str, Any]:
    work, folder = work_of(Settings()), manifest.pending_dir
    rules = Rules(work.limits, work.enricher)
    raw_bytes_a_flow, minute = _minute(work, folder, seconds)
    partials = [partial_of(base, lane, 0, work.limits) for lane, (base, _) in minute.items()]
    wide = emit_wide([contribution(base, work.limits) for base, _ in minute.values()], 0, MARKS, True, work.limits)
    documents = {LEVEL_MINUTE: pa.concat_tables([*(table for _, table in minute.values()), wide])}
    states = {row["lane"]: (row["rows"], row["state"]) for table in partials for row in table.to_pylist()}
    cpu: dict[str, float] = {}
    for level, shorter in ((LEVEL_HOUR, LEVEL_MINUTE), (LEVEL_DAY, LEVEL_HOUR)):
        starts = range(0, LEVEL_MS[level], LEVEL_MS[shorter])
        copies = [partial_row(lane, at, rows, state, shorter) for at in starts for lane, (rows, state) in states.items()]
        manifest.commit(Commit(partials=copies))
        began = time.process_time()
        made = make(ParquetCascade(manifest), Due(level, 0, dict.fromkeys(states, "bench")), rules)
        cpu[level] = round(time.process_time() - began, 1)
        documents[level] = made.documents
        states = {row["lane"]: (row["rows"], row["state"]) for row in made.partials.to_pylist()}
    sizes = {level: sum(file.bytes for file in write_aggregates(folder, table, level)) for level, table in documents.items()}
    raw = {level: raw_bytes_a_flow * RATE * length_ms / 1000 for level, length_ms in LEVEL_MS.items()}
    kept = sum(len(squeezed(state["state"])) for table in partials for state in table.to_pylist())
    return {
        "raw_bytes_a_flow": round(raw_bytes_a_flow, 1),
        "documents": {level: table.num_rows for level, table in documents.items()},
        "bytes": sizes,
        "percent_of_raw": {level: round(100 * sizes[level] / raw[level], 4) for level in sizes},
        "partials_percent_of_raw": round(100 * kept / raw[LEVEL_MINUTE], 2),
        "cpu_seconds": cpu,
        "documents_of_30_days": {
            "minutes": documents[LEVEL_MINUTE].num_rows * 30 * 1440,
            "days": documents[LEVEL_DAY].num_rows * 30,
        },
    }


def _minute(work: Any, folder: Path, seconds: int) -> tuple[float, dict[int, tuple[bytes, pa.Table]]]:
    """Octets of a raw flow, and the base and the documents of every lane of one whole minute."""
    wanted_ms = -(-START_MS // WINDOW_MS) * WINDOW_MS
    first: list[Any] = []
    parts: dict[int, list[bytes]] = defaultdict(list)
    logs: dict[int, Any] = {}
    for number, (lane, value) in enumerate(generated(seconds)):
        intake = Intake(logs, LANES)
        intake.take([Entry(lane, number, lane, 1 << 60, value)])
        for batch in intake.accepted.get(lane, ()):
            if batch.flows.num_rows:
                enriched = work.enricher.enrich(batch.flows)
                laid = lay_out_many([(enriched, batch.mark_ms, batch.frontier_ms)], work.limits)
                parts[lane] += [part for start_ms, part in laid.parts.items() if start_ms == wanted_ms]
                if sum(each.flows.num_rows for each in first) < RATE:
                    first.append(replace(batch, flows=enriched))
    [written] = write_raw(folder, first)
    minute = {}
    for lane, found in parts.items():
        base = absorb(None, found, work.limits, True)
        minute[lane] = emit(base, lane, wanted_ms, MARKS, True, work.limits)
    return written.bytes / written.rows, minute


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=70, help="seconds of traffic; a whole minute has to be in them")
    print(json.dumps(measure(parser.parse_args().seconds), indent=2))


if __name__ == "__main__":
    main()
