"""Groups, sides, items and ranks, computed by hand from docs/explanation/numbers.md sections 5 to 7."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from common.addresses import pack_address
from flowpb.documents import AGGREGATE_SCHEMA
from flowpb.groupings import AUTONOMOUS_SYSTEM, PROTOCOL, Scope, Values
from flowpb.lanes import lane_of
from ingest.loadgen.expected import Answer, Oracle, canonical_order
from ingest.loadgen.oracle.flows import Batch, Flow
from ingest.loadgen.oracle.groups import Document
from ingest.loadgen.oracle.services import application_of

R1 = pack_address("192.0.2.1")
A, B, C = (pack_address(f"10.0.0.{n}") for n in (1, 2, 3))
NOW = 1_767_225_600_000
MINUTE = 60_000

HTTPS = Flow(
    exporter=R1,
    first_ms=NOW + 30_000,
    last_ms=NOW + 90_000,
    location="Default",
    src_addr=B,
    dst_addr=A,
    src_port=50_000,
    dst_port=443,
    protocol=6,
    tos=0x2B,
    in_if=3,
    out_if=7,
    direction=0,
    bytes=1000,
    packets=10,
    sampling_interval=10.0,
)
POINT = replace(HTTPS, first_ms=NOW, last_ms=NOW, sampling_interval=None)


def answer(
    *flows: Flow,
    k: int = 10,
    with_dscp: bool = False,
    both_sides: bool = False,
    wide: bool = False,
    values: tuple[Values, ...] = (),
) -> Answer:
    oracle = Oracle(k=k, with_dscp=with_dscp, both_sides=both_sides, wide=wide, values=values)
    oracle.take(Batch(lane_of(R1), "c", 1, 0, NOW + 2 * MINUTE, flows))
    return oracle.answer()


def documents(found: Answer, grouped_by: str, window: int = 0, if_index: int | None = None) -> list[Document]:
    return [
        document
        for document in found.documents
        if document["grouped_by"] == grouped_by
        and document["window_start_ms"] == NOW + window * MINUTE
        and (if_index is None or document["if_index"] == if_index)
    ]


def ranked(found: Answer, grouped_by: str, column: str, **where: int) -> list[tuple[object, ...]]:
    return [
        (document["slot"], document["aggregation_type"], document[column], document["bytes_total"])
        for document in documents(found, grouped_by, **where)
    ]


def test_one_flow_whole() -> None:
    found = answer(HTTPS)
    first, second = documents(found, "EXPORTER_INTERFACE", 0), documents(found, "EXPORTER_INTERFACE", 1)
    place = {
        "window_start_ms": NOW,
        "window_end_ms": NOW + 60_000,
        "grouped_by": "EXPORTER_INTERFACE",
        "aggregation_type": "TOTAL",
        "slot": 0,
        "location": "Default",
        "exporter_addr": "192.0.2.1",
        "if_index": 3,
        "dscp": None,
        "application": None,
        "host_address": None,
        "conversation_key": None,
        "item": None,
        "lane": lane_of(R1),
    }
    numbers = {
        "bytes_ingress": 5000,
        "bytes_egress": 0,
        "bytes_total": 5000,
        "packets_ingress": 50,
        "packets_egress": 0,
        "packets_total": 50,
        "flows_ingress": 0,
        "flows_egress": 0,
        "flows_total": 0,
        "bytes_unscaled": 500,
        "packets_unscaled": 5,
        "congestion_encountered": True,
        "non_ect": False,
        "error": 0,
        "floor": 0,
        "rows": 1,
    }
    assert first == [place | numbers]
    ended = {"window_start_ms": NOW + 60_000, "window_end_ms": NOW + 120_000, "flows_ingress": 1, "flows_total": 1}
    assert second == [place | numbers | ended]
    # two windows x two scopes x (total, one application, two hosts, one conversation)
    assert len(found.documents) == 2 * 2 * 5


def test_table_has_the_schema_of_the_contract() -> None:
    table = answer(HTTPS).table()
    assert table.schema == AGGREGATE_SCHEMA
    assert table.column("mark").null_count == table.num_rows == 20


def test_documents_are_in_canonical_order_and_have_keys_of_their_own() -> None:
    found = answer(HTTPS, replace(HTTPS, direction=None), with_dscp=True)
    keys = [canonical_order(document) for document in found.documents]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys) > 40


@pytest.mark.parametrize(
    ("direction", "both_sides", "sides"),
    [
        (0, False, {(3, "ingress")}),
        (0, True, {(3, "ingress"), (7, "egress")}),
        (1, False, {(7, "egress")}),
        (1, True, {(7, "egress")}),
        (255, False, {(3, "ingress"), (7, "egress")}),
        (None, False, {(3, "ingress"), (7, "egress")}),
    ],
)
def test_sides_at_interface_scope(direction: int | None, both_sides: bool, sides: set[tuple[int, str]]) -> None:
    found = answer(replace(POINT, direction=direction), both_sides=both_sides)
    assert {
        (document["if_index"], side)
        for document in documents(found, "EXPORTER_INTERFACE")
        for side in ("ingress", "egress")
        if document[f"flows_{side}"]
    } == sides


def test_a_null_interface_is_interface_0_and_both_sides_of_one_interface_are_two_rows() -> None:
    (document,) = documents(answer(replace(POINT, in_if=None, out_if=0, direction=None)), "EXPORTER_INTERFACE")
    assert document["if_index"] == 0
    assert (document["rows"], document["bytes_ingress"], document["bytes_egress"], document["bytes_total"]) == (2, 1000, 1000, 2000)
    assert (document["flows_total"], document["bytes_unscaled"]) == (2, 2000)


def exporter_line(*flows: Flow) -> tuple[object, ...]:
    (document,) = documents(answer(*flows), "EXPORTER")
    names = ("bytes_ingress", "bytes_egress", "bytes_total", "bytes_unscaled", "flows_total", "rows")
    return tuple(document[name] for name in names)


def test_an_exporter_counts_its_in_side_where_it_has_one() -> None:
    out = replace(POINT, direction=1, bytes=300, sampling_interval=2.0)
    assert exporter_line(POINT) == (1000, 0, 1000, 1000, 1, 1)
    assert exporter_line(out) == (0, 600, 600, 300, 1, 1)
    assert exporter_line(POINT, out) == (1000, 600, 1000, 1000, 1, 2)
    assert exporter_line(replace(POINT, direction=None)) == (1000, 0, 1000, 1000, 1, 1)
    assert exporter_line(replace(POINT, bytes=0), out) == (0, 600, 0, 0, 1, 2)


def test_items_of_the_side_that_does_not_count_rank_with_nothing() -> None:
    out = replace(POINT, direction=1, dst_port=22, bytes=9_000)
    assert ranked(answer(POINT, out), "EXPORTER_APPLICATION", "application") == [(0, "TOPK", "https", 1000), (1, "TOPK", "ssh", 0)]
    assert [d["bytes_egress"] for d in documents(answer(POINT, out), "EXPORTER_APPLICATION")] == [0, 9_000]


def test_hosts_count_a_flow_at_both_ends_and_other_closes_twice_the_total() -> None:
    found = answer(POINT, replace(POINT, dst_addr=C, bytes=600), replace(POINT, src_addr=C, dst_addr=C, bytes=50), k=2)
    assert ranked(found, "EXPORTER_HOST", "host_address") == [
        (0, "TOPK", "10.0.0.2", 1600),
        (1, "TOPK", "10.0.0.1", 1000),
        (2, "OTHER", None, 700),  # 2 x 1650 - 2600
    ]
    other = documents(found, "EXPORTER_HOST")[2]
    assert (other["flows_total"], other["packets_total"], other["rows"]) == (3, 30, 3)


def test_no_address_and_no_application_are_items() -> None:
    found = answer(replace(POINT, src_addr=None, dst_addr=None, dst_port=None, protocol=None))
    assert ranked(found, "EXPORTER_HOST", "host_address") == [(0, "TOPK", None, 2000)]
    assert ranked(found, "EXPORTER_APPLICATION", "application") == [(0, "TOPK", None, 1000)]
    assert ranked(found, "EXPORTER_CONVERSATION", "conversation_key") == [(0, "TOPK", '["Default",null,null,null,null]', 1000)]


def test_conversations_have_two_directions() -> None:
    back = replace(POINT, src_addr=A, dst_addr=B, src_port=443, dst_port=50_000, bytes=1)
    key = '["Default",6,"10.0.0.1","10.0.0.2","https"]'
    assert ranked(answer(POINT, back), "EXPORTER_CONVERSATION", "conversation_key") == [(0, "TOPK", key, 1001)]


def test_conversation_key_keeps_letters_and_orders_by_octets() -> None:
    six = pack_address("2001:db8::1")
    found = answer(replace(POINT, location="Zürich", src_addr=six, dst_addr=A))
    key = '["Zürich",6,"10.0.0.1","2001:db8::1","https"]'
    assert ranked(found, "EXPORTER_CONVERSATION", "conversation_key") == [(0, "TOPK", key, 1000)]


def test_ties_go_to_the_smaller_item_and_null_is_smallest() -> None:
    ports = (22, 443, None, 25)
    found = answer(*(replace(POINT, dst_port=port) for port in ports), k=3)
    assert ranked(found, "EXPORTER_APPLICATION", "application") == [
        (0, "TOPK", None, 1000),
        (1, "TOPK", "https", 1000),
        (2, "TOPK", "smtp", 1000),
        (3, "OTHER", None, 1000),
    ]
    hosts = answer(*(replace(POINT, src_addr=source, dst_addr=None) for source in (C, A, B)))
    assert ranked(hosts, "EXPORTER_HOST", "host_address") == [
        (0, "TOPK", None, 3000),
        (1, "TOPK", "10.0.0.1", 1000),
        (2, "TOPK", "10.0.0.2", 1000),
        (3, "TOPK", "10.0.0.3", 1000),
    ]


def test_there_is_no_other_where_all_items_are_ranked() -> None:
    found = answer(POINT, replace(POINT, dst_port=22), k=2)
    assert [row[1] for row in ranked(found, "EXPORTER_APPLICATION", "application")] == ["TOPK", "TOPK"]


def test_dscp_groups() -> None:
    found = answer(POINT, replace(POINT, tos=None, bytes=5), with_dscp=True)
    totals = documents(found, "EXPORTER_INTERFACE_TOS")
    assert [(d["dscp"], d["bytes_total"], d["congestion_encountered"], d["non_ect"]) for d in totals] == [
        (0, 5, False, True),
        (10, 1000, True, False),
    ]
    assert documents(answer(POINT), "EXPORTER_INTERFACE_TOS") == []


def flags_of_ecn(tos: Sequence[int | None]) -> tuple[object, object]:
    (document,) = documents(answer(*(replace(POINT, tos=one) for one in tos)), "EXPORTER")
    return document["congestion_encountered"], document["non_ect"]


def test_ecn() -> None:
    assert flags_of_ecn([1, 2]) == (False, False)
    assert flags_of_ecn([1, 3]) == (True, False)
    assert flags_of_ecn([1, 0]) == (False, True)
    assert flags_of_ecn([None, 3]) == (True, True)


def test_other_has_the_ecn_of_the_whole_group() -> None:
    found = answer(replace(POINT, tos=3, bytes=9_000), replace(POINT, dst_port=22, tos=1), k=1)
    ecn = [(d["aggregation_type"], d["congestion_encountered"]) for d in documents(found, "EXPORTER_APPLICATION")]
    assert ecn == [("TOPK", True), ("OTHER", True)]


def test_applications_by_the_first_row_of_the_registry() -> None:
    assert application_of(6, 50_000, 443) == "https"
    assert application_of(17, 53, 50_000) == "domain"
    assert application_of(6, 443, 22) == "ssh"  # port 22 comes first, whichever side it is on
    assert application_of(6, 80, 443) == "http"
    assert application_of(132, 36_412, None) == "s1-control"
    assert application_of(1, 0, 0x0800) is None
    assert application_of(None, 443, 443) is None
    assert application_of(6, None, None) is None


def test_values_count_once_per_column_and_null_is_an_item() -> None:
    flow = replace(POINT, columns={"src_as": 9, "next_hop": A})
    gateway = Values("GATEWAY", ("next_hop",), (Scope.SYSTEM,))
    found = answer(
        flow, replace(flow, bytes=10, columns={"src_as": 9, "dst_as": 9}), values=(AUTONOMOUS_SYSTEM, PROTOCOL, gateway), wide=True
    )
    assert ranked(found, "EXPORTER_AS", "item") == [(0, "TOPK", "9", 1020), (1, "TOPK", None, 1000)]
    assert ranked(found, "EXPORTER_INTERFACE_PROTOCOL", "item") == [(0, "TOPK", "6", 1010)]
    assert ranked(found, "SYSTEM_GATEWAY", "item") == [(0, "TOPK", "10.0.0.1", 1000), (1, "TOPK", None, 10)]
    assert not documents(found, "EXPORTER_GATEWAY")
    assert not documents(found, "LOCATION_GATEWAY")


def test_what_is_wide_is_put_together_from_the_sides_that_count() -> None:
    other = replace(POINT, exporter=pack_address("192.0.2.2"), direction=1, bytes=7)
    found = answer(POINT, replace(POINT, direction=1, bytes=400), other, wide=True)
    [system] = documents(found, "SYSTEM")
    assert [system[f"bytes_{side}"] for side in ("ingress", "egress", "total")] == [1000, 7, 1007]
    assert (system["rows"], system["lane"], system["location"], system["exporter_addr"]) == (3, None, None, None)
    assert [d["location"] for d in documents(found, "LOCATION")] == ["Default"]
    assert ranked(found, "LOCATION_HOST", "host_address") == [(0, "TOPK", "10.0.0.1", 1007), (1, "TOPK", "10.0.0.2", 1007)]
