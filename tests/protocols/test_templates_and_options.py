"""Templates (scope, bounds, withdrawal, redefinition, parking, snapshots) and options (samplers, timeouts, names) at work."""

import struct

import pytest

from common.config import ElementSettings, Ingest
from common.errors import InputError
from flowpb.schema import SamplingSource
from ingest import options as tables
from tests.protocols.wire import (
    EXPORTER,
    FLOW,
    NOW_MS,
    OTHER,
    Line,
    flow,
    ipfix,
    netflow9,
    options_template,
    put,
    specifiers,
    template,
)

_SAMPLED = (*FLOW, (48, 1))


def test_data_before_its_template_is_parked_and_replayed_with_its_own_header() -> None:
    line = Line()
    assert line.take(netflow9(put(256, flow(1)), sequence=1)) == []
    (report,) = (report for reports in line.decoder.reports(NOW_MS).values() for report in reports)
    assert [(item.domain, item.template_id, item.sets) for item in report.awaited] == [(0, 256, 1)]
    assert report.parked_sets == 1
    line.now_ms += 5000
    rows = line.take(netflow9(template(256, FLOW), put(256, flow(2)), sequence=2))
    assert [(row["bytes"], row["received_ms"], row["flow_seq_num"]) for row in rows] == [
        (1000, NOW_MS, 1),
        (2000, NOW_MS + 5000, 2),
    ]
    (report,) = (report for reports in line.decoder.reports(NOW_MS).values() for report in reports)
    assert (report.parked_sets, report.replayed_sets, report.records) == (0, 1, 2)


def test_data_before_its_template_in_the_same_datagram() -> None:
    rows = Line().take(netflow9(put(256, flow(1)), template(256, FLOW), put(256, flow(2))))
    assert [row["bytes"] for row in rows] == [1000, 2000]


def test_parked_data_expires_and_is_counted() -> None:
    line = Line(Ingest(parked_s=10))
    line.feed(netflow9(put(256, flow(1)), put(256, flow(2))))
    line.decoder.expire(NOW_MS + 10_000)
    assert line.problems() == {"template_missing": 2}
    line.decoder.expire(NOW_MS + 10_001)
    assert line.problems() == {"template_missing": 2, "parked_expired": 2}
    assert line.take(netflow9(template(256, FLOW), sequence=1)) == []


def test_parking_is_bounded_for_all_and_for_one() -> None:
    line = Line(Ingest(parked_bytes=8192))
    for number in range(20):
        line.feed(netflow9(put(256, flow(1) * 20), sequence=number))
    problems = line.problems()
    assert problems["template_missing"] == 20
    assert 16 <= problems["parked_refused"] < 20


def test_all_domains_of_an_exporter_share_its_part_of_what_waits() -> None:
    line = Line(Ingest(parked_bytes=80_000))
    for number in range(200):
        body = put(256, bytes(1000)) + put(257, bytes(4)) if number % 2 else put(257, bytes(4)) + put(256, bytes(1000))
        line.feed(netflow9(body, sequence=number // 50, domain=number % 50))
    (report,) = (report for reports in line.decoder.reports(NOW_MS).values() for report in reports)
    assert 0 < report.parked_sets <= 10_000 // 260
    line.feed(netflow9(put(256, flow(1))), exporter=OTHER)
    assert [item.parked_sets for lane in line.decoder.reports(NOW_MS).values() for item in lane if item.exporter == OTHER] == [1]
    line.decoder.expire(NOW_MS + 10**9)
    line.feed(netflow9(put(256, flow(1)), sequence=999))
    parked = [item.parked_sets for lane in line.decoder.reports(NOW_MS).values() for item in lane]
    assert parked in ([1, 0], [0, 1])


def test_what_waits_in_a_session_that_ends_is_counted() -> None:
    line = Line()
    line.feed(ipfix(put(256, flow(1)) + put(257, flow(1))), session=4)
    line.decoder.close_session(EXPORTER, 4)
    assert line.problems() == {"template_missing": 2, "parked_expired": 2}


def test_what_an_exporter_that_is_pushed_out_had_waiting_is_counted() -> None:
    line = Line(Ingest(exporters=1))
    line.feed(netflow9(put(256, flow(1)) + put(257, flow(1))))
    line.feed(netflow9(template(256, FLOW)), exporter=OTHER)
    assert line.problems() == {"template_missing": 2, "parked_expired": 2, "exporter_evicted": 1}


def test_templates_are_scoped_by_exporter_domain_protocol_and_session() -> None:
    line = Line()
    line.feed(ipfix(template(256, FLOW, ipfix=True)))
    line.feed(ipfix(put(256, flow(1))), exporter=OTHER)
    line.feed(ipfix(put(256, flow(2)), domain=7))
    line.feed(ipfix(put(256, flow(3))), session=4)
    line.feed(netflow9(put(256, flow(4))))
    assert line.rows() == []
    assert line.problems() == {"template_missing": 4}
    assert [row["bytes"] for row in line.take(ipfix(put(256, flow(5))))] == [5000]


def test_a_session_that_ends_takes_its_templates_along() -> None:
    line = Line()
    assert len(line.take(ipfix(template(256, FLOW, ipfix=True), put(256, flow(1))), session=4)) == 1
    line.decoder.close_session(EXPORTER, 4)
    assert line.take(ipfix(put(256, flow(1)), sequence=1), session=4) == []


def test_a_redefined_template_holds_from_its_place_on() -> None:
    shorter = ((1, 4),)
    rows = Line().take(netflow9(template(256, FLOW), put(256, flow(3)), template(256, shorter), put(256, struct.pack(">II", 7, 8))))
    assert [row["bytes"] for row in rows] == [3000, 7, 8]


@pytest.mark.parametrize(
    ("withdrawal", "left"),
    [
        (put(2, struct.pack(">HH", 256, 0)), {257, 258}),
        (put(2, struct.pack(">HH", 2, 0)), {258}),
        (put(3, struct.pack(">HH", 3, 0)), {256, 257}),
        (put(3, struct.pack(">HH", 258, 0)), {256, 257}),
    ],
)
def test_withdrawals_of_one_template_or_of_all_of_a_kind(withdrawal: bytes, left: set[int]) -> None:
    line = Line()
    line.feed(ipfix(template(256, FLOW, True), template(257, FLOW, True), options_template(258, ((149, 4),), ((34, 4),), True)))
    line.feed(ipfix(template(256, FLOW, True), domain=9))
    line.feed(ipfix(withdrawal, sequence=1))
    assert {row.template_id for row in line.decoder.templates() if row.domain == 0} == left
    assert len([row for row in line.decoder.templates() if row.domain == 9]) == 1


@pytest.mark.parametrize("withdrawal", [(256, 0), (2, 0)])
def test_data_after_a_withdrawal_waits_for_a_new_template(withdrawal: tuple[int, int]) -> None:
    line = Line()
    line.feed(ipfix(template(256, FLOW, True)), ipfix(put(2, struct.pack(">HH", *withdrawal)), put(256, flow(1))))
    assert line.rows() == []
    (row,) = line.take(ipfix(template(256, ((4, 1), *FLOW[:4], *FLOW[5:]), True), sequence=1))
    assert row["protocol"] == 10, "read by the new template"


def test_padding_in_every_kind_of_v9_set() -> None:
    line = Line()
    sets = template(256, FLOW), options_template(300, ((1, 4),), ((34, 4),)), put(300, struct.pack(">II", 0, 10)), put(256, flow(1))
    for size in (1, 2, 3):
        padded = [struct.pack(">HH", int.from_bytes(one[:2]), len(one) + size) + one[4:] + bytes(size) for one in sets]
        (row,) = line.take(netflow9(*padded, sequence=size))
        assert (row["bytes"], row["sampling_interval"]) == (1000, 10)
    assert line.problems() == {}
    assert len(line.decoder.option_records()) == 3


@pytest.mark.parametrize("length", [0, 3, 4, 8])
def test_scopes_of_v9_options_have_any_length(length: int) -> None:
    line = Line()
    options = options_template(300, ((2, length), (1, 0)), ((34, 4),))
    data = put(300, (b"\x05".rjust(length, b"\0") if length else b"") + struct.pack(">I", 10))
    (row,) = line.take(netflow9(options, data, template(256, (*FLOW, (10, 4))), put(256, flow(1) + struct.pack(">I", 5))))
    assert row["sampling_interval"] == 10
    assert [item.scope for item in line.decoder.samplers()] == ["interface" if length else "domain"]


@pytest.mark.parametrize(
    ("scopes", "options", "fields"),
    [(6, 4, ((1, 4), (34, 4))), (0, 4, ((34, 4),)), (4, 6, ((1, 4), (34, 4))), (5, 7, ((1, 4), (34, 4)))],
)
def test_octets_of_v9_options_that_are_no_multiple_of_four(scopes: int, options: int, fields: tuple[tuple[int, int], ...]) -> None:
    line = Line()
    line.feed(netflow9(put(1, struct.pack(">HHH", 300, scopes, options) + specifiers(fields))))
    data = put(300, bytes(4 * (len(fields) - 1)) + struct.pack(">I", 10))
    (row,) = line.take(netflow9(data, template(256, FLOW), put(256, flow(1)), sequence=1))
    assert row["sampling_interval"] == 10


def test_a_withdrawn_v9_template_is_gone() -> None:
    line = Line()
    line.feed(netflow9(template(256, FLOW)), netflow9(template(256, ()), sequence=1))
    assert line.decoder.templates() == []


def test_templates_expire_by_last_use() -> None:
    line = Line(Ingest(template_timeout_s=10))
    line.feed(netflow9(template(256, FLOW), template(257, FLOW)))
    line.now_ms += 8000
    line.feed(netflow9(put(257, flow(1)), sequence=1))
    line.decoder.expire(NOW_MS + 12_000)
    assert [row.template_id for row in line.decoder.templates()] == [257]


def test_options_outlive_their_template() -> None:
    line = Line(Ingest(template_timeout_s=10))
    line.feed(netflow9(options_template(300, ((1, 4),), ((34, 4),)), put(300, struct.pack(">II", 0, 10))))
    line.decoder.expire(NOW_MS + 60_000)
    assert line.decoder.templates() == []
    (row,) = line.take(netflow9(template(256, FLOW), put(256, flow(1)), sequence=1))
    assert row["sampling_interval"] == 10


def test_too_many_templates_push_out_the_longest_unused() -> None:
    line = Line(Ingest(templates_per_exporter=3))
    for number in range(256, 262):
        line.now_ms += 1
        line.feed(netflow9(template(number, FLOW), sequence=number))
    assert [row.template_id for row in line.decoder.templates()] == [259, 260, 261]
    assert line.problems() == {"template_evicted": 3}


def test_templates_of_very_many_fields_push_out_others() -> None:
    line = Line(Ingest(templates_per_exporter=8))
    for number in range(8):
        line.now_ms += 1
        line.feed(netflow9(template(256 + number, ((1, 4),) * 400), sequence=number))
    assert [row.template_id for row in line.decoder.templates()] == [263]
    assert line.problems() == {"template_evicted": 7}


def test_a_table_that_is_full_takes_no_more_and_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "TABLE_LIMIT", 3)
    line = Line()
    described = b"".join(struct.pack(">IBI", 0, number, 100 + number) for number in (1, 2, 3, 4, 5, 1))
    line.feed(netflow9(options_template(300, ((1, 4),), ((48, 1), (50, 4))), put(300, described)))
    assert sorted((row.scope_id, row.interval) for row in line.decoder.samplers()) == [(1, 101), (2, 102), (3, 103)]
    assert line.problems() == {"options_refused": 2}


def test_names_of_applications_hold_for_all_domains_of_an_exporter() -> None:
    line = Line()
    names = options_template(301, ((1, 4),), ((95, 4), (96, 8))), put(301, struct.pack(">II8s", 0, 0x03000050, b"http"))
    data = template(256, (*FLOW, (95, 4))), put(256, flow(1) + struct.pack(">I", 0x03000050))
    line.feed(netflow9(*names, domain=0))
    line.feed(netflow9(*data, domain=7))
    line.feed(netflow9(*data, domain=7), exporter=OTHER)
    assert {row["exporter_addr"]: row["application_name"] for row in line.rows()} == {EXPORTER: "http", OTHER: None}


def test_zero_length_and_repeated_fields_are_no_harm() -> None:
    fields = ((8, 4), (99, 0), (1, 4), (1, 4), (2, 4))
    (row,) = Line().take(netflow9(template(256, fields), put(256, bytes((10, 0, 0, 1)) + struct.pack(">III", 5, 6, 7))))
    assert (row["bytes"], row["packets"]) == (5, 7)


def test_a_template_without_octets_is_refused() -> None:
    line = Line()
    assert line.take(netflow9(template(256, ((8, 0),)), put(256, bytes(8)))) == []
    assert line.problems() == {"template_malformed": 1, "template_missing": 1}


def test_what_follows_the_end_of_a_message_is_no_part_of_it() -> None:
    line = Line()
    message = ipfix(template(256, FLOW, True), put(256, flow(1)))
    assert len(line.take(message + put(256, flow(2)))) == 1
    assert line.problems() == {"length_mismatch": 1}


def test_a_bad_set_costs_itself_and_not_its_neighbours() -> None:
    line = Line()
    broken = put(0, struct.pack(">HHHH", 300, 9, 1, 4))
    rows = line.take(netflow9(template(256, FLOW), broken, put(77, b"abcd"), put(256, flow(1))))
    assert [row["bytes"] for row in rows] == [1000]
    assert line.problems() == {"template_malformed": 1, "reserved_set": 1}
    places = [(problem.reason.value, problem.offset, problem.set_id) for problem in line.decoder.problems()]
    assert places == [("template_malformed", 60, 300), ("reserved_set", 68, 77)]


def test_a_snapshot_brings_templates_samplers_names_and_clock_over_a_restart() -> None:
    line = Line()
    line.now_ms += 60_000
    line.feed(
        netflow9(
            template(256, _SAMPLED),
            options_template(257, ((1, 4),), ((48, 1), (50, 4))),
            put(257, bytes(4) + struct.pack(">BI", 3, 500)),
            options_template(258, ((2, 4),), ((82, 8), (83, 8))),
            put(258, struct.pack(">I8s8s", 5, b"eth5", b"uplink")),
        )
    )
    again = Line()
    again.now_ms = line.now_ms
    again.decoder.restore(line.decoder.snapshot())
    assert again.decoder.templates() == line.decoder.templates()
    assert again.decoder.samplers() == line.decoder.samplers()
    assert again.decoder.names() == line.decoder.names()
    (row,) = again.take(netflow9(put(256, flow(1) + b"\x03"), sequence=1))
    assert (row["sampling_interval"], row["clock_correction_ms"]) == (500, 60_000)


@pytest.mark.parametrize("data", [b"", b"x", b"{}", b"[]", b'{"version":9}', b'{"version":1,"exporters":[{"address":"00"}]}'])
def test_a_snapshot_that_is_none_is_refused(data: bytes) -> None:
    line = Line()
    with pytest.raises(InputError):
        line.decoder.restore(data)
    assert line.decoder.templates() == []


@pytest.mark.parametrize(
    ("fields", "values", "interval", "algorithm"),
    [
        (((34, 4), (35, 1)), struct.pack(">IB", 100, 2), 100, 3),
        (((34, 4), (35, 1)), struct.pack(">IB", 100, 1), 100, 1),
        (((49, 1), (50, 4)), struct.pack(">BI", 2, 64), 64, 3),
        (((304, 2), (305, 4), (306, 4)), struct.pack(">HII", 1, 1, 999), 1000, 1),
        (((304, 2), (309, 4), (310, 4)), struct.pack(">HII", 3, 10, 1000), 100, 3),
        (((304, 2), (311, 8)), struct.pack(">Hd", 4, 0.01), 100, 4),
        (((304, 2), (307, 4), (308, 4)), struct.pack(">HII", 2, 10, 90), 10, 2),
        (((304, 2), (329, 8), (330, 8), (331, 8), (332, 8)), struct.pack(">HQQQQ", 6, 0, 999, 100, 109), 100, 6),
        (((304, 2), (329, 8), (330, 8), (331, 8), (332, 8)), struct.pack(">HQQQQ", 7, 0, (1 << 64) - 1, 0, (1 << 60) - 1), 16, 7),
    ],
)
def test_samplers_of_every_kind_hold_for_their_domain(
    fields: tuple[tuple[int, int], ...], values: bytes, interval: float, algorithm: int
) -> None:
    line = Line()
    sets = (options_template(300, ((149, 4),), fields, True), put(300, bytes(4) + values))
    (row,) = line.take(ipfix(*sets, template(256, FLOW, True), put(256, flow(1))))
    assert row["sampling_interval"] == pytest.approx(interval)
    assert (row["sampling_algorithm"], row["sampling_source"]) == (algorithm, SamplingSource.OPTIONS)


def test_sampling_by_interface_is_looked_up_by_the_input_interface() -> None:
    line = Line()
    options = options_template(300, ((2, 4),), ((34, 4),))
    data = put(300, struct.pack(">IIII", 1, 10, 2, 20))
    fields = (*FLOW, (10, 4))
    records = b"".join(flow(number) + struct.pack(">I", number) for number in (1, 2, 3))
    rows = line.take(netflow9(options, data, template(256, fields), put(256, records)))
    assert [row["sampling_interval"] for row in rows] == [10, 20, None]


@pytest.mark.parametrize("element", [130, 131])
def test_sampling_by_exporter_is_looked_up_by_the_exporter_of_the_record(element: int) -> None:
    line = Line()
    size = 4 if element == 130 else 16
    one, two, three = (number.to_bytes(2) + bytes(size - 4) + b"\0\x05" for number in (0x0A01, 0x0A02, 0x0A03))
    options = options_template(300, ((element, size),), ((34, 4),), True)
    samplers = put(300, one + struct.pack(">I", 100) + two + struct.pack(">I", 7))
    records = b"".join(flow(number) + address for number, address in enumerate((one, two, three), 1))
    rows = line.take(ipfix(options, samplers, template(256, (*FLOW, (element, size)), True), put(256, records)))
    assert [row["sampling_interval"] for row in rows] == [100, 7, None]
    assert [row["sampling_source"] for row in rows] == [SamplingSource.OPTIONS, SamplingSource.OPTIONS, SamplingSource.NONE]
    assert [(row.scope, row.interval) for row in line.decoder.samplers()] == [("exporter", 100), ("exporter", 7)]
    again = Line()
    again.decoder.restore(line.decoder.snapshot())
    assert [row["sampling_interval"] for row in again.take(ipfix(put(256, records)))] == [100, 7, None]


def test_the_sampler_of_the_only_exporter_holds_for_records_that_name_none() -> None:
    options = options_template(300, ((130, 4),), ((34, 4),), True)
    sets = (options, put(300, bytes((10, 0, 0, 1)) + struct.pack(">I", 100)), template(256, FLOW, True), put(256, flow(1)))
    assert Line().take(ipfix(*sets))[0]["sampling_interval"] == 100


def test_a_sampler_nobody_described_leaves_the_flow_unsampled() -> None:
    line = Line()
    options = options_template(300, ((1, 4),), ((48, 1), (50, 4)))
    data = put(300, struct.pack(">IBI", 0, 1, 100))
    rows = line.take(netflow9(options, data, template(256, _SAMPLED), put(256, flow(1) + b"\x01" + flow(2) + b"\x02")))
    assert [row["sampling_interval"] for row in rows] == [100, None]
    assert [row["sampling_source"] for row in rows] == [SamplingSource.OPTIONS, SamplingSource.NONE]


def test_a_record_that_says_its_sampling_is_believed_over_everything() -> None:
    line = Line(Ingest(sampling_interval=7))
    fields = (*FLOW, (34, 4))
    rows = line.take(netflow9(template(256, fields), put(256, flow(1) + struct.pack(">I", 3) + flow(2) + struct.pack(">I", 0))))
    assert [row["sampling_interval"] for row in rows] == [3, 7]
    assert [row["sampling_source"] for row in rows] == [SamplingSource.RECORD, SamplingSource.CONFIG]


def test_timeouts_and_boot_time_of_options_hold_for_the_domain() -> None:
    line = Line()
    options = options_template(300, ((149, 4),), ((36, 2), (37, 2), (160, 8)), True)
    data = put(300, struct.pack(">IHHQ", 0, 60, 15, NOW_MS - 1_000_000))
    fields = (*FLOW, (22, 4), (21, 4))
    record = flow(1) + struct.pack(">II", 100_000, 900_000)
    (row,) = line.take(ipfix(options, data, template(256, fields, True), put(256, record)))
    assert (row["first_switched_ms"], row["last_switched_ms"]) == (NOW_MS - 900_000, NOW_MS - 100_000)
    assert row["delta_switched_ms"] == NOW_MS - 160_000


def test_names_of_interfaces_applications_and_vrfs_become_tables() -> None:
    line = Line()
    line.feed(
        netflow9(
            options_template(300, ((2, 4),), ((82, 8), (83, 8))),
            put(300, struct.pack(">I8s8s", 5, b"Gi0/5\0\0\0", b"uplink  ")),
            options_template(301, ((1, 4),), ((95, 4), (96, 8), (94, 8))),
            put(301, struct.pack(">II8s8s", 0, 0x03000050, b"http", b"the web")),
            options_template(302, ((1, 4),), ((234, 4), (236, 8))),
            put(302, struct.pack(">II8s", 0, 9, b"red")),
            options_template(303, ((1, 4),), ((130, 4), (300, 4))),
            put(303, struct.pack(">I4s4s", 0, bytes((192, 0, 2, 9)), b"edge")),
        )
    )
    names = {(row.kind, row.id): (row.name, row.description) for row in line.decoder.names()}
    assert names == {
        ("interface", "5"): ("Gi0/5", "uplink"),
        ("application", "03000050"): ("http", "the web"),
        ("vrf", "9"): ("red", ""),
        ("observation_domain", "0"): ("edge", ""),
        ("exporter", "0"): ("192.0.2.9", ""),
    }


def test_elements_described_by_their_exporter_are_known_by_name_from_then_on() -> None:
    line = Line()
    fields = ((346, 4), (303, 2))
    options = options_template(300, fields, ((339, 1), (344, 1), (341, 65535)), True)
    data = put(300, struct.pack(">IHBB", 4711, 12, 3, 1) + b"\x05queue")
    line.feed(ipfix(options, data, template(256, ((12, 4, 4711),), True)))
    (row,) = (row for row in line.decoder.templates() if row.kind == "data")
    assert (row.fields[0].name, row.fields[0].type) == ("queue", "unsigned32")


def test_elements_of_the_registry_and_of_the_operator_are_not_for_exporters_to_define() -> None:
    own = ElementSettings(pen=4711, id=12, name="queue", type="unsigned16")
    line = Line(Ingest(elements=(own,)))
    options = options_template(300, ((346, 4), (303, 2)), ((339, 1), (344, 1), (341, 65535)), True)
    said = b"".join(
        struct.pack(">IHBB", pen, number, 13, 1) + b"\x04evil" for pen, number in ((0, 8), (29305, 1), (4711, 12), (4711, 9))
    )
    line.feed(ipfix(options, put(300, said), template(256, ((8, 4), (1, 4, 29305), (12, 2, 4711), (9, 2, 4711)), True)))
    (row,) = (row for row in line.decoder.templates() if row.kind == "data")
    assert [item.name for item in row.fields] == ["sourceIPv4Address", "reverseOctetDeltaCount", "queue", "evil"]
    assert line.problems() == {"options_refused": 3}


def test_applications_get_the_name_that_options_gave_them() -> None:
    line = Line()
    options = options_template(301, ((1, 4),), ((95, 4), (96, 8)))
    sets = (options, put(301, struct.pack(">II8s", 0, 0x03000050, b"http")))
    fields = (*FLOW, (95, 4), (96, 4))
    records = flow(1) + struct.pack(">I4s", 0x03000050, b"") + flow(2) + struct.pack(">I4s", 0x03000051, b"")
    records += flow(3) + struct.pack(">I4s", 0x03000050, b"own")
    rows = line.take(netflow9(*sets, template(256, fields), put(256, records)))
    assert [row["application_name"] for row in rows] == ["http", None, "own"]
    assert [row["application_id"][-1] for row in rows] == [0x50, 0x51, 0x50]


@pytest.mark.parametrize(
    ("fields", "values", "interval", "algorithm"),
    [
        (((34, 4), (35, 1)), struct.pack(">IB", 100, 2), 100, 3),
        (((50, 4), (49, 1)), struct.pack(">IB", 64, 1), 64, 1),
        (((305, 4), (306, 4), (304, 2)), struct.pack(">IIH", 1, 999, 1), 1000, 1),
        (((305, 4),), struct.pack(">I", 5), 1, None),
        (((309, 4), (310, 4), (304, 2)), struct.pack(">IIH", 10, 1000, 3), 100, 3),
        (((309, 4), (310, 4)), struct.pack(">II", 0, 1000), None, None),
        (((307, 4), (308, 4), (304, 2)), struct.pack(">IIH", 10, 90, 2), 10, 2),
        (((311, 8), (304, 2)), struct.pack(">dH", 0.01, 4), 100, 4),
        (((311, 8),), struct.pack(">d", 0.0), None, None),
        (((311, 8),), struct.pack(">d", float("nan")), None, None),
        (((311, 8),), struct.pack(">d", 5e-324), None, None),
        (((311, 8),), struct.pack(">d", -0.5), None, None),
        (((311, 4),), struct.pack(">f", 0.25), None, None),
    ],
)
def test_samplers_of_every_kind_are_read_from_the_record_itself(
    fields: tuple[tuple[int, int], ...], values: bytes, interval: float | None, algorithm: int | None
) -> None:
    (row,) = Line().take(ipfix(template(256, (*FLOW, *fields), True), put(256, flow(1) + values)))
    assert (row.get("sampling_interval"), row.get("sampling_algorithm")) == (interval, algorithm)
    assert row["sampling_source"] == (SamplingSource.NONE if interval is None else SamplingSource.RECORD)


def test_a_template_larger_than_its_set_and_reserved_ids_are_located() -> None:
    line = Line()
    for version, make in ((2, ipfix), (0, netflow9)):
        line.feed(make(put(version, struct.pack(">HHHH", 255, 1, 1, 4)), put(version + 1, struct.pack(">HHHHH", 300, 8, 8, 1, 4))))
    found = [(problem.protocol, problem.reason.value, problem.set_id) for problem in line.decoder.problems()]
    assert found == [
        (10, "template_malformed", 255),
        (10, "template_malformed", 300),
        (9, "template_malformed", 255),
        (9, "template_malformed", 300),
    ]
    assert line.decoder.templates() == []


def test_too_many_domains_of_one_exporter_push_out_its_oldest() -> None:
    line = Line()
    for number in range(1030):
        line.feed(netflow9(template(256, FLOW), domain=number))
    assert len(line.decoder.templates()) == 1024
    assert line.take(netflow9(put(256, flow(1)), domain=0, sequence=1)) == []
    assert line.problems() == {"template_evicted": 7, "template_missing": 1}


def test_a_domain_in_use_outlives_a_storm_of_others() -> None:
    line = Line()
    line.feed(netflow9(template(256, FLOW), domain=7))
    for number in range(3000):
        line.now_ms += 10
        line.feed(netflow9(template(256, FLOW), domain=100 + number))
        if number % 100 == 0:
            assert len(line.take(netflow9(put(256, flow(1)), domain=7, sequence=number))) == 1
