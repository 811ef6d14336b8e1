"""Flows as OpenNMS's FlowDocument messages, one per flow.

In: record batches in columns of FLOW. Out: serialised FlowDocuments, by the field numbers of the FLOW table. Every distinct value
of a column is encoded once, as a message of this one field; a flow's message is its fields side by side, since protobuf messages
concatenate. Refuses to know where they are sent.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.addresses import format_address
from flowpb.flowdocument_pb2 import FlowDocument
from flowpb.schema import ADDRESS, FLOW, Column, ProtocolVersion

_VERSIONS: Final = {ProtocolVersion.NETFLOW_V9: 1, ProtocolVersion.IPFIX: 2, ProtocolVersion.SFLOW_V5: 3}
_ALGORITHMS: Final = range(8)
_TOS: Final = "tos"
_FIELDS: Final = {number: field.name for number, field in FlowDocument.DESCRIPTOR.fields_by_number.items()}
_LOCALITY: Final = ("src_locality", "dst_locality", "flow_locality")
_COLUMNS: Final = tuple(column for column in FLOW if column.document is not None and column.name not in _LOCALITY)

Value = int | float | str | bytes


def documents_of(flows: pa.RecordBatch) -> list[bytes]:
    """One serialised FlowDocument per row, in the order of the rows."""
    present = [column for column in _COLUMNS if column.name in flows.schema.names]
    encoded = [_encode(flows.column(column.name), _encoder(column)) for column in present]
    if _TOS in flows.schema.names:
        encoded.append(_encode(flows.column(_TOS), _encode_tos))
    return [b"".join(fields) for fields in zip(*encoded, strict=True)] if encoded else [b""] * flows.num_rows


def _encode(column: pa.Array, encode: Callable[[Value], bytes]) -> list[bytes]:
    """The field's octets per row; a null is no octets."""
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    fields = np.array([encode(value) for value in column.dictionary.to_pylist()] + [b""], dtype=object)
    codes = column.indices.fill_null(len(fields) - 1).to_numpy(zero_copy_only=False)
    octets: list[bytes] = fields[codes].tolist()
    return octets


def _encoder(column: Column) -> Callable[[Value], bytes]:
    assert column.document is not None
    field = _FIELDS[column.document]
    convert: Callable[..., Value | None] | None = format_address if column.type == ADDRESS else _CONVERTERS.get(column.name)

    def encode(value: Value) -> bytes:
        wire = convert(value) if convert else value
        return b"" if wire is None else _message(field, wire)

    return encode


def _message(field: str, value: Value) -> bytes:
    document = FlowDocument()
    target = getattr(document, field)
    if hasattr(target, "value"):  # a wrapper: 0 has to be told from "not exported"
        target.value = value
        target.SetInParent()
    else:
        setattr(document, field, value)
    return document.SerializeToString()


def _encode_tos(tos: Value) -> bytes:
    assert isinstance(tos, int)
    return _message("dscp", tos >> 2) + _message("ecn", tos & 3)


_CONVERTERS: Final[dict[str, Callable[..., Value | None]]] = {
    "protocol_version": lambda version: _VERSIONS.get(ProtocolVersion(version), 0),
    "sampling_algorithm": lambda algorithm: algorithm if algorithm in _ALGORITHMS else 0,
    "vlan": str,
    "clock_correction_ms": lambda shift: shift if shift >= 0 else None,  # the wire has no sign
}
