"""FlowBatch on the wire: header and Arrow columns to bytes and back.

In: an Arrow record batch in (a subset of) INGEST_SCHEMA and the batch's identity. Out: the bytes of one bus entry, and the same
back. Refuses to know which bus carries them. A reader meets three faults only: not a FlowBatch, another schema, records that do
not fit; each is a `ContractError` that says which.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import pyarrow as pa
from google.protobuf.message import DecodeError

from flowpb.flow_batch_pb2 import ExporterReport, FlowBatch
from flowpb.lanes import LANES
from flowpb.schema import FLOW_SCHEMA, SCHEMA_VERSION

Codec = Literal["none", "lz4", "zstd"]
_RECORDS_TAG: Final = bytes([FlowBatch.RECORDS_FIELD_NUMBER << 3 | 2])
"""Key of `records` on the wire: appended by hand, since the generated code would copy the columns twice."""
_NO_FLOWS: Final = pa.RecordBatch.from_arrays([], names=[])


_right: Final[deque[pa.Schema]] = deque(maxlen=4)


class ContractError(ValueError):
    """A bus entry that is no FlowBatch of this schema; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Header:
    """Everything of a FlowBatch but its flows; (collector, epoch, lane, seq) is its identity on every bus."""

    collector: str
    epoch: int
    lane: int
    seq: int
    mark_ms: int
    lanes: int = LANES
    flow_count: int = 0
    reports: tuple[ExporterReport, ...] = field(default=())


def encode(header: Header, flows: pa.RecordBatch | None, codec: Codec = "none") -> bytes:
    """One bus entry. `flows` has columns of INGEST_SCHEMA in any number (all-null ones are left out here), or is None."""
    count = 0 if flows is None else flows.num_rows
    message = FlowBatch(
        schema_version=SCHEMA_VERSION,
        collector=header.collector,
        epoch=header.epoch,
        lane=header.lane,
        seq=header.seq,
        mark_ms=header.mark_ms,
        lanes=header.lanes,
        flow_count=count,
        reports=header.reports,
    )
    if flows is None or not count:
        return message.SerializeToString()
    records = _to_ipc(flows, codec)
    return b"".join((message.SerializeToString(), _RECORDS_TAG, _varint(records.size), records))


def decode_header(entry: bytes) -> tuple[Header, bytes]:
    """Header and the still packed records of one bus entry; raises ContractError."""
    message = FlowBatch()
    try:
        message.ParseFromString(entry)
    except DecodeError as error:
        raise ContractError(f"not a FlowBatch: {error}") from error
    if message.schema_version != SCHEMA_VERSION:
        raise ContractError(f"FlowBatch schema {message.schema_version}, this program reads {SCHEMA_VERSION}")
    header = Header(
        message.collector,
        message.epoch,
        message.lane,
        message.seq,
        message.mark_ms,
        message.lanes,
        message.flow_count,
        tuple(message.reports),
    )
    return header, message.records


def decode_records(records: bytes) -> pa.RecordBatch:
    """The flows of one entry: only the columns that it carries, typed as in FLOW. Raises ContractError."""
    if not records:
        return _NO_FLOWS
    try:
        with pa.ipc.open_stream(records) as reader:
            batches: Sequence[pa.RecordBatch] = list(reader)
        for batch in batches:
            batch.validate(full=True)
            _check(batch.schema)
    except ContractError:
        raise
    except (pa.ArrowException, OSError, EOFError, ValueError, KeyError) as error:
        raise ContractError(f"records are no Arrow stream: {' '.join(str(error).split())}") from error
    if len(batches) != 1:
        raise ContractError(f"{len(batches)} record batches in one entry, expected 1")
    return batches[0]


def decode(entry: bytes) -> tuple[Header, pa.RecordBatch]:
    """Header and flows of one bus entry; raises ContractError, also when the count does not agree."""
    header, records = decode_header(entry)
    flows = decode_records(records)
    if flows.num_rows != header.flow_count:
        raise ContractError(f"{flows.num_rows} flows in an entry that says {header.flow_count}")
    return header, flows


def _to_ipc(flows: pa.RecordBatch, codec: Codec) -> pa.Buffer:
    _check(flows.schema)
    kept = [name for name, column in zip(flows.schema.names, flows.columns, strict=True) if column.null_count < flows.num_rows]
    if len(kept) < flows.num_columns:
        flows = flows.select(kept)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=None if codec == "none" else codec)
    with pa.ipc.new_stream(sink, flows.schema, options=options) as writer:
        writer.write_batch(flows)
    return sink.getvalue()


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def _check(schema: pa.Schema) -> None:
    """Raises ContractError; of schemas the last ones that were right are remembered, since looking at each column takes time."""
    if any(schema.equals(known) for known in tuple(_right)):
        return
    for column in schema:
        index = FLOW_SCHEMA.get_field_index(column.name)
        if index < 0:
            raise ContractError(f"column {column.name!r} is not in FLOW")
        if column.type != FLOW_SCHEMA.field(index).type:
            raise ContractError(f"column {column.name!r} is {column.type}, FLOW says {FLOW_SCHEMA.field(index).type}")
    _right.append(schema)
