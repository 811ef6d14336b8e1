"""Raw flows and aggregate documents to complete Parquet files in pending/.

In: judged batches of flows, or a table of aggregate documents. Out: files, written and synced, for a Commit to name. Refuses to
know the manifest: a file here counts for nothing until it is committed.
"""

import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from common.dictionaries import with_shared_joined
from common.errors import StoreError
from flowpb.documents import AGGREGATE_SCHEMA, LEVEL_MINUTE
from flowpb.groupings import FUTURE_MS, HORIZON_MS, WINDOW_MS
from flowpb.ledger import LEDGER_SCHEMA, LEVEL_LEDGER
from stores.addresses import text_column
from stores.judged import JudgedBatch
from stores.parquet.layout import HOUR_MS, RAW_LEVEL, Kind, PendingFile, sync
from stores.parquet.rows import (
    ADDRESS_COLUMNS,
    COMPRESSION,
    COMPRESSION_LEVEL,
    DICTIONARY_BYTES,
    IDENTITY,
    RAW_SCHEMA,
    ROW_GROUP,
    encodings,
    schema_of,
)


def write_raw(folder: Path, batches: Sequence[JudgedBatch]) -> list[PendingFile]:
    """One file of all flows, in the order given, or none when there are no flows; its range is that of their intervals.

    Columns that no batch has, and columns that are all null, are left out; a `delta_switched_ms` equal to `first_switched_ms` is
    written as null, which means the same. Raises StoreError.
    """
    filled = [batch for batch in batches if batch.flows.num_rows]
    if not filled:
        return []
    flows = _as_text(pa.concat_tables([pa.Table.from_batches([batch.flows]) for batch in filled], promote_options="default"))
    ranges = [flow_range(batch.flows, batch.mark_ms, batch.frontier_ms) for batch in filled]
    identity = pa.concat_tables([_identity(batch) for batch in filled])
    kept = {name for name in flows.schema.names if flows[name].null_count < flows.num_rows}
    columns = {**{name: identity[name] for name in IDENTITY.names}, **{name: flows[name] for name in kept}}
    schema = schema_of(RAW_SCHEMA, set(columns))
    table = pa.table([columns[name] for name in schema.names], schema=schema)
    return [write_file(folder, "raw", RAW_LEVEL, table.combine_chunks().to_batches(ROW_GROUP), schema, _span(ranges))]


def write_aggregates(folder: Path, documents: pa.Table, level: str = LEVEL_MINUTE) -> list[PendingFile]:
    """One file per hour of window starts, rows by window, group and slot; none when there are no documents.

    `documents` has the columns of AGGREGATE_SCHEMA and is all of one level. Raises StoreError.
    """
    hours = pc.divide(documents["window_start_ms"], HOUR_MS)
    order = [(name, "ascending") for name in ("window_start_ms", "group_id", "slot")]
    files = []
    for hour in sorted(pc.unique(hours).to_pylist()):
        table = documents.filter(pc.equal(hours, hour)).select(AGGREGATE_SCHEMA.names).sort_by(order).cast(AGGREGATE_SCHEMA)
        span = pc.min(table["window_start_ms"]).as_py(), pc.max(table["window_end_ms"]).as_py()
        files.append(write_file(folder, "aggregate", level, table.combine_chunks().to_batches(ROW_GROUP), AGGREGATE_SCHEMA, span))
    return files


def write_ledger(folder: Path, rows: pa.Table) -> list[PendingFile]:
    """One file of all rows of the ledger, by minute and exporter. Raises StoreError."""
    table = rows.sort_by([(name, "ascending") for name in ("minute_ms", "exporter_addr", "lane", "booked_ms")])
    span = pc.min(table["minute_ms"]).as_py(), pc.max(table["minute_ms"]).as_py() + WINDOW_MS
    return [write_file(folder, "ledger", LEVEL_LEDGER, table.combine_chunks().to_batches(ROW_GROUP), LEDGER_SCHEMA, span)]


def write_file(
    folder: Path, kind: Kind, level: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema, span: tuple[int, int]
) -> PendingFile:
    """A complete, synced file with a name of its own; holds one batch at a time. Nothing is left behind where it fails."""
    name = f"{level}-{max(span[0], 0) // 1000:010d}-{secrets.token_hex(8)}.parquet"
    path = folder / name
    dictionary, other = encodings(schema)
    options = {"compression": COMPRESSION, "compression_level": COMPRESSION_LEVEL, "dictionary_pagesize_limit": DICTIONARY_BYTES}
    rows = 0
    try:
        with pq.ParquetWriter(path, schema, use_dictionary=dictionary, column_encoding=other, **options) as writer:
            for batch in batches:
                writer.write_batch(batch, row_group_size=ROW_GROUP)
                rows += batch.num_rows
        sync(path)
        sync(folder)
        return PendingFile(kind, level, name, rows, path.stat().st_size, *span)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError | pa.ArrowException):
            raise StoreError(f"{path}: cannot be written: {' '.join(str(error).split())}") from error
        raise


def flow_range(flows: pa.RecordBatch, mark_ms: int, frontier_ms: int) -> tuple[int, int]:
    """The least start and the largest end + 1 of the intervals of flows (docs/explanation/numbers.md 2)."""
    correction = _times(flows, "clock_correction_ms", 0)
    end = _times(flows, "last_switched_ms", mark_ms) + correction
    first = _times(flows, "first_switched_ms", mark_ms)
    delta = flows.column("delta_switched_ms") if "delta_switched_ms" in flows.schema.names else None
    start = (first if delta is None else np.where(delta.is_null(), first, _filled(delta, 0))) + correction
    future = end > mark_ms + FUTURE_MS
    end = np.where(future, mark_ms, end)
    start = np.minimum(np.where(future, np.minimum(start, mark_ms), start), end)
    clipped = np.minimum(end, np.maximum(start, frontier_ms - HORIZON_MS))
    late = (clipped // WINDOW_MS + 1) * WINDOW_MS + HORIZON_MS <= frontier_ms
    counted = np.where(late, np.maximum(start, end - HORIZON_MS), clipped)
    return int(counted.min()), int(end.max()) + 1


def _times(flows: pa.RecordBatch, name: str, missing: int) -> NDArray[np.int64]:
    if name not in flows.schema.names:
        return np.full(flows.num_rows, missing, np.int64)
    return _filled(flows.column(name), missing)


def _filled(column: pa.Array, missing: int) -> NDArray[np.int64]:
    values: NDArray[np.int64] = pc.fill_null(column, missing).to_numpy(zero_copy_only=False)
    return values


def _span(ranges: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _as_text(flows: pa.Table) -> pa.Table:
    flows = with_shared_joined(flows).unify_dictionaries()
    for name in ADDRESS_COLUMNS:
        if name in flows.schema.names:
            flows = flows.set_column(flows.schema.get_field_index(name), name, text_column(flows[name]))
    if {"delta_switched_ms", "first_switched_ms"} <= set(flows.schema.names):
        delta = flows["delta_switched_ms"]
        same = pc.equal(delta, flows["first_switched_ms"])
        flows = flows.set_column(
            flows.schema.get_field_index("delta_switched_ms"), "delta_switched_ms", pc.if_else(same, None, delta)
        )
    return flows


def _identity(batch: JudgedBatch) -> pa.Table:
    rows = batch.flows.num_rows
    values = (batch.epoch, batch.lane, batch.seq, batch.mark_ms, batch.frontier_ms)
    epoch, lane, seq, mark, frontier = (pa.scalar(value, pa.int64()) for value in values)
    collector = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([batch.collector]))
    columns = [
        collector,
        pa.repeat(epoch, rows),
        pa.repeat(lane, rows).cast(pa.int16()),
        pa.repeat(seq, rows),
        pa.array(np.arange(rows, dtype=np.int32)),
        pa.repeat(mark, rows),
        pa.repeat(frontier, rows),
    ]
    return pa.table(columns, schema=IDENTITY)
