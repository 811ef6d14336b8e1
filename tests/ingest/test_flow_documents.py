"""FlowDocuments out: every field where OpenNMS expects it, nothing where nothing was exported, and a real topic."""

from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from kafka.partitioner import DefaultPartitioner

from bus.document_topic import place_of
from bus.kafka_client import KafkaTarget, connect
from common.addresses import pack_address
from common.errors import ConfigError
from flowpb.document_out import documents_of
from flowpb.flowdocument_pb2 import Direction, FlowDocument, NetflowVersion, SamplingAlgorithm
from flowpb.schema import ADDRESS, FLOW_SCHEMA, ProtocolVersion
from ingest.interop import FlowDocumentSender
from tests.ingest.packets import v5
from tests.ingest.test_service import memory, running, send, settings_in
from tests.servers.kafka import KafkaServer


def batch(**columns: list[object]) -> pa.RecordBatch:
    arrays = {}
    for name, values in columns.items():
        kind = FLOW_SCHEMA.field(name).type
        plain = [pack_address(str(each)) if kind == ADDRESS and each is not None else each for each in values]
        if pa.types.is_dictionary(kind):
            arrays[name] = pa.array(plain, kind.value_type).dictionary_encode().cast(kind)
        else:
            arrays[name] = pa.array(plain, kind)
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def parsed(flows: pa.RecordBatch) -> list[FlowDocument]:
    return [FlowDocument.FromString(document) for document in documents_of(flows)]


def test_all_fields() -> None:
    first, second = parsed(
        batch(
            exported_ms=[1_700_000_000_000, 1],
            first_switched_ms=[10, 0],
            delta_switched_ms=[11, 0],
            last_switched_ms=[12, 0],
            clock_correction_ms=[5, -5],
            exporter_addr=["192.0.2.1", "2001:db8::1"],
            protocol_version=[ProtocolVersion.IPFIX, ProtocolVersion.NETFLOW_V5],
            location=["north", "south"],
            src_addr=["10.0.0.1", None],
            src_port=[443, None],
            tos=[0b10111011, 0],
            in_if=[3, 0],
            direction=[1, 255],
            vlan=[100, None],
            bytes=[1 << 40, 0],
            sampling_interval=[100.0, None],
            sampling_algorithm=[3, 200],
        )
    )
    assert (first.timestamp, first.first_switched.value, first.delta_switched.value, first.last_switched.value) == (
        1_700_000_000_005, 15, 16, 17,
    )  # fmt: skip
    assert (first.host, first.location, first.src_address, first.src_port.value) == ("192.0.2.1", "north", "10.0.0.1", 443)
    assert (first.tos.value, first.dscp.value, first.ecn.value, first.vlan) == (0b10111011, 0b101110, 3, "100")
    assert (first.direction, first.netflow_version) == (Direction.EGRESS, NetflowVersion.IPFIX)
    assert (first.num_bytes.value, first.sampling_interval.value, first.clock_correction) == (1 << 40, 100.0, 5)
    assert first.sampling_algorithm == SamplingAlgorithm.RANDOM_N_OUT_OF_N_SAMPLING
    assert (second.host, second.direction, second.netflow_version) == ("2001:db8::1", Direction.UNKNOWN, NetflowVersion.V5)
    assert (second.src_address, second.vlan, second.sampling_algorithm) == ("", "", 0)
    assert (second.clock_correction, second.timestamp) == (2**64 - 5, 2**64 - 4), "as Java writes negative numbers"
    assert second.HasField("num_bytes")
    assert second.HasField("input_snmp_ifindex")
    assert not second.HasField("src_port")
    assert not second.HasField("sampling_interval")


def test_octets_are_those_that_protobuf_writes() -> None:
    """Field by field: of fields in the order of their numbers, as protobuf has them, no octet is more or other."""
    edges = [0, 1, 127, 128, 300, (1 << 32) - 1]
    flows = batch(
        exported_ms=[*edges, 1_700_000_000_000],
        bytes=[*edges, (1 << 64) - 1],
        src_port=[*edges[:5], 65_535, None],
        direction=[0, 1, 255, None, 0, 1, 0],
        dst_addr=["192.0.2.1", "2001:db8::1", None, "::", "10.0.0.1", "10.0.0.1", "192.0.2.1"],
        sampling_interval=[0.0, -0.0, 1.5, float("inf"), None, 1e300, 1.0],
        tos=[*[0, 1, 255, 184], *[None] * 3],
        location=["", "zwölf", None, "x" * 200, "a", "a", "b"],
        vlan=[0, 1, 4095, None, None, None, 7],
        clock_correction_ms=[0, 5, -5, None, 0, 0, 0],
    )
    for document in documents_of(flows):
        assert sorted(document) == sorted(FlowDocument.FromString(document).SerializeToString())
    together = pa.concat_batches([flows, flows.slice(2, 1)])
    assert documents_of(together.slice(7)) == [documents_of(flows)[2]], "of a dictionary that has more"


def test_rows_keep_their_order_and_no_columns_are_empty_documents() -> None:
    assert [document.num_packets.value for document in parsed(batch(packets=[3, 1, 3, 2]))] == [3, 1, 3, 2]
    assert documents_of(pa.RecordBatch.from_pylist([{}, {}])) in ([], [b"", b""])


def test_an_exporter_is_where_every_client_puts_its_key() -> None:
    keys = [pack_address(f"2001:db8::{n:x}") for n in range(200)]
    for count in (1, 3, 16):
        there = set(range(count))
        cluster = SimpleNamespace(
            topics=lambda: {"t"}, partitions_for_topic=lambda _, s=there: s, available_partitions_for_topic=lambda _, s=there: s
        )
        theirs = [DefaultPartitioner().partition("t", key, key, b"", b"", cluster) for key in keys]
        assert [place_of(key, count) for key in keys] == theirs


def test_a_url_that_is_not_kafka_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ingest\.flow_documents: it must be kafka"):
        FlowDocumentSender(settings_in(tmp_path, flow_documents="spool:"))


def test_an_unreachable_kafka_costs_documents_and_nothing_else(tmp_path: Path) -> None:
    producer, entries = memory()
    with running(settings_in(tmp_path, flow_documents="kafka://127.0.0.1:1/flows"), producer) as service:
        send(service.addresses[0], [v5(7)])
    assert entries.flows() == 7
    assert service.counters.value("ingest_flow_documents_total", result="failed") == 7


@pytest.mark.server("kafka")
def test_every_flow_is_one_message_of_the_topic(kafka: KafkaServer, tmp_path: Path) -> None:
    from kafka import TopicPartition
    from kafka.consumer import KafkaConsumer

    producer, _ = memory()
    url = f"kafka://{kafka.bootstrap}/flow-documents?partitions=1"
    with running(settings_in(tmp_path, flow_documents=url), producer) as service:
        send(service.addresses[0], [v5(24), v5(6, 24)])
    assert service.counters.value("ingest_flow_documents_total", result="sent") == 30
    consumer = connect(KafkaConsumer, KafkaTarget((kafka.bootstrap,), "flow-documents"))
    partition = TopicPartition("flow-documents", 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    found: list[FlowDocument] = []
    for _ in range(60):
        for record in consumer.poll(timeout_ms=500).get(partition, []):
            assert record.key == pack_address("127.0.0.1")
            found.append(FlowDocument.FromString(record.value))
        if len(found) == 30:
            break
    consumer.close()
    assert len(found) == 30
    assert {(each.num_bytes.value, each.dst_port.value, each.host) for each in found} == {(100, 80, "127.0.0.1")}
