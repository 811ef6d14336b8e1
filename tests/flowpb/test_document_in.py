"""FlowDocuments in: what protobuf's own parser says, column by column, for canonical, odd and broken messages; and a round trip."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from columns.enrich import Enricher
from flowpb.addresses import format_address, pack_address
from flowpb.document_in import flows_of
from flowpb.document_out import documents_of
from flowpb.flowdocument_pb2 import FlowDocument, NodeInfo
from flowpb.schema import FLOW, FLOW_SCHEMA
from tests.ingest.test_flow_documents import batch
from tests.pipelines.line import entries_of

TAKEN_MS: Final = 1_700_000_000_000
NUMBERS: Final = {
    "num_bytes": "bytes", "num_packets": "packets", "src_as": "src_as", "dst_mask_len": "dst_mask", "src_port": "src_port",
    "dst_port": "dst_port", "engine_id": "engine_id", "flow_seq_num": "flow_seq_num", "input_snmp_ifindex": "in_if",
    "protocol": "protocol", "tcp_flags": "tcp_flags", "tos": "tos", "sampling_interval": "sampling_interval",
}  # fmt: skip
"""Wrapped fields, and their columns."""


def parse(documents: Sequence[bytes]) -> Any:
    return flows_of(documents, np.full(len(documents), TAKEN_MS))


def documents() -> st.SearchStrategy[FlowDocument]:
    small, text = st.none() | st.integers(0, 255), st.sampled_from(["", "eins", "zw\u00f6lf"])
    wide = st.none() | st.integers(0, 2**64 - 1)

    def make(values: dict[str, Any]) -> FlowDocument:
        document = FlowDocument(host="192.0.2.7", timestamp=values.pop("timestamp"), application=values.pop("application"))
        if values.pop("node"):
            document.exporter_node.CopyFrom(NodeInfo(foreign_source="fs", foregin_id="7", node_id=3, categories=["a", "b"]))
        for name, value in values.items():
            if value is not None:
                getattr(document, name).value = value
                getattr(document, name).SetInParent()
        return document

    wrapped: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(NUMBERS, small) | {"num_bytes": wide, "flow_seq_num": wide}
    wrapped["sampling_interval"] = st.one_of(st.none(), st.floats())
    return st.fixed_dictionaries({"timestamp": st.integers(0, 2**50), "application": text, "node": st.booleans(), **wrapped}).map(
        make
    )


def expected(document: FlowDocument, column: str, name: str) -> Any:
    value = getattr(document, name).value if document.HasField(name) else None
    kind = FLOW_SCHEMA.field(column).type
    beyond = value is not None and kind != pa.float64() and value >= 1 << kind.bit_width
    return None if beyond else value


def check(parsed: Any, messages: Sequence[FlowDocument]) -> None:
    rows = parsed.flows.to_pylist()
    assert len(rows) == len(messages)
    for row, document in zip(rows, messages, strict=True):
        for name, column in NUMBERS.items():
            wanted = expected(document, column, name)
            assert row.get(column) == wanted or (wanted != wanted and row[column] != row[column])
        assert row["exported_ms"] == (document.timestamp or TAKEN_MS)
        assert (row.get("application") or "") == document.application
        assert (row.get("exporter_foreign_id") or "") == document.exporter_node.foregin_id
        assert (row.get("exporter_categories") or "") == ",".join(document.exporter_node.categories)
        assert format_address(row["exporter_addr"]) == document.host


@given(st.lists(documents(), max_size=8), st.data())
def test_any_documents_are_what_protobuf_says(messages: list[FlowDocument], data: st.DataObject) -> None:
    """Written in one piece, or in two whose concatenation protobuf merges; with fields that nobody knows behind."""
    octets = []
    for message in messages:
        extra = data.draw(st.sampled_from([b"", b"\xfa\x3f\x02hi", b"\xf8\x3f\x07", message.SerializeToString()]))
        octets.append(message.SerializeToString() + extra)
    merged = [FlowDocument.FromString(each) for each in octets]
    parsed = parse(octets)
    assert (parsed.faults.tolist(), parsed.rows.tolist()) == ([], list(range(len(octets))))
    check(parsed, merged)


@given(st.lists(st.tuples(documents(), st.integers(0, 200), st.binary(max_size=3)), min_size=1, max_size=6))
def test_broken_octets_cost_themselves_exactly_where_protobuf_refuses_them(cuts: list[tuple[FlowDocument, int, bytes]]) -> None:
    octets = [(whole := message.SerializeToString())[: at % (len(whole) + 1)] + junk for message, at, junk in cuts]
    fine = []
    for number, each in enumerate(octets):
        try:
            if FlowDocument.FromString(each).host == "192.0.2.7":
                fine.append(number)
        except DecodeError:
            continue
    parsed = parse(octets)
    assert parsed.rows.tolist() == fine
    assert sorted([*parsed.rows.tolist(), *parsed.faults.tolist()]) == list(range(len(octets)))
    check(parsed, [FlowDocument.FromString(octets[number]) for number in fine])


def test_nothing_and_documents_without_an_exporter() -> None:
    assert parse([]).flows.num_rows == 0
    parsed = parse([b"", FlowDocument(host="core-1").SerializeToString(), FlowDocument(host="::1").SerializeToString()])
    assert (parsed.rows.tolist(), parsed.faults.tolist()) == ([2], [0, 1])


def test_what_is_missing_and_what_is_corrected() -> None:
    late = FlowDocument(host="::1", timestamp=5000, clock_correction=2**64 - 300, vlan="70000")
    late.dscp.value, late.ecn.value = 46, 1
    late.last_switched.value = 4000
    plain = FlowDocument(host="::1", vlan="12", src_address="nowhere", direction="UNKNOWN", src_locality="PRIVATE")
    first, second = parse([late.SerializeToString(), plain.SerializeToString()]).flows.to_pylist()
    assert (first["exported_ms"], first["last_switched_ms"], first["first_switched_ms"]) == (5300, 4300, 4300)
    assert (first["clock_correction_ms"], first.get("delta_switched_ms")) == (-300, None)
    assert (first["vlan"], first["tos"]) == (None, 46 << 2 | 1)
    assert (second["exported_ms"], second["last_switched_ms"], second["received_ms"]) == (TAKEN_MS,) * 3
    assert (second["vlan"], second["direction"], second["src_locality"], second.get("src_addr")) == (12, 255, "private", None)


LOST: Final = {"received_ms", "protocol_version", "src_locality", "dst_locality", "flow_locality"}
"""Columns that the wire cannot say whole: compared below where it can."""


@pytest.mark.parametrize("enriched", [False, True])
def test_flows_come_back_as_they_went(enriched: bool) -> None:
    from flowpb.codec import decode

    batches = [decode(entry.value)[1] for entry in entries_of("skewed", seed=5)[:60]]
    for flows in (each for each in batches if each.num_rows):
        sent = Enricher.default().enrich(flows) if enriched else flows
        back = parse(documents_of(sent)).flows
        carried = [c.name for c in FLOW if c.document is not None and c.name not in LOST and c.name in sent.schema.names]
        for name in (*carried, "tos"):
            wanted = sent.column(name).to_pylist() if name in sent.schema.names else [None] * sent.num_rows
            found = back.column(name).to_pylist() if name in back.schema.names else [None] * back.num_rows
            if name == "direction":
                wanted = [255 if each is None else each for each in wanted]
            if name == "clock_correction_ms":
                wanted, found = [each or 0 for each in wanted], [each or 0 for each in found]
            assert found == wanted, name
        if enriched:
            private = [None if each == "public" else each for each in sent.column("src_locality").to_pylist()]
            found = back.column("src_locality").to_pylist() if "src_locality" in back.schema.names else [None] * len(private)
            assert found == private


def test_nodes_go_and_come_back() -> None:
    sent = batch(
        exporter_addr=["192.0.2.1", "192.0.2.2", "192.0.2.1"],
        exporter_foreign_source=["lab", None, "lab"],
        exporter_foreign_id=["r1", None, "r1"],
        exporter_node_id=[7, None, 7],
        exporter_categories=["core,edge", None, "core,edge"],
        dst_node_id=[None, 9, None],
    )
    back = parse(documents_of(sent)).flows
    for name in sent.schema.names:
        assert back.column(name).to_pylist() == sent.column(name).to_pylist(), name
    assert pack_address("192.0.2.1") == back.column("exporter_addr")[0].as_py()
