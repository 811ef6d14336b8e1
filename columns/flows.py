"""Batches of FLOW to plain arrays: the columns that aggregation needs, with nulls and missing columns resolved.

In: record batches, each with its own subset of columns and its own dictionaries. Out: one array per column over all batches, and
one dictionary per kind of text or address. Null rules are those of docs/explanation/numbers.md. Refuses to know windows.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from columns.arrays import Floats, Ints, Mask, Octets, Words
from columns.dictionaries import joined_columns
from columns.distinct import distinct_addresses, distinct_texts
from columns.limits import Limits
from columns.names import ValueNames
from columns.nodes import NODE_COLUMNS, FlowNodes
from columns.packing import Numbers
from columns.values import values_of
from flowpb.schema import Direction

_WANTED: Final = frozenset(
    [
        *("first_switched_ms", "delta_switched_ms", "last_switched_ms", "clock_correction_ms", "sampling_interval", "bytes"),
        *("packets", "direction", "in_if", "out_if", "tos", "protocol", "exporter_addr", "src_addr", "dst_addr"),
        *("location", "application"),
    ]
)


_SIDES: Final = ("in_if_side", "out_if_side")
_EXTERNAL: Final = "external"


def wanted_columns(limits: Limits) -> frozenset[str]:
    """Columns that aggregation needs."""
    return _WANTED.union(
        _SIDES if limits.edge_only else (), NODE_COLUMNS if limits.nodes else (), *(kind.columns for kind in limits.values)
    )


@dataclass(frozen=True, slots=True)
class Flows:
    """One entry per flow. `protocol` is the number + 1, 0 for null; codes of dictionaries are 0 for null, else position + 1.

    `interval` is None where no flow was sampled; NaN stands for null in it. `edges`, where asked for: whether input and output
    interface are external ones.
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
    values: tuple[tuple[ValueNames, tuple[Numbers, ...]], ...]
    edges: tuple[Mask, Mask] | None
    nodes: FlowNodes | None


def read_flows(batches: Sequence[pa.RecordBatch], limits: Limits) -> Flows:
    """The flows of all batches, in order; at least one flow."""
    batch = _combined(batches, wanted_columns(limits))
    addresses, (exporter, source, destination) = _addresses(batch, ("exporter_addr", "src_addr", "dst_addr"))
    locations, location = _texts(batch, "location")
    applications, application = _texts(batch, "application")
    return Flows(
        delta_switched_ms=_start(batch),
        last_switched_ms=_numbers(batch, "last_switched_ms", 0, np.int64),
        correction_ms=_numbers(batch, "clock_correction_ms", 0, np.int64),
        interval=_interval(batch),
        bytes=_numbers(batch, "bytes", 0, np.uint64),
        packets=_numbers(batch, "packets", 0, np.uint64),
        direction=_numbers(batch, "direction", Direction.UNKNOWN.value, np.uint8),
        in_if=_numbers(batch, "in_if", 0, np.int64),
        out_if=_numbers(batch, "out_if", 0, np.int64),
        # A null tos means DSCP 0 and non-ECT, which is what 0 means, too.
        tos=_numbers(batch, "tos", 0, np.uint8),
        protocol=_protocol(batch),
        locations=locations,
        location=location,
        applications=applications,
        application=application,
        addresses=addresses,
        exporter=exporter,
        source=source,
        destination=destination,
        values=tuple(values_of(batch, kind) for kind in limits.values),
        edges=(_is_external(batch, _SIDES[0]), _is_external(batch, _SIDES[1])) if limits.edge_only else None,
        nodes=_nodes(batch) if limits.nodes else None,
    )


def read_times(batch: pa.RecordBatch) -> tuple[Ints, Ints, Ints]:
    """Start, end and clock correction of each flow, as `Flows` has them."""
    correction: Ints = _numbers(batch, "clock_correction_ms", 0, np.int64)
    return _start(batch), _numbers(batch, "last_switched_ms", 0, np.int64), correction


def _combined(batches: Sequence[pa.RecordBatch], wanted: Collection[str]) -> pa.RecordBatch:
    """The wanted columns of all batches as one batch: Arrow joins small batches and their dictionaries far faster than numpy."""
    if all(batch.schema.equals(batches[0].schema) for batch in batches[1:]):
        table = pa.Table.from_batches(batches)
    else:
        table = pa.concat_tables([pa.Table.from_batches([batch]) for batch in batches], promote_options="default")
    return joined_columns(table.select([name for name in table.column_names if name in wanted]))


def _is_external(batch: pa.RecordBatch, name: str) -> Mask:
    texts, codes = _texts(batch, name)
    return codes == texts.index(_EXTERNAL) + 1 if _EXTERNAL in texts else np.zeros(batch.num_rows, np.bool_)


def _nodes(batch: pa.RecordBatch) -> FlowNodes:
    source, foreign_id, node_id = NODE_COLUMNS
    return FlowNodes(*_texts(batch, source), *_texts(batch, foreign_id), _numbers(batch, node_id, 0, np.int64))


def _column(batch: pa.RecordBatch, name: str) -> Any:
    index = batch.schema.get_field_index(name)
    return None if index < 0 else batch.column(index)


def _numbers(batch: pa.RecordBatch, name: str, default: int, dtype: Any) -> Any:
    column = _column(batch, name)
    if column is None:
        return np.full(batch.num_rows, default, dtype)
    return (column.fill_null(default) if column.null_count else column).to_numpy().astype(dtype, copy=False)


def _interval(batch: pa.RecordBatch) -> Floats | None:
    column = _column(batch, "sampling_interval")
    if column is None or column.null_count == len(column):
        return None
    interval: Floats = column.to_numpy(zero_copy_only=False)
    return interval


def _start(batch: pa.RecordBatch) -> Ints:
    delta = _column(batch, "delta_switched_ms")
    start: Ints = _numbers(batch, "first_switched_ms" if delta is None else "delta_switched_ms", 0, np.int64)
    if delta is None or not delta.null_count:
        return start
    return np.where(_valid(delta), start, _numbers(batch, "first_switched_ms", 0, np.int64))


def _protocol(batch: pa.RecordBatch) -> Ints:
    column = _column(batch, "protocol")
    number: Ints = _numbers(batch, "protocol", 0, np.int64) + 1
    if column is None:
        return np.zeros(batch.num_rows, np.int64)
    return np.where(_valid(column), number, 0) if column.null_count else number


def _valid(column: Any) -> Mask:
    valid: Mask = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _addresses(batch: pa.RecordBatch, names: Sequence[str]) -> tuple[Words, list[Ints]]:
    """One sorted dictionary for several columns, and the codes of each column."""
    dictionaries = [_words(_column(batch, name)) for name in names]
    addresses, codes = distinct_addresses(np.concatenate(dictionaries))
    ends = np.cumsum([len(words) for words in dictionaries])
    return addresses, [_codes(batch, name, table) for name, table in zip(names, np.split(codes + 1, ends[:-1]), strict=True)]


def _words(column: Any) -> Words:
    if column is None or not len(column.dictionary):
        return np.empty((0, 2), np.uint64)
    values = column.dictionary
    octets = np.frombuffer(values.buffers()[1], ">u8", 2 * len(values), 16 * values.offset)
    return octets.astype(np.uint64).reshape(-1, 2)


def _texts(batch: pa.RecordBatch, name: str) -> tuple[tuple[str, ...], Ints]:
    """One sorted dictionary for a column, and its codes."""
    column = _column(batch, name)
    values: list[str] = [] if column is None else column.dictionary.to_pylist()
    texts = distinct_texts(values)
    code = {text: number for number, text in enumerate(texts, 1)}
    return texts, _codes(batch, name, np.array([code[text] for text in values], np.int64))


def _codes(batch: pa.RecordBatch, name: str, code_of: Ints) -> Ints:
    """Codes of a dictionary column of which entry i of the dictionary has code `code_of[i]`; nulls get 0."""
    column = _column(batch, name)
    if column is None:
        return np.zeros(batch.num_rows, np.int64)
    indices = column.indices
    # Entry -1 is the one after the last: that of nulls.
    codes: Ints = np.append(code_of, 0)[(indices.fill_null(-1) if indices.null_count else indices).to_numpy()]
    return codes
