"""The tables of the contract and the codec, by literals and by round trips."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpb import documents, groupings, schema
from flowpb.codec import ContractError, Header, decode, decode_header, encode
from flowpb.flow_batch_pb2 import ExporterReport, FlowBatch
from flowpb.flowdocument_pb2 import FlowDocument
from flowpb.lanes import fnv1a, lane_of

HEADER = Header("collector-a", 1_700_000_000_000, 3, 7, 1_700_000_000_250)


def flows(count: int) -> pa.RecordBatch:
    return pa.record_batch({"src_port": pa.array(range(count), pa.uint16()), "bytes": pa.array([10] * count, pa.uint64())})


def test_flow_columns_are_unique_and_have_a_meaning() -> None:
    names = [column.name for column in schema.FLOW]
    assert len(set(names)) == len(names)
    assert all(column.unit and column.null for column in schema.FLOW)


def test_flow_documents_have_the_field_numbers_that_the_table_says() -> None:
    numbers = {column.document for column in schema.FLOW if column.document}
    assert numbers <= {field.number for field in FlowDocument.DESCRIPTOR.fields}


def test_elasticsearch_names_are_used_once() -> None:
    names = [column.es for column in schema.FLOW if column.es]
    assert len(set(names)) == len(names)
    assert len({field.json for field in documents.AGGREGATE}) == len(documents.AGGREGATE)


def test_groupings_have_nephrons_names() -> None:
    assert [g.grouped_by for g in groupings.groupings_of(()) if g.scope is groupings.Scope.INTERFACE] == [
        "EXPORTER_INTERFACE",
        "EXPORTER_INTERFACE_APPLICATION",
        "EXPORTER_INTERFACE_HOST",
        "EXPORTER_INTERFACE_CONVERSATION",
        "EXPORTER_INTERFACE_TOS",
        "EXPORTER_INTERFACE_TOS_APPLICATION",
        "EXPORTER_INTERFACE_TOS_HOST",
        "EXPORTER_INTERFACE_TOS_CONVERSATION",
    ]


def test_groupings_of_values_have_their_name_and_count_per_column() -> None:
    site = groupings.Values("SITE", ("src_site", "dst_site"), (groupings.Scope.EXPORTER, groupings.Scope.SYSTEM))
    added = [g for g in groupings.groupings_of((groupings.PROTOCOL, site)) if isinstance(g.kind, groupings.Values)]
    assert {g.grouped_by: g.multiplicity for g in added} == {
        "EXPORTER_INTERFACE_PROTOCOL": 1,
        "EXPORTER_PROTOCOL": 1,
        "LOCATION_PROTOCOL": 1,
        "SYSTEM_PROTOCOL": 1,
        "EXPORTER_INTERFACE_TOS_PROTOCOL": 1,
        "EXPORTER_SITE": 2,
        "SYSTEM_SITE": 2,
    }
    assert len(groupings.BY_GROUPED_BY) == len(groupings.GROUPINGS)


@pytest.mark.parametrize(
    ("octets", "lane"),
    [(bytes(16), 10), (bytes(10) + b"\xff\xff\xc0\x00\x02\x01", 0), (bytes(10) + b"\xff\xff\x0a\x00\x00\x01", 12)],
)
def test_lanes_are_fixed_for_ever(octets: bytes, lane: int) -> None:
    assert lane_of(octets) == lane


@pytest.mark.parametrize(
    ("octets", "value"), [(b"", 0xCBF29CE484222325), (b"a", 0xAF63DC4C8601EC8C), (b"foobar", 0x85944171F73967E8)]
)
def test_fnv1a_agrees_with_the_published_vectors(octets: bytes, value: int) -> None:
    assert fnv1a(octets) == value


def test_exporters_that_differ_in_high_bits_only_are_spread() -> None:
    mapped = bytes(10) + b"\xff\xff"
    assert len({lane_of(mapped + bytes([10, 0, third, 1])) for third in range(0, 256, 16)}) >= 8


@given(st.binary(min_size=16, max_size=16), st.integers(1, 4096))
def test_lane_is_in_range(exporter: bytes, lanes: int) -> None:
    assert 0 <= lane_of(exporter, lanes) < lanes


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_round_trip(codec: str) -> None:
    report = ExporterReport(exporter=bytes(16), datagrams=4, problems={"unknown_template": 2})
    header = Header("c", 1, 2, 3, 4, 16, 5, (report,))
    entry = encode(header, flows(5), codec)  # type: ignore[arg-type]
    assert decode(entry) == (header, flows(5))


def test_columns_that_are_all_null_are_left_out() -> None:
    batch = flows(2).append_column("vlan", pa.nulls(2, pa.uint16()))
    assert decode(encode(HEADER, batch))[1].schema.names == ["src_port", "bytes"]


def test_a_batch_without_flows_is_a_heartbeat() -> None:
    header, batch = decode(encode(HEADER, None))
    assert (header.mark_ms, batch.num_rows) == (HEADER.mark_ms, 0)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.record_batch({"colour": pa.array([1])}), "column 'colour' is not in FLOW"),
        (pa.record_batch({"bytes": pa.array([1], pa.int32())}), "column 'bytes' is int32, FLOW says uint64"),
    ],
)
def test_foreign_columns_are_refused(column: pa.RecordBatch, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        encode(HEADER, column)


def test_another_schema_version_is_refused() -> None:
    with pytest.raises(ContractError, match="FlowBatch schema 99, this program reads 1"):
        decode_header(FlowBatch(schema_version=99).SerializeToString())


def test_a_wrong_count_is_refused() -> None:
    message = FlowBatch.FromString(encode(HEADER, flows(2)))
    message.flow_count = 3
    with pytest.raises(ContractError, match="2 flows in an entry that says 3"):
        decode(message.SerializeToString())


@given(st.binary(max_size=200))
def test_any_octets_are_a_batch_or_a_contract_error(octets: bytes) -> None:
    try:
        decode(octets)
    except ContractError as error:
        assert str(error)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_batch_is_a_batch_or_a_contract_error(position: int, value: int) -> None:
    entry = bytearray(encode(HEADER, flows(50)))
    entry[position % len(entry)] = value
    try:
        decode(bytes(entry))
    except ContractError as error:
        assert str(error)
