"""Faults seen in other collectors (reference: the list of traps), each with the test that keeps Nephrite from it."""

import struct

import pytest

from common.addresses import pack_address
from common.config import Ingest
from flowpb.schema import Direction, SamplingSource
from tests.protocols.sflow_wire import ethernet_ipv4_tcp, flow_sample, raw_header, sflow
from tests.protocols.wire import (
    EXPORTER,
    FLOW,
    NOW_MS,
    OTHER,
    UPTIME_MS,
    Line,
    flow,
    ipfix,
    netflow5,
    netflow9,
    options_template,
    put,
    record5,
    template,
)


def test_zero_field_template_then_data_ends() -> None:
    line = Line()
    assert line.take(netflow9(template(256, ()), put(256, bytes(40))), ipfix(template(256, (), True), put(256, bytes(40)))) == []
    assert line.problems() == {"template_missing": 2}


def test_withdrawal_of_everything_while_templates_are_many() -> None:
    line = Line()
    line.feed(ipfix(*(template(256 + number, FLOW, True) for number in range(50))))
    line.feed(ipfix(put(2, struct.pack(">HH", 2, 0)), template(300, FLOW, True), sequence=1))
    assert [row.template_id for row in line.decoder.templates()] == [300]


def test_enterprise_element_is_not_the_iana_one_with_its_number() -> None:
    fields = ((1, 4, 9), (2, 4, 4711), (1, 4), (8, 4, 9))
    (row,) = Line().take(ipfix(template(256, fields, True), put(256, struct.pack(">IIII", 111, 222, 333, 444))))
    assert row["bytes"] == 333
    assert "packets" not in row
    assert "src_addr" not in row


def test_same_template_id_in_two_domains_and_two_exporters() -> None:
    line = Line()
    short = ((1, 2), (2, 2))
    line.feed(netflow9(template(256, FLOW), domain=1), netflow9(template(256, short), domain=2))
    line.feed(netflow9(template(256, ((2, 2), (1, 2))), domain=1), exporter=OTHER)
    line.feed(netflow9(put(256, flow(1)), sequence=1, domain=1), netflow9(put(256, struct.pack(">HH", 5, 6)), sequence=1, domain=2))
    line.feed(netflow9(put(256, struct.pack(">HH", 7, 8)), sequence=1, domain=1), exporter=OTHER)
    found = {(row["exporter_addr"], row["observation_domain"]): (row["bytes"], row["packets"]) for row in line.rows()}
    assert found == {(EXPORTER, 1): (1000, 1), (EXPORTER, 2): (5, 6), (OTHER, 1): (8, 7)}


def test_source_port_is_not_part_of_any_key() -> None:
    line = Line()
    line.feed(netflow9(template(256, FLOW)))
    assert len(line.take(netflow9(put(256, flow(1)), sequence=1))) == 1


def test_options_record_and_data_in_one_packet() -> None:
    data_first = (template(256, FLOW), put(256, flow(1)))
    options = (options_template(300, ((1, 4),), ((34, 4),)), put(300, struct.pack(">II", 0, 1000)))
    for sets in ((*data_first, *options), (*options, *data_first)):
        (row,) = Line().take(netflow9(*sets))
        assert (row["sampling_interval"], row["sampling_source"]) == (1000, SamplingSource.OPTIONS)


def test_two_samplers_on_one_box() -> None:
    line = Line()
    options = options_template(300, ((1, 4),), ((48, 1), (50, 4)))
    samplers = put(300, struct.pack(">IBIIBI", 0, 1, 100, 0, 2, 2000))
    records = flow(1) + b"\x01" + flow(2) + b"\x02"
    rows = line.take(netflow9(options, samplers, template(256, (*FLOW, (48, 1))), put(256, records)))
    assert [row["sampling_interval"] for row in rows] == [100, 2000]


def test_packet_interval_1_and_space_999_are_1_in_1000() -> None:
    options = options_template(300, ((149, 4),), ((305, 4), (306, 4)), True)
    sets = (options, put(300, struct.pack(">III", 0, 1, 999)), template(256, FLOW, True), put(256, flow(1)))
    assert Line().take(ipfix(*sets))[0]["sampling_interval"] == 1000


def test_v5_sampling_interval_is_without_its_mode_bits() -> None:
    rows = Line().take(netflow5(record5(), sampling=0x8000 | 512), netflow5(record5(), sequence=1, sampling=0x4000))
    assert [(row["sampling_interval"], row["sampling_algorithm"]) for row in rows] == [(512, 3), (None, None)]


def test_templates_of_one_domain_outlive_a_restart_in_another() -> None:
    line = Line()
    line.feed(netflow9(template(256, FLOW), domain=1, sequence=9_000_000), netflow9(template(256, FLOW), domain=2, sequence=50))
    line.feed(netflow9(domain=1, sequence=0), netflow9(domain=1, sequence=1))
    assert (
        len(line.take(netflow9(put(256, flow(1)), domain=2, sequence=51), netflow9(put(256, flow(2)), domain=1, sequence=2))) == 2
    )


def test_duplicate_elements_in_one_template() -> None:
    fields = ((8, 4), (8, 4), (1, 4))
    (row,) = Line().take(netflow9(template(256, fields), put(256, bytes((10, 0, 0, 1, 10, 0, 0, 9)) + struct.pack(">I", 5))))
    assert (row["src_addr"], row["bytes"]) == (pack_address("10.0.0.1"), 5)


def test_both_address_families_with_one_all_zero() -> None:
    fields = ((27, 16), (8, 4), (28, 16), (12, 4), (62, 16), (15, 4))
    record = bytes(16) + bytes((10, 0, 0, 1)) + bytes(16) + bytes((10, 0, 0, 2)) + bytes(16) + bytes((10, 0, 0, 3))
    (row,) = Line().take(netflow9(template(256, fields), put(256, record)))
    assert [row[name] for name in ("src_addr", "dst_addr", "next_hop")] == [
        pack_address(f"10.0.0.{number}") for number in (1, 2, 3)
    ]


_ASA = ((148, 4), (8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (233, 1), (231, 4), (232, 4), (323, 8))


def _event(event: int, there: int, back: int) -> bytes:
    ends = struct.pack(">I", 99) + bytes((10, 0, 0, 1, 10, 0, 1, 1))
    return ends + struct.pack(">HHBBIIQ", 40000, 443, 6, event, there, back, NOW_MS)


def test_mapped_addresses_are_those_of_ipv4() -> None:
    ends = bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 1)), bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 2))
    (row,) = Line().take(ipfix(template(256, ((27, 16), (28, 16), (1, 4)), True), put(256, b"".join(ends) + struct.pack(">I", 5))))
    assert (row["src_addr"], row["dst_addr"]) == (pack_address("10.0.0.1"), pack_address("10.0.0.2"))


def test_no_counter_has_a_label_that_senders_choose() -> None:
    line = Line()
    for number in range(50):
        payload = netflow9(template(256 + number, FLOW), put(999, bytes(8)), sequence=number, domain=number)
        line.feed(payload, netflow5(record5(), sequence=number), bytes([number] * 9), exporter=pack_address(f"10.0.0.{number}"))
    line.rows()
    line.decoder.reports(NOW_MS)
    labels = {label for _, pairs in line.counters.totals for label in pairs}
    assert {name for name, _ in labels} == {"protocol", "reason"}
    assert len(labels) < 10


def test_asa_updates_and_teardown_are_not_summed_twice() -> None:
    events = (_event(1, 0, 0), _event(5, 100, 40), _event(5, 50, 10), _event(5, 7, 0), _event(2, 157, 50), _event(2, 30, 20))
    rows = Line().take(netflow9(template(256, _ASA), put(256, b"".join(events))))
    there = [row for row in rows if row["src_port"] == 40000]
    back = [row for row in rows if row["src_port"] == 443]
    assert [row["bytes"] for row in there] == [0, 100, 50, 7, 0, 30]
    assert [row["bytes"] for row in back] == [40, 10, 0, 20]
    assert {(row["src_addr"], row["dst_addr"]) for row in back} == {(pack_address("10.0.1.1"), pack_address("10.0.0.1"))}


@pytest.mark.parametrize(
    ("fields", "record", "octets"),
    [
        (((231, 4), (8, 4), (23, 4), (233, 1)), struct.pack(">I4sIB", 9, bytes(4), 5, 2), 5),
        (((232, 4), (8, 4), (233, 1)), struct.pack(">I4sB", 9, bytes(4), 2), 9),
        (((233, 1), (8, 4), (7, 2)), struct.pack(">B4sH", 3, bytes(4), 80), None),
    ],
    ids=["beside others", "of one side", "none"],
)
def test_asa_events_with_counters_of_other_kinds_are_flows_too(
    fields: tuple[tuple[int, int], ...], record: bytes, octets: int | None
) -> None:
    rows = Line().take(ipfix(template(256, fields, True), put(256, record)))
    assert [row["bytes"] for row in rows if row.get("bytes")] == ([] if octets is None else [octets])
    assert len(rows) <= 2


def test_asa_packets_of_initiator_and_responder_are_not_summed_twice() -> None:
    fields = ((148, 4), (8, 4), (12, 4), (233, 1), (298, 4), (299, 4))
    ends = struct.pack(">I", 99) + bytes((10, 0, 0, 1, 10, 0, 1, 1))
    records = b"".join(ends + struct.pack(">BII", *event) for event in ((5, 4, 1), (5, 3, 1), (2, 9, 2)))
    rows = Line().take(netflow9(template(256, fields), put(256, records)))
    assert [row["packets"] for row in rows if row["src_addr"] == pack_address("10.0.0.1")] == [4, 3, 2]
    assert [row["packets"] for row in rows if row["src_addr"] == pack_address("10.0.1.1")] == [1, 1, 0]


def test_totals_become_what_is_new_since_the_last_report() -> None:
    fields = ((8, 4), (12, 4), (152, 8), (153, 8), (85, 8), (86, 8), (136, 1))
    head = bytes((10, 0, 0, 1, 10, 0, 1, 1)) + struct.pack(">Q", NOW_MS - 90_000)
    values = ((NOW_MS - 60_000, 100, 1, 2), (NOW_MS - 30_000, 250, 3, 2), (NOW_MS, 300, 4, 3), (NOW_MS, 80, 1, 3))
    reports = [head + struct.pack(">QQQB", *report) for report in values]
    line = Line()
    line.feed(ipfix(template(256, fields, True)))
    rows = [row for number, report in enumerate(reports) for row in line.take(ipfix(put(256, report), sequence=number))]
    assert [(row["bytes"], row["packets"]) for row in rows] == [(100, 1), (150, 2), (50, 1), (80, 1)]
    starts = [row["delta_switched_ms"] - NOW_MS for row in rows]
    assert starts == [-90_000, -60_000, -30_000, -90_000]


def test_totals_of_other_structures_are_no_earlier_report_of_a_flow() -> None:
    line = Line()
    line.feed(ipfix(template(256, ((8, 4), (85, 8)), True), template(257, ((8, 4), (85, 8), (86, 8)), True)))
    line.feed(ipfix(template(258, ((8, 4), (233, 1), (231, 8)), True), template(259, ((12, 4), (85, 8)), True)))
    bodies = (struct.pack(">IQ", 7, 100), struct.pack(">IQQ", 7, 90, 9), struct.pack(">IBQ", 7, 5, 50), struct.pack(">IQ", 7, 300))
    rows = [row for number, body in enumerate(bodies) for row in line.take(ipfix(put(256 + number, body), sequence=number))]
    assert [(row["bytes"], row.get("packets")) for row in rows] == [(100, None), (90, 9), (50, None), (300, None)]


def test_biflow_becomes_two_directed_flows() -> None:
    fields = ((8, 4), (12, 4), (7, 2), (11, 2), (10, 4), (14, 4), (1, 4), (2, 4), (1, 4, 29305), (2, 4, 29305), (6, 1, 29305))
    ends = bytes((10, 0, 0, 1, 10, 0, 1, 1)) + struct.pack(">HHII", 40000, 443, 3, 4)
    both, one = ends + struct.pack(">IIIIB", 500, 5, 9000, 9, 0x12), ends + struct.pack(">IIIIB", 60, 1, 0, 0, 0)
    rows = Line().take(ipfix(template(256, fields, True), put(256, both + one)))
    found = [(row["src_port"], row["in_if"], row["out_if"], row["bytes"], row["packets"], row["tcp_flags"]) for row in rows]
    assert found == [(40000, 3, 4, 500, 5, None), (443, 4, 3, 9000, 9, 0x12), (40000, 3, 4, 60, 1, None)]
    assert rows[1]["src_addr"] == pack_address("10.0.1.1")


def test_sflow_interface_0x3fffffff_is_no_interface() -> None:
    sample = flow_sample(raw_header(ethernet_ipv4_tcp()), in_if=0x3FFFFFFF, out_if=6)
    (row,) = Line().take(sflow(sample))
    assert (row.get("in_if"), row["out_if"], row["direction"]) == (None, 6, Direction.INGRESS)


def test_long_flow_counts_from_its_active_timeout() -> None:
    fields = (*FLOW, (152, 8), (153, 8), (36, 2))
    record = flow(1) + struct.pack(">QQH", NOW_MS - 3_600_000, NOW_MS, 60)
    (row,) = Line().take(ipfix(template(256, fields, True), put(256, record)))
    assert row["delta_switched_ms"] == NOW_MS - 60_000


@pytest.mark.parametrize(
    ("first", "uptime", "expected"),
    [
        (UPTIME_MS + 500, UPTIME_MS, NOW_MS + 500),
        (0xFFFFFFFF, UPTIME_MS, NOW_MS - UPTIME_MS - 1),
        (0xFFFFFF00, 100, NOW_MS - 100 - 256),
        (0, 3_000_000_000, NOW_MS - 3_000_000_000),
    ],
)
def test_first_switched_above_uptime_and_the_49_day_wrap(first: int, uptime: int, expected: int) -> None:
    last = max(first, uptime) if first <= uptime + 1000 else 50
    (row,) = Line().take(netflow5(record5(first=first, last=last), uptime_ms=uptime))
    assert row["first_switched_ms"] == expected


def test_storm_of_random_templates_and_spoofed_sources_stays_bounded() -> None:
    line = Line(Ingest(exporters=64, templates_per_exporter=16, parked_bytes=65_536))
    for number in range(2_000):
        fields = tuple((1 + (number * 31 + place) % 400, 1 + place % 8) for place in range(number % 40 + 1))
        source = pack_address(f"10.{number % 5}.{number // 250}.{number % 250}")
        body = template(256 + number % 500, fields), put(256 + (number * 7) % 500, bytes(100))
        line.feed(netflow9(*body, sequence=number), exporter=source)
    reports = [report for lane in line.decoder.reports(NOW_MS).values() for report in lane]
    assert len(reports) == 64
    assert all(report.templates <= 16 for report in reports)
    assert sum(report.parked_sets for report in reports) * 356 <= 65_536
    assert line.problems()["exporter_evicted"] > 1000
