"""Building blocks of the pipeline's tests: entries of a scenario, a line over them, and documents in one canonical form."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from bus.memory import MemoryLog, MemoryProducer, MemorySource
from columns.enrich import Enricher
from columns.lane import Limits
from flowpb.documents import AGGREGATE, AGGREGATE_SCHEMA, NOT_COMPARED
from flowpb.groupings import DEFAULT_VALUES
from ingest.loadgen.batches import BusEntry
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.expected import KEY, Answer, Oracle
from ingest.loadgen.run import Player
from pipelines.direct import MicroBatches, Work
from stores.parquet.layout import find_file
from stores.parquet.manifest import Manifest

START_MS: Final = 1_700_000_040_000
LANES: Final = 16
ENRICHER: Final = Enricher.default()
EXACT: Final = Limits(young=1 << 20, old=1 << 20, values=DEFAULT_VALUES)
"""Bounds that nothing here reaches: then every document is exact."""
COMPARED: Final = [name for name in AGGREGATE_SCHEMA.names if name not in (*NOT_COMPARED, "group_id")]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Entries in the order of the bus and the exact answer to them."""

    entries: Sequence[BusEntry]
    answer: Answer


SLOWER: Final = {"small": 60, "skewed": 60, "lossy": 40}
"""Flows a second, where a scenario's own rate would keep the oracle busy for too long."""


def traffic_of(name: str, seed: int) -> Traffic:
    """A built-in scenario, thinned out, and its answer."""
    entries = entries_of(name, seed)
    return Traffic(entries, answer_of(entries))


def entries_of(name: str, seed: int) -> list[BusEntry]:
    """The bus entries of a built-in scenario, thinned out."""
    scenario = BUILTIN[name].model_copy(update={"seed": seed, "rate": SLOWER[name]})
    entries: list[BusEntry] = []

    def keep(entry: BusEntry) -> bool:
        entries.append(entry)
        return True

    Player(scenario, START_MS, lambda _task, _reached: None, lambda: False).to_bus(keep, with_answer=False)
    return entries


def answer_of(entries: Iterable[BusEntry], limits: Limits | None = None) -> Answer:
    """What the oracle says to these entries."""
    oracle = Oracle() if limits is None else Oracle(limits.top_k, limits.with_dscp, limits.both_sides, values=limits.values)
    for entry in entries:
        oracle.take_entry(entry.value)
    return oracle.answer()


def fill(entries: Iterable[BusEntry]) -> MemoryLog:
    """A bus that holds them."""
    log = MemoryLog(LANES)
    producer = MemoryProducer(log)
    for entry in entries:
        producer.send(entry.lane, entry.value)
    return log


def driver_of(log: MemoryLog, manifest: Manifest, run_bytes: int = 64 << 20, limits: Limits | None = None) -> MicroBatches:
    """A micro-batch driver with the default rules."""
    return MicroBatches(MemorySource(log), manifest, Work(ENRICHER, limits or EXACT, LANES, run_bytes))


def stored_documents(data_dir: Path, level: str = "1m") -> list[dict[str, Any]]:
    """The newest version of every group in the store."""
    with Manifest.open(data_dir, writer=False) as manifest:
        files = manifest.files("aggregate", level, 0, 1 << 62)
        paths = [find_file(data_dir, file) for file in files]
        tables = [pq.read_table(path) for path in paths if path]
    return newest(pa.concat_tables(tables, promote_options="permissive").to_pylist() if tables else [])


def newest(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each (window, group) the rows with the highest version, in canonical order, without what is not compared."""
    best: dict[tuple[int, int], int] = {}
    kept: dict[tuple[int, int], dict[int, dict[str, Any]]] = {}
    for row in rows:
        key = (row["window_start_ms"], row["group_id"])
        if row["rows"] > best.get(key, 0):
            best[key], kept[key] = row["rows"], {}
        if row["rows"] == best[key]:
            kept[key][row["slot"]] = row
    return canonical(row for group in kept.values() for row in group.values())


def canonical(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with the compared columns only, sorted by the oracle's key."""
    plain = [{name: row[name] for name in COMPARED} for row in rows]
    return sorted(plain, key=lambda row: tuple((row[name] is not None, row[name] or 0) for name in KEY))


def expected_documents(answer: Answer) -> list[dict[str, Any]]:
    """The oracle's documents in the same form."""
    return canonical(answer.table().to_pylist())


def row_of(document: dict[str, Any]) -> dict[str, Any]:
    """A JSON document as a row of AGGREGATE: the fields by their JSON paths, absent ones null."""
    return {field.name: _at(document, field.json.split(".")) for field in AGGREGATE}


def _at(document: Any, path: Sequence[str]) -> Any:
    for key in path:
        document = None if document is None else document.get(key)
    return document
