"""Many small files of the past become few: which ones, and how two or more are made one.

In: the manifest's live files. Out: the same rows (of aggregates only the latest version of each document) in fewer files, exchanged
in one transaction of the manifest. Refuses to touch what a run may still be adding to in earnest, and to hold more than a row group
of raw flows or one window of documents in memory.

Files merge in stages, so that a row is rewritten at most three times: some runs of one hour, then the hour once it is over, then
the day. A file that has reached the target size stays as it is.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import StoreError
from flowpb.documents import AGGREGATE_SCHEMA
from flowpb.groupings import LEVEL_MS
from flowpb.ledger import LEDGER_SCHEMA, LEVEL_LEDGER
from stores.parquet.layout import DAY_MS, EVER, HOUR_MS, RAW_LEVEL, Kind, LiveFile, PendingFile, find_file, pending_path
from stores.parquet.manifest import Manifest
from stores.parquet.rows import RAW_SCHEMA, ROW_GROUP, schema_of
from stores.parquet.statements import QUIET, latest, latest_ledger
from stores.parquet.writer import write_file

TARGET_BYTES: Final = 256 << 20
RUNS_PER_MERGE: Final = 64
SETTLE_MS: Final = 20 * 60_000
"""An hour is over for its files this long after its end: the horizon, the last mark, and some."""
LEVELS: Final[tuple[tuple[Kind, str], ...]] = (
    *(("aggregate", level) for level in LEVEL_MS),
    ("raw", RAW_LEVEL),
    ("ledger", LEVEL_LEDGER),
)
_BATCH: Final = 1 << 16
_SCHEMAS: Final = {"aggregate": AGGREGATE_SCHEMA, "ledger": LEDGER_SCHEMA}
_NEWEST: Final[dict[str, tuple[Callable[[Sequence[str]], str], str]]] = {
    "aggregate": (latest, "window_start_ms, group_id, slot"),
    "ledger": (latest_ledger, "minute_ms, exporter_addr, lane, booked_ms"),
}


@dataclass(frozen=True, slots=True)
class Merge:
    """Live files of one level that are to become one of `stage`."""

    files: tuple[LiveFile, ...]
    stage: int


def next_merge(files: Iterable[LiveFile], now_ms: int) -> Merge | None:
    """The most worthwhile merge among the live files of one level, oldest first; None when there is nothing to do."""
    for stage, period_ms in ((3, DAY_MS), (2, HOUR_MS)):
        for period, found in _by_period(files, period_ms):
            over = (period + 1) * period_ms + SETTLE_MS <= now_ms
            merge = _fitting([file for file in found if file.stage <= stage], stage)
            if over and merge:
                return merge
    for _, found in _by_period(files, HOUR_MS):
        runs = [file for file in found if file.stage == 0]
        if len(runs) >= RUNS_PER_MERGE:
            return _fitting(runs[:RUNS_PER_MERGE], 1)
    return None


def most_worthwhile(manifest: Manifest, now_ms: int, without: Collection[str] = ()) -> Merge | None:
    """The next merge of any level, of files other than those named `without`."""
    for kind, level in LEVELS:
        files = [file for file in manifest.files(kind, level, *EVER) if file.name not in without]
        if merge := next_merge(files, now_ms):
            return merge
    return None


def compact(manifest: Manifest, now_ms: int, most: int = 1) -> int:
    """Up to `most` merges; returns how many were made. Raises StoreError."""
    for done in range(most):
        merge = most_worthwhile(manifest, now_ms)
        if merge is None:
            return done
        put_merged(manifest, merge, merge_files(manifest.data_dir, merge), now_ms)
    return most


def put_merged(manifest: Manifest, merge: Merge, merged: PendingFile, now_ms: int) -> bool:
    """Exchange files for the one made of them, unless one of them expired meanwhile: then the merged one is thrown away."""
    live = {file.name for file in manifest.files(merged.kind, merged.level, *EVER)}
    if not all(file.name in live for file in merge.files):
        pending_path(manifest.data_dir, merged.name).unlink()
        return False
    manifest.replace([file.name for file in merge.files], [merged], merge.stage, now_ms)
    return True


def merge_files(data_dir: Path, merge: Merge) -> PendingFile:
    """One file in pending/ with the rows of all; raises StoreError, also when one is missing."""
    files = merge.files
    paths = [_path(data_dir, file) for file in sorted(files, key=lambda file: (file.min_ms, file.max_ms, file.name))]
    span = min(file.min_ms for file in files), max(file.max_ms for file in files)
    try:
        if files[0].kind == "raw":
            schema = schema_of(RAW_SCHEMA, {name for path in paths for name in pq.read_schema(path).names})
            batches = _concatenated(paths, schema)
        else:
            schema, batches = _SCHEMAS[files[0].kind], _latest(paths, files[0].kind, data_dir / "spill")
        return write_file(data_dir / "pending", files[0].kind, files[0].level, batches, schema, span)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{data_dir}: cannot merge {len(files)} files: {' '.join(str(error).split())}") from error


def _by_period(files: Iterable[LiveFile], period_ms: int) -> Iterator[tuple[int, list[LiveFile]]]:
    for period, found in groupby(sorted(files, key=lambda file: file.max_ms), key=lambda file: (file.max_ms - 1) // period_ms):
        yield period, list(found)


def _fitting(files: Sequence[LiveFile], stage: int) -> Merge | None:
    """As many files in time order as fit the target; one alone, or none that is not merged that far, is not worth it."""
    taken: list[LiveFile] = []
    for file in files:
        if taken and sum(one.bytes for one in taken) + file.bytes > TARGET_BYTES:
            if _worthwhile(taken, stage):
                break
            taken = []
        taken.append(file)
    return Merge(tuple(taken), stage) if _worthwhile(taken, stage) else None


def _worthwhile(files: Sequence[LiveFile], stage: int) -> bool:
    return len(files) > 1 and any(file.stage < stage for file in files)


def _path(data_dir: Path, file: LiveFile) -> Path:
    path = find_file(data_dir, file)
    if path is None:
        raise StoreError(f"{data_dir}: {file.name} is in the manifest but not on disk")
    return path


def _concatenated(paths: Sequence[Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """All rows in row groups of their own, columns that a file lacks filled with nulls."""
    held: list[pa.Table] = []
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                held.append(_fill(pa.Table.from_batches([batch]), schema))
                if sum(table.num_rows for table in held) >= ROW_GROUP:
                    yield from _one_batch(held)
                    held = []
    yield from _one_batch(held)


def _fill(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[field.name].cast(field.type) if field.name in table.schema.names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _one_batch(tables: Sequence[pa.Table]) -> Iterator[pa.RecordBatch]:
    if tables:
        yield from pa.concat_tables(tables).unify_dictionaries().combine_chunks().to_batches()


def _latest(paths: Sequence[Path], kind: Kind, spill: Path) -> Iterator[pa.RecordBatch]:
    """The highest version of each group of documents, or row of the ledger, in order; what does not fit in memory is spilled."""
    import duckdb

    try:
        yield from _sorted(paths, kind, spill)
    except duckdb.Error as error:
        raise StoreError(f"{paths[0].parent}: cannot merge {len(paths)} files: {' '.join(str(error).split())}") from error


def _sorted(paths: Sequence[Path], kind: Kind, spill: Path) -> Iterator[pa.RecordBatch]:
    import duckdb

    with duckdb.connect(
        ":memory:", config={**QUIET, "threads": "1", "memory_limit": "512MB", "temp_directory": str(spill)}
    ) as sorter:
        newest, order = _NEWEST[kind]
        text = f"{newest([str(path) for path in paths])} ORDER BY {order}"
        for batch in sorter.sql(text).to_arrow_reader(ROW_GROUP):
            yield from _one_batch([_fill(pa.Table.from_batches([batch]), _SCHEMAS[kind])])
