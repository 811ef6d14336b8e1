"""Batches of FLOW to plain arrays: the columns that aggregation needs, with nulls and missing columns resolved.

In: record batches, each with its own subset of columns and its own dictionaries. Out: one array per column over all batches, and
one dictionary per kind of text or address. Null rules are those of docs/explanation/numbers.md. Refuses to know windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from columns.arrays import Floats, Ints, Octets, Words
from columns.distinct import distinct_addresses, distinct_texts
from flowpb.schema import Direction


@dataclass(frozen=True, slots=True)
class Flows:
    """One entry per flow. `protocol` is the number + 1, 0 for null; codes of dictionaries are 0 for null, else position + 1.

    `interval` is None where no flow was sampled; NaN stands for null in it.
    """

    delta_switched_ms: Ints
    last_switched_ms: Ints
    correction_ms: Ints
    interval: Floats | None
    bytes: Words
    packets: Words
    direction: Octets
    in_if: Ints
    out_if: Ints
    tos: Octets
    protocol: Ints
    locations: tuple[str, ...]
    location: Ints
    applications: tuple[str, ...]
    application: Ints
    addresses: Words
    exporter: Ints
    source: Ints
    destination: Ints


def read_flows(batches: Sequence[pa.RecordBatch]) -> Flows:
    """The flows of all batches, in order."""
    addresses, (exporter, source, destination) = _addresses(batches, ("exporter_addr", "src_addr", "dst_addr"))
    locations, location = _texts(batches, "location")
    applications, application = _texts(batches, "application")
    interval = None
    if any("sampling_interval" in batch.schema.names for batch in batches):
        interval = _numbers(batches, "sampling_interval", float("nan"), np.float64)
    return Flows(
        delta_switched_ms=np.concatenate([_start(batch) for batch in batches]),
        last_switched_ms=_numbers(batches, "last_switched_ms", 0, np.int64),
        correction_ms=_numbers(batches, "clock_correction_ms", 0, np.int64),
        interval=interval,
        bytes=_numbers(batches, "bytes", 0, np.uint64),
        packets=_numbers(batches, "packets", 0, np.uint64),
        direction=_numbers(batches, "direction", Direction.UNKNOWN.value, np.uint8),
        in_if=_numbers(batches, "in_if", 0, np.int64),
        out_if=_numbers(batches, "out_if", 0, np.int64),
        # A null tos means DSCP 0 and non-ECT, which is what 0 means, too.
        tos=_numbers(batches, "tos", 0, np.uint8),
        protocol=np.concatenate([_protocol(batch) for batch in batches]),
        locations=locations,
        location=location,
        applications=applications,
        application=application,
        addresses=addresses,
        exporter=exporter,
        source=source,
        destination=destination,
    )


def _column(batch: pa.RecordBatch, name: str) -> Any:
    index = batch.schema.get_field_index(name)
    return None if index < 0 else batch.column(index)


def _filled(batch: pa.RecordBatch, name: str, default: float) -> Any:
    column = _column(batch, name)
    if column is None:
        return np.full(batch.num_rows, default)
    return (column.fill_null(default) if column.null_count else column).to_numpy(zero_copy_only=False)


def _numbers(batches: Sequence[pa.RecordBatch], name: str, default: float, dtype: Any) -> Any:
    return np.concatenate([_filled(batch, name, default) for batch in batches], dtype=dtype, casting="unsafe")


def _start(batch: pa.RecordBatch) -> Ints:
    delta = _column(batch, "delta_switched_ms")
    first: Ints = _filled(batch, "first_switched_ms", 0)
    if delta is None:
        return first
    start: Ints = (delta.fill_null(0) if delta.null_count else delta).to_numpy()
    return np.where(_valid(delta), start, first) if delta.null_count else start


def _protocol(batch: pa.RecordBatch) -> Ints:
    column = _column(batch, "protocol")
    number: Ints = _filled(batch, "protocol", 0).astype(np.int64) + 1
    if column is None:
        return np.zeros(batch.num_rows, np.int64)
    return np.where(_valid(column), number, 0) if column.null_count else number


def _valid(column: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    valid: np.ndarray[Any, np.dtype[np.bool_]] = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _addresses(batches: Sequence[pa.RecordBatch], names: Sequence[str]) -> tuple[Words, list[Ints]]:
    """One sorted dictionary for several columns, and the codes of each column."""
    dictionaries = {(name, i): _words(_column(batch, name)) for name in names for i, batch in enumerate(batches)}
    addresses, codes = distinct_addresses(np.concatenate(list(dictionaries.values())))
    ends = np.cumsum([len(words) for words in dictionaries.values()])
    table = dict(zip(dictionaries, np.split(codes + 1, ends[:-1]), strict=True))
    return addresses, [np.concatenate([_codes(batch, name, table[name, i]) for i, batch in enumerate(batches)]) for name in names]


def _words(column: Any) -> Words:
    if column is None or not len(column.dictionary):
        return np.empty((0, 2), np.uint64)
    values = column.dictionary
    octets = np.frombuffer(values.buffers()[1], ">u8", 2 * len(values), 16 * values.offset)
    return octets.astype(np.uint64).reshape(-1, 2)


def _texts(batches: Sequence[pa.RecordBatch], name: str) -> tuple[tuple[str, ...], Ints]:
    """One sorted dictionary for a column, and its codes."""
    dictionaries = [_column(batch, name) for batch in batches]
    values = [[] if column is None else column.dictionary.to_pylist() for column in dictionaries]
    texts = distinct_texts(text for each in values for text in each)
    code: dict[str | None, int] = {None: 0} | {text: i + 1 for i, text in enumerate(texts)}
    tables = (np.array([code[text] for text in each], np.int64) for each in values)
    return texts, np.concatenate([_codes(batch, name, table) for batch, table in zip(batches, tables, strict=True)])


def _codes(batch: pa.RecordBatch, name: str, code_of: Ints) -> Ints:
    """Codes of a dictionary column of which entry i of the dictionary has code `code_of[i]`; nulls get 0."""
    column = _column(batch, name)
    if column is None:
        return np.zeros(batch.num_rows, np.int64)
    indices = column.indices
    # Entry -1 is the one after the last: that of nulls.
    table = np.append(np.where(_valid(column.dictionary), code_of, 0) if column.dictionary.null_count else code_of, 0)
    codes: Ints = table[(indices.fill_null(-1) if indices.null_count else indices).to_numpy()]
    return codes
