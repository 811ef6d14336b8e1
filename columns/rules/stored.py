"""Stored raw flows as batches that rules can look at.

In: Parquet files of raw flows, or folders of them; addresses are text in them. Out: batches of the columns that rules ask for,
typed as in FLOW. Refuses to know which files a store counts as its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from columns.dictionaries import places
from common.addresses import pack_address
from common.errors import InputError
from flowpb.schema import ADDRESS, BY_NAME

_ASKED: Final = (
    "exporter_addr",
    "location",
    "src_addr",
    "dst_addr",
    "src_port",
    "dst_port",
    "protocol",
    "bytes",
    "sampling_interval",
    "application_name",
)
_ROWS: Final = 65_536


def stored_flows(paths: Iterable[Path]) -> Iterator[pa.RecordBatch]:
    """The flows of all files, at most 65,536 to a batch; raises InputError for what is no such file."""
    for file in _files(paths):
        try:
            with pq.ParquetFile(file) as opened:
                names = [name for name in _ASKED if name in opened.schema_arrow.names]
                for batch in opened.iter_batches(_ROWS, columns=names):
                    yield _as_flows(batch)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{file}: no Parquet file of flows: {error}") from error


def _files(paths: Iterable[Path]) -> Sequence[Path]:
    found = [file for path in paths for file in (sorted(path.rglob("*.parquet")) if path.is_dir() else [path])]
    if not found:
        raise InputError("there are no Parquet files among the given paths")
    return found


def _as_flows(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [_typed(name, batch.column(name)) for name in batch.schema.names]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _typed(name: str, column: pa.Array) -> pa.Array:
    wanted = BY_NAME[name].type
    if wanted != ADDRESS:
        return column.cast(wanted)
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    packed = [None if text is None else pack_address(text) for text in encoded.dictionary.to_pylist()]
    indices = pa.array(places(encoded), pa.int32(), mask=encoded.is_null().to_numpy(zero_copy_only=False))
    return pa.DictionaryArray.from_arrays(indices, pa.array(packed, pa.binary(16)))
