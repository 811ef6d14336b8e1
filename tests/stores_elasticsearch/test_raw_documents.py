"""Raw documents: literal ones of both profiles, and whatever text there is comes out as it went in."""

import json
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.addresses import pack_address
from flowpb.schema import FLOW
from stores.elasticsearch.fields import raw_fields
from stores.elasticsearch.pieces import Coded, join_rows
from stores.elasticsearch.raw import CHUNK, raw_documents
from stores.elasticsearch.target import Target
from stores.elasticsearch.templates import templates
from tests.stores.literals import LATE, MINUTE, T0, A, B, Batch, batch_of, flow

DAY: Final = 86_400_000
FULL: Final = flow(
    0, 30,
    received_ms=T0 + 40_000, exported_ms=T0 + 35_000, clock_correction_ms=1000, protocol_version=9, location="Lab", flow_seq_num=7,
    num_flow_records=24, engine_type=1, engine_id=2, src_addr="10.0.0.2", dst_addr="9.0.0.1", src_port=1000, dst_port=443,
    protocol=6, ip_version=4, tos=186, in_if=4_000_000_000, out_if=2, vlan=5, sampling_interval=10.0,
    sampling_algorithm=3, tcp_flags=27,
    src_as=64500, dst_as=64501, src_mask=24, dst_mask=8, next_hop="10.0.0.254", application="https", src_locality="private",
    dst_locality="public", flow_locality="public", exporter_node_id=11, exporter_foreign_source="net", exporter_foreign_id="r1",
    exporter_categories="Routers,Core", src_hostname="client.example", dst_hostname="server.example",
)  # fmt: skip


def target(profile: str = "compact", *fields: str) -> Target:
    return Target(("unused",), profile=profile, fields=fields)


def documents(where: Target, *batches: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """(index, id, document) of each."""
    found = []
    for each in raw_documents(where, batches):
        lines = bytes(each.content[: int(each.ends[-1])]).split(b"\n")[:-1]
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            found.append((each.index, json.loads(action)["create"]["_id"], json.loads(document)))
    return found


def test_a_compact_document() -> None:
    assert documents(target(), batch_of([FULL])) == [
        (
            "netflow-2026-09-21",
            "collector-7-3-1-0",
            {
                "@timestamp": T0 + 36_000,
                "host": A,
                "location": "Lab",
                "@received": T0 + 40_000,
                "netflow": {
                    "delta_switched": T0 + 1000, "last_switched": T0 + 31_000, "version": "Netflow v9", "direction": "ingress",
                    "input_snmp": 4_000_000_000, "output_snmp": 2, "vlan": 5, "sampling_interval": 10.0, "protocol": 6, "tos": 186,
                    "tcp_flags": 27, "application": "https", "src_addr": "10.0.0.2", "src_as": 64500, "dst_addr": "9.0.0.1",
                    "dst_as": 64501, "src_port": 1000, "dst_port": 443, "bytes": 100, "packets": 1,
                },
            },
        )
    ]  # fmt: skip


def test_an_opennms_document_has_every_field_that_opennms_writes() -> None:
    [(_, _, document)] = documents(target("opennms"), batch_of([FULL]))
    flow_fields = {
        "application", "bytes", "packets", "convo_key", "direction", "dst_addr", "dst_addr_hostname", "dst_as", "dst_locality",
        "dst_mask_len", "dst_port", "src_addr", "src_addr_hostname", "src_as", "src_locality", "src_mask_len", "src_port",
        "engine_id", "engine_type", "first_switched", "delta_switched", "last_switched", "flow_locality", "flow_records",
        "flow_seq_num",
        "input_snmp", "output_snmp", "ip_protocol_version", "next_hop", "protocol", "sampling_algorithm", "sampling_interval",
        "tcp_flags", "tos", "ecn", "dscp", "version", "vlan",
    }  # fmt: skip
    assert set(document["netflow"]) == flow_fields
    assert set(document) == {
        "@timestamp", "@clock_correction", "@version", "@received", "host", "hosts", "location", "netflow", "node_exporter",
    }  # fmt: skip
    assert document["hosts"] == ["9.0.0.1", "10.0.0.2"]
    assert document["netflow"]["convo_key"] == '["Lab",6,"9.0.0.1","10.0.0.2","https"]'
    assert (document["netflow"]["dscp"], document["netflow"]["ecn"]) == (46, 2)
    assert document["netflow"]["sampling_algorithm"] == "RandomNoutOfNSampling"
    assert document["node_exporter"] == {
        "foreign_source": "net", "foreign_id": "r1", "node_id": 11, "categories": ["Routers", "Core"],
    }  # fmt: skip


def test_what_is_not_there_is_left_out() -> None:
    [(_, _, document)] = documents(target("opennms"), batch_of([flow(0, 0, bytes=None, packets=None, direction=None)]))
    assert document == {
        "@timestamp": LATE,
        "@version": "1",
        "host": A,
        "hosts": [],
        "netflow": {"delta_switched": T0, "first_switched": T0, "last_switched": T0, "convo_key": "[null,null,null,null,null]"},
    }


_ROUTES = ("as_path", "dst_communities", "local_pref", "vni_in", "tunnel_in_src_addr")


def test_added_columns_of_any_type() -> None:
    row = flow(
        src_mac=bytes(range(6)), mpls_labels=[16, 17], application_id=b"\x03\x00\x50", extras=[{"pen": 9, "id": 1, "value": b"ab"}],
        nat_src_addr="2001:db8::5", client=1, sampling_source=4, as_path=[65010, 65020], dst_communities=[65000 << 16 | 100],
        local_pref=150, vni_in=5000, tunnel_in_src_addr="10.9.0.1",
    )  # fmt: skip
    columns = (*_ROUTES, "src_mac", "mpls_labels", "application_id", "extras", "nat_src_addr", "client", "sampling_source")
    [first, second] = documents(target("compact", *columns), batch_of([row, flow()]))
    added = {*_ROUTES, "src_mac", "mpls_labels", "application_id", "extras", "nat_src_addr", "client", "sampling_source"}
    assert {name: first[2]["netflow"][name] for name in added} == {
        "src_mac": "00:01:02:03:04:05", "mpls_labels": [16, 17], "application_id": "030050", "extras": {"9.1": "6162"},
        "as_path": [65010, 65020], "dst_communities": [65000 << 16 | 100], "local_pref": 150, "vni_in": 5000,
        "tunnel_in_src_addr": "10.9.0.1", "nat_src_addr": "2001:db8::5", "client": "source", "sampling_source": "record",
    }  # fmt: skip
    assert not added & set(second[2]["netflow"])


def test_exporters_of_a_network_do_without_some_fields() -> None:
    url = "elasticsearch://unused?profile=opennms&drop=192.0.2.0/31~src_port,application&drop=2001:db8::/32~vlan"
    rows = [{**FULL, "exporter_addr": exporter} for exporter in (A, B, "2001:db8::1")]
    found = [document["netflow"] for _, _, document in documents(Target.parse(url), batch_of(rows))]
    assert [(each.get("src_port"), each.get("application"), each.get("vlan")) for each in found] == [
        (None, None, 5),
        (1000, "https", 5),
        (1000, "https", None),
    ]


def test_a_day_per_index_and_ids_of_each_batch() -> None:
    next_day = T0 + DAY
    batches = [batch_of([flow(), flow()]), batch_of([flow()], seq=2, mark_ms=next_day, frontier_ms=T0), batch_of([], seq=3)]
    assert [(index, name) for index, name, _ in documents(target(), *batches)] == [
        ("netflow-2026-09-21", "collector-7-3-1-0"),
        ("netflow-2026-09-21", "collector-7-3-1-1"),
        ("netflow-2026-09-22", "collector-7-3-2-0"),
    ]


def test_many_flows_are_joined_in_chunks() -> None:
    batches = [batch_of([flow()] * (CHUNK // 2 + 1), seq=seq) for seq in (1, 2)]
    found = raw_documents(target(), batches)
    assert [len(each) for each in found] == [CHUNK // 2 + 1] * 2


def test_a_flow_that_came_too_late_says_so_and_numbers_fit_their_fields() -> None:
    late = batch_of([flow(bytes=2**64 - 1, sampling_interval=float("nan"))], 1, LATE + 30 * MINUTE, LATE + 30 * MINUTE)
    [(_, _, document)] = documents(target(), late)
    assert document["netflow"]["late"] is True
    assert "ancient" not in document["netflow"]
    assert document["netflow"]["bytes"] == 2**63 - 1
    assert "sampling_interval" not in document["netflow"]


TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ADDRESS: Final = st.none() | st.binary(min_size=16, max_size=16)
ROW: Final = st.tuples(TEXT, st.none() | TEXT, ADDRESS, ADDRESS, st.none() | st.integers(0, 255))
Row = tuple[str, str | None, bytes | None, bytes | None, int | None]


@given(st.lists(ROW, min_size=1))
def test_any_text_and_address_comes_out_as_it_went_in(rows: list[Row]) -> None:
    for row, (_, _, document) in zip(rows, documents(target("opennms"), drawn_batch(rows)), strict=True):
        location, application, source, destination, protocol = row
        found = document["netflow"]
        assert (document["location"], found.get("application")) == (location, application)
        assert [pack_address(found[name]) if name in found else None for name in ("src_addr", "dst_addr")] == [source, destination]
        ends = sorted(((source or b"", found.get("src_addr")), (destination or b"", found.get("dst_addr"))), key=lambda end: end[0])
        assert json.loads(found["convo_key"]) == [location, protocol, ends[0][1], ends[1][1], application]


def drawn_batch(rows: list[Row]) -> Batch:
    location, application, source, destination, protocol = zip(*rows, strict=True)
    columns = {
        "location": pa.array(location).dictionary_encode(),
        "application": pa.array(application, pa.string()).dictionary_encode(),
        "src_addr": pa.array(source, pa.binary(16)).dictionary_encode(),
        "dst_addr": pa.array(destination, pa.binary(16)).dictionary_encode(),
        "protocol": pa.array(protocol, pa.uint8()),
    }
    plain = batch_of([flow() for _ in rows]).flows
    flows = pa.RecordBatch.from_arrays([*plain.columns, *columns.values()], [*plain.schema.names, *columns])
    return Batch(flows, collector='na"me')


@pytest.mark.parametrize("profile", ["compact", "opennms"])
def test_every_field_is_mapped(profile: str) -> None:
    every = tuple(column.name for column in FLOW)
    where = target(profile, *every)
    template = templates(where)["netflow"]["template"]["mappings"]
    assert (template["dynamic"], template["_source"]) == (False, {"enabled": False})
    for field in raw_fields(profile, every):
        mapping = template["properties"]
        *heads, last = field.path.split(".")
        for head in heads:
            mapping = mapping[head]["properties"]
        assert mapping[last]["type"] == field.es_type


def test_rows_are_joined_of_constants_distinct_texts_and_columns() -> None:
    few = Coded(np.array([0, 1, 2, 1] * 3), pa.array([None, "a", "b"]))
    many = Coded(np.arange(12), pa.array([None, *map(str, range(1, 12))]))
    same = Coded(np.ones(12, np.int64), pa.array([None, "s"]))
    none = Coded(np.zeros(12, np.int64), pa.nulls(1, pa.string()))
    own = pa.array([None, *"bcdefghijkl"])
    rows = join_rows(["<", same, few, ",", many, none, "/", few, own, ">"]).to_pylist()
    texts = ["", "a", "b", "a"] * 3
    assert rows == [f"<s{texts[n]},{n or ''}/{texts[n]}{own[n].as_py() or ''}>" for n in range(12)]
