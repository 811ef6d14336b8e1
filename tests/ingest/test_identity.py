"""Who the exporter is when the sender is not: agents of sFlow, exporters behind a mediator, and addresses told by options data."""

import struct
from collections.abc import Sequence

import pytest

from common.addresses import format_address, pack_address
from common.config import ExporterSettings, Ingest
from common.metrics import Counters
from flowpb.lanes import lane_of
from ingest.choices import Choices
from ingest.decoder import Datagram, Decoder
from tests.ingest.packets import EXPORT_S, TEMPLATE, ipfix_flows, ipfix_template
from tests.ingest.plain_flows import ipv4

LANES = 16
SENDER = "10.0.0.1"
NOW_MS = EXPORT_S * 1000
MAPPED = ExporterSettings(networks=("192.0.2.7",), address="203.0.113.1")
BY_RECORD = TEMPLATE + 1


def decoder(identity: str, *entries: ExporterSettings) -> Decoder:
    chosen = ExporterSettings(networks=(SENDER,), identity=identity)
    return Decoder(Ingest(exporter_settings=(chosen, *entries)), LANES, Counters())


def ipfix(set_id: int, body: bytes, domain: int = 1, sequence: int = 0) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(">HHIIIHH", 10, 20 + len(body), EXPORT_S, sequence, domain, set_id, len(body) + 4) + body


def template_with(element: int, length: int) -> bytes:
    return ipfix(2, struct.pack(">HHHHHHHH", BY_RECORD, 3, 8, 4, element, length, 1, 4))


def records(*exporters: str) -> bytes:
    def packed(text: str) -> bytes:
        address = pack_address(text)
        return address if ":" in text else address[-4:]

    parts = [struct.pack(">I", 0x0A000001) + packed(text) + struct.pack(">I", 100) for text in exporters]
    return ipfix(BY_RECORD, b"".join(parts))


def sflow(agent: str) -> bytes:
    ethernet = bytes(12) + b"\x08\x00"
    packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 100, 0, 0, 64, 17, 0, b"\x0a\0\0\x01", b"\x0a\0\0\x02") + bytes(8)
    header = ethernet + packet
    header += bytes(-len(header) % 4)
    record = struct.pack(">IIIIII", 1, 16 + len(header), 1, 118, 4, len(header)) + header
    sample = struct.pack(">IIIIIIII", 1, 0, 100, 100, 0, 1, 2, 1) + record
    address = pack_address(agent)
    kind, octets = (2, address) if ":" in agent else (1, address[-4:])
    head = struct.pack(">II", 5, kind) + octets + struct.pack(">IIII", 0, 1, 1000, 1)
    return head + struct.pack(">II", 1, len(sample)) + sample


def exporters_after(under_test: Decoder, payloads: Sequence[bytes]) -> dict[str, int]:
    """Flows by exporter; every flow is in the lane of its exporter."""
    under_test.feed_many([Datagram(pack_address(SENDER), NOW_MS, each) for each in payloads])
    found: dict[str, int] = {}
    for lane, flows in under_test.drain().items():
        for address in flows.column("exporter_addr").to_pylist():
            assert lane_of(address, LANES) == lane
            found[format_address(address)] = found.get(format_address(address), 0) + 1
    return found


@pytest.mark.parametrize("agent", ["192.0.2.8", "2001:db8::8"])
def test_agents_of_sflow_are_exporters_if_so_set(agent: str) -> None:
    assert exporters_after(decoder("agent_address"), [sflow(agent)]) == {agent: 1}
    assert exporters_after(decoder("source"), [sflow(agent)]) == {SENDER: 1}
    assert exporters_after(decoder("agent_address", MAPPED), [sflow("192.0.2.7")]) == {"203.0.113.1": 1}


def test_a_broken_header_of_sflow_is_the_senders() -> None:
    under_test = decoder("agent_address")
    assert exporters_after(under_test, [sflow("192.0.2.8")[:12], b"\0\0\0\x05\0\0\0\x09" + bytes(40)]) == {}
    assert {problem.exporter for problem in under_test.problems()} == {pack_address(SENDER)}


def test_records_say_their_exporter() -> None:
    payloads = [template_with(130, 4), records("192.0.2.1", "192.0.2.1", "192.0.2.2", "0.0.0.0", "192.0.2.7", "192.0.2.1")]
    expected = {"192.0.2.1": 3, "192.0.2.2": 1, SENDER: 1, "203.0.113.1": 1}
    assert exporters_after(decoder("exporter_address", MAPPED), payloads) == expected
    assert exporters_after(decoder("source", MAPPED), payloads) == {SENDER: 6}
    wide = [template_with(131, 16), records("2001:db8::1", "2001:db8::2")]
    assert exporters_after(decoder("exporter_address"), wide) == {"2001:db8::1": 1, "2001:db8::2": 1}


LONG_NAME = bytes(300)


@pytest.mark.parametrize("names", [(b"", b"eth0", LONG_NAME), (LONG_NAME, b"", b"x")])
@pytest.mark.parametrize("order", [(82, 130), (130, 82), (82, 130, 83)], ids=["behind a name", "before it", "between two"])
def test_records_of_variable_length_say_their_exporter(order: tuple[int, ...], names: Sequence[bytes]) -> None:
    said = ["192.0.2.1", "192.0.2.1", "0.0.0.0", "192.0.2.2", "192.0.2.7", "192.0.2.1"]
    specifiers = b"".join(struct.pack(">HH", element, 4 if element == 130 else 65535) for element in order)
    template = ipfix(
        2, struct.pack(">HH", BY_RECORD, len(order) + 2) + struct.pack(">HH", 8, 4) + specifiers + struct.pack(">HH", 1, 4)
    )

    def record(number: int, exporter: str) -> bytes:
        name = names[number % len(names)]
        text = (bytes([len(name)]) if len(name) < 255 else struct.pack(">BH", 255, len(name))) + name
        middle = b"".join(pack_address(exporter)[-4:] if element == 130 else text for element in order)
        return struct.pack(">I", 0x0A000001) + middle + struct.pack(">I", 100 + number)

    data = ipfix(BY_RECORD, b"".join(map(record, range(len(said)), said)))
    expected = {"192.0.2.1": 3, "192.0.2.2": 1, SENDER: 1, "203.0.113.1": 1}
    assert exporters_after(decoder("exporter_address", MAPPED), [template, data]) == expected
    under_test = decoder("exporter_address", MAPPED)
    under_test.feed_many([Datagram(pack_address(SENDER), NOW_MS, each) for each in (template, data)])
    octets = {
        count: format_address(exporter)
        for flows in under_test.drain().values()
        for exporter, count in zip(flows.column("exporter_addr").to_pylist(), flows.column("bytes").to_pylist(), strict=True)
    }
    whose = {"0.0.0.0": SENDER, "192.0.2.7": "203.0.113.1"}
    assert octets == {100 + number: whose.get(exporter, exporter) for number, exporter in enumerate(said)}


@pytest.mark.parametrize("domain", [0, 1])
def test_options_data_says_the_exporter_of_a_domain_or_of_all(domain: int) -> None:
    options_template = ipfix(3, struct.pack(">HHHHHHH", 300, 2, 1, 149, 4, 130, 4), domain)
    options = ipfix(300, struct.pack(">I", domain) + pack_address("192.0.2.5")[-4:], domain)
    under_test = decoder("exporter_address")
    assert exporters_after(under_test, [ipfix_template(), ipfix_flows(2), options_template, options]) == {SENDER: 2}
    assert exporters_after(under_test, [ipfix_flows(3, 2)]) == {"192.0.2.5": 3}
    assert exporters_after(under_test, [ipfix_template(9), ipfix_flows(1, 0, 9)]) == {SENDER if domain else "192.0.2.5": 1}


def test_records_are_reported_with_their_exporter() -> None:
    under_test = decoder("exporter_address")
    exporters_after(under_test, [template_with(130, 4), records("192.0.2.1", "192.0.2.2", "192.0.2.2")])
    reports = {report.exporter: report for each in under_test.reports(NOW_MS).values() for report in each}
    assert {format_address(address): report.records for address, report in reports.items()} == {
        SENDER: 0,
        "192.0.2.1": 1,
        "192.0.2.2": 2,
    }


def test_a_changed_identity_holds_from_the_next_drain_on() -> None:
    under_test = decoder("source")
    assert exporters_after(under_test, [sflow("192.0.2.8")]) == {SENDER: 1}
    chosen = ExporterSettings(networks=(SENDER,), identity="agent_address")
    under_test.reconsider(Choices(Ingest(exporter_settings=(chosen,))))
    assert exporters_after(under_test, [sflow("192.0.2.8")]) == {"192.0.2.8": 1}


def test_an_inactive_timeout_of_the_settings_counts_where_the_exporter_says_none() -> None:
    entry = ExporterSettings(networks=(SENDER,), inactive_timeout_s=20)
    wide = ExporterSettings(networks=("10.0.0.0/8",), keep_elements=("tcpControlBits",))
    for settings in (Ingest(exporter_settings=(entry, wide)), Ingest(inactive_timeout_s=20)):
        under_test = Decoder(settings, 1, Counters())
        template = ipfix(2, struct.pack(">HHHHHHHH", BY_RECORD, 3, 150, 4, 151, 4, 1, 4))
        empty, some = (struct.pack(">III", EXPORT_S - 100, EXPORT_S, octets) for octets in (0, 5))
        under_test.feed_many([Datagram(ipv4(1), NOW_MS, each) for each in (template, ipfix(BY_RECORD, empty + some))])
        (flows,) = under_test.drain().values()
        assert flows.column("delta_switched_ms").to_pylist() == [NOW_MS - 20_000, NOW_MS - 100_000]
