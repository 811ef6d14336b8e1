"""Raw flows of some windows once more, as the pipeline had them: with all that judged them.

In: live files, lanes and a span of windows. Out: batches of flows of one lane, each flow with the mark and the frontier that its
batch was judged by. Refuses to know windows and lateness: more flows than asked for may come, none is left out.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from common.addresses import pack_address
from common.errors import StoreError
from flowpb.groupings import FUTURE_MS
from flowpb.schema import ADDRESS, BY_NAME
from stores.parquet.raw import flows_table
from stores.parquet.reader import connect
from stores.parquet.statements import listed
from stores.questions import Filters, Span

_BATCH: Final = 1 << 17


class Reread(NamedTuple):
    """Flows of one lane, in columns of FLOW; marks and frontiers are those of their batches, one per flow."""

    lane: int
    flows: pa.RecordBatch
    mark_ms: NDArray[np.int64]
    frontier_ms: NDArray[np.int64]


def reread(paths: Sequence[Path], columns: Sequence[str], lanes: Sequence[int], span: Span) -> Iterator[Reread]:
    """All flows of `lanes` that may count in a window of `span`, in the order of the files; raises StoreError."""
    if not paths:
        return
    wanted = ", ".join(sorted(columns))
    condition = f"lane IN ({', '.join(map(str, lanes))}) AND mark_ms >= {span.from_ms - FUTURE_MS}"
    condition += f" AND whole_start_ms < {span.to_ms} AND end_ms >= {span.from_ms}"
    try:
        with connect() as connection:
            connection.execute("SET threads = 1")  # a pipeline runs beside it
            connection.execute(flows_table([str(path) for path in paths], Filters()).text)
            found = connection.sql(f"SELECT lane, mark_ms, frontier_ms, {wanted} FROM flows WHERE {condition}")
            for batch in found.to_arrow_reader(_BATCH):
                yield from _by_lane(pa.Table.from_batches([batch]))
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        raise StoreError(f"{paths[0].parent}: raw flows cannot be read: {' '.join(str(error).split())[:300]}") from error


def stored_rows(paths: Sequence[Path], span: Span) -> pa.Table:
    """Per lane, window and group that has documents: `grouped_by` and the highest version, `rows`. Raises StoreError."""
    try:
        with connect() as connection:
            source = f"read_parquet({listed([str(path) for path in paths])})" if paths else "no_documents"
            text = f"""SELECT lane, window_start_ms, group_id, any_value(grouped_by) AS grouped_by, max(rows) AS rows FROM {source}
                WHERE window_start_ms >= {span.from_ms} AND window_start_ms < {span.to_ms} GROUP BY ALL"""
            return connection.sql(text).to_arrow_table()
    except (duckdb.Error, OSError) as error:
        raise StoreError(f"{paths[0].parent}: documents cannot be read: {' '.join(str(error).split())[:300]}") from error


def _by_lane(table: pa.Table) -> Iterator[Reread]:
    for lane in sorted(pc.unique(table["lane"]).to_pylist()):
        own = table.filter(pc.equal(table["lane"], lane)).combine_chunks()
        names = [name for name in own.schema.names if name in BY_NAME]
        flows = pa.record_batch({name: _typed(own[name].combine_chunks(), BY_NAME[name].type) for name in names})
        yield Reread(lane, flows, own["mark_ms"].to_numpy(), own["frontier_ms"].to_numpy())


def _typed(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column of a file as FLOW has it."""
    if kind != ADDRESS:
        return column.cast(kind)
    coded = column.dictionary_encode()
    packed = pa.array([None if text is None else pack_address(text) for text in coded.dictionary.to_pylist()], pa.binary(16))
    return pa.DictionaryArray.from_arrays(coded.indices, packed)
