"""The registry by abstract data type, elements of the operator, kept elements, sections of packets, and lists."""

import struct
from typing import Final

import pytest

from common.addresses import pack_address
from common.config import ElementSettings, ExporterSettings, Ingest
from common.errors import ConfigError
from ingest.elements import Element, element_of, shipped
from ingest.elementvalues import Value, value_of
from tests.protocols.sflow_wire import MAC_A, ethernet_ipv4_tcp, ipv4, ipv6, tcp
from tests.protocols.wire import FLOW, OTHER, Line, flow, ipfix, netflow9, options_template, put, template


def test_the_shipped_tables_are_whole() -> None:
    table = shipped()
    assert len([key for key in table if key[0] == 0]) > 500
    assert len({key[0] for key in table}) > 10
    assert table[0, 1] == Element(0, 1, "octetDeltaCount", "unsigned64", "deltaCounter")
    assert element_of(29305, 1).name == "reverseOctetDeltaCount"
    assert element_of(1, 60_000) == Element(1, 60_000, "1.60000", "octetArray")


_NTP = struct.pack(">II", 1_700_000_000 + 2_208_988_800, 1 << 31)


@pytest.mark.parametrize(
    ("kind", "octets", "value"),
    [
        ("unsigned64", b"\x01\x00\x00", 65536),
        ("unsigned8", b"\xff", 255),
        ("signed32", b"\xff\xfe", -2),
        ("float64", struct.pack(">d", 0.25), 0.25),
        ("float64", struct.pack(">f", 0.25), 0.25),
        ("float32", b"\x01", "01"),
        ("boolean", b"\x01", True),
        ("boolean", b"\x02", False),
        ("boolean", b"\x07", "07"),
        ("macAddress", MAC_A, "02:00:00:00:00:01"),
        ("string", b"eth0\0\0", "eth0"),
        ("string", b"\xff", "\ufffd"),
        ("dateTimeSeconds", struct.pack(">I", 5), 5),
        ("dateTimeMicroseconds", _NTP, 1_700_000_000.5),
        ("ipv4Address", bytes((10, 0, 0, 1)), "10.0.0.1"),
        ("ipv6Address", pack_address("2001:db8::1"), "2001:db8::1"),
        ("octetArray", b"\xab\xcd", "abcd"),
        ("basicList", struct.pack(">BHHII", 3, 10, 4, 7, 8), ["allOf", "ingressInterface", 7, 8]),
        ("basicList", struct.pack(">BHH", 4, 82, 65535) + b"\x02ab\x01c", ["ordered", "interfaceName", "ab", "c"]),
        ("basicList", struct.pack(">BHH", 3, 10, 0), ["allOf", "ingressInterface"]),
        ("basicList", struct.pack(">BHHH", 3, 10, 4, 7), ["allOf", "ingressInterface", "0007"]),
        ("subTemplateList", b"\x03\x01\x00\xaa", ["allOf", 256, "aa"]),
        ("subTemplateMultiList", b"\x03\x01\x00\x00\x05\xaa\x01\x01\x00\x00", ["allOf", 256, "aa", 257, ""]),
        ("subTemplateList", b"", ""),
    ],
)
def test_values_by_abstract_data_type(kind: str, octets: bytes, value: Value) -> None:
    assert value_of(Element(0, 0, "x", kind), octets) == value


def test_lists_within_lists_end() -> None:
    octets = b""
    for _ in range(8000):
        octets = struct.pack(">BHHBH", 3, 291, 65535, 255, len(octets)) + octets
    assert len(octets) < 65535
    value, depth = value_of(Element(0, 291, "basicList", "basicList"), octets), 0
    while isinstance(value, list):
        assert value[:2] == ["allOf", "basicList"]
        value, depth = value[2], depth + 1
    assert (depth, value) == (4, octets[32:].hex())


def test_option_values_are_shown_by_their_type() -> None:
    line = Line()
    options = options_template(300, ((149, 4),), ((82, 65535), (130, 4)), True)
    line.feed(ipfix(options, put(300, struct.pack(">I", 7) + b"\x04eth0" + bytes((192, 0, 2, 1)))))
    (row,) = line.decoder.option_records()
    shown = {value.name: value.value for value in row.values}
    assert shown == {"observationDomainId": 7, "interfaceName": "eth0", "exporterIPv4Address": "192.0.2.1"}


_FIELDS = (*FLOW, (12, 2, 4711), (460, 65535), (136, 1))
_RECORD = flow(1) + b"\0\x2a" + b"\x03foo" + b"\x02"


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("4711.12",), [(4711, 12, b"\0\x2a")]),
        (("httpRequestHost", "136"), [(0, 460, b"foo"), (0, 136, b"\x02")]),
        (("unknown",), [(4711, 12, b"\0\x2a")]),
        (("queueDepth",), [(4711, 12, b"\0\x2a")]),
    ],
)
def test_elements_are_kept_on_request(words: tuple[str, ...], kept: list[tuple[int, int, bytes]]) -> None:
    added = ElementSettings(pen=4711, id=12, name="queueDepth", type="unsigned16")
    settings = ExporterSettings(networks=("192.0.2.1",), keep_elements=words)
    elements = () if "unknown" in words else (added,)
    line = Line(Ingest(exporter_settings=(settings,), elements=elements))
    payload = ipfix(template(256, _FIELDS, True), put(256, _RECORD))
    (row,) = line.take(payload)
    assert [(item["pen"], item["id"], item["value"]) for item in row["extras"]] == kept
    assert "extras" not in line.take(payload, exporter=OTHER)[0]


def test_all_elements_can_be_kept() -> None:
    line = Line(Ingest(exporter_settings=(ExporterSettings(networks=("0.0.0.0/0",), keep_elements=("all",)),)))
    (row,) = line.take(ipfix(template(256, _FIELDS, True), put(256, _RECORD)))
    assert len(row["extras"]) == len(_FIELDS)


@pytest.mark.parametrize(
    "settings",
    [
        Ingest(exporter_settings=(ExporterSettings(networks=("0.0.0.0/0",), keep_elements=("noSuchElement",)),)),
        Ingest(elements=(ElementSettings(id=1, name="x", type="unsigned7"),)),
    ],
)
def test_a_choice_that_does_not_exist_is_refused(settings: Ingest) -> None:
    with pytest.raises(ConfigError, match=r"noSuchElement|unsigned7"):
        Line(settings)


def test_unknown_elements_are_counted_once_per_template() -> None:
    line = Line()
    sets = (template(256, ((1, 4), (9, 4, 4711)), True), put(256, bytes(8)))
    line.feed(ipfix(*sets), ipfix(*sets, sequence=1))
    assert line.problems() == {"unknown_element": 1}
    assert "4711.9" in line.decoder.problems()[0].text


@pytest.mark.parametrize(("element", "section"), [(315, ethernet_ipv4_tcp()), (313, ipv4(tcp())), (313, ipv6(tcp()))])
def test_sections_of_packets_are_read_like_sampled_heads(element: int, section: bytes) -> None:
    fields = ((element, 65535), (10, 4))
    (row,) = Line().take(ipfix(template(256, fields, True), put(256, bytes([len(section)]) + section + struct.pack(">I", 7))))
    assert (row["src_port"], row["dst_port"], row["protocol"], row["in_if"]) == (40000, 443, 6, 7)
    assert (row["bytes"], row["packets"], row["tos"]) == (1400, 1, 0xB8)


def test_a_section_beside_counters_leaves_them_alone() -> None:
    section = ethernet_ipv4_tcp()
    fields = ((315, len(section)), (1, 4), (2, 4), (7, 2))
    record = section + struct.pack(">IIH", 9000, 6, 1)
    (row,) = Line().take(netflow9(template(256, fields), put(256, record)))
    assert (row["bytes"], row["packets"], row["src_port"], row["dst_port"]) == (9000, 6, 1, 443)


def _of_section(fields: tuple[tuple[int, int], ...], record: bytes) -> dict[str, object]:
    (row,) = Line().take(ipfix(template(256, fields, True), put(256, record)))
    return {name: row.get(name) for name in ("src_addr", "src_port", "bytes", "packets")}


_NOTHING: Final = {"src_addr": None, "src_port": None, "bytes": None, "packets": 1}


def test_a_section_that_does_not_begin_with_its_frame_is_not_read() -> None:
    frame = ethernet_ipv4_tcp()
    inside = struct.pack(">H", 14) + bytes([len(frame) - 14]) + frame[14:]
    assert _of_section(((409, 2), (315, 65535)), inside) == _NOTHING
    assert _of_section(((409, 2), (313, 65535)), inside) == _NOTHING
    whole = struct.pack(">H", 0) + bytes([len(frame)]) + frame
    assert _of_section(((409, 2), (315, 65535)), whole)["src_port"] == 40000


def test_packet_sections_of_netflow_v9_are_frames() -> None:
    frame = ethernet_ipv4_tcp()
    for offset, port in ((0, 40000), (14, None)):
        fields = ((102, 2), (103, 2), (104, len(frame)))
        (row,) = Line().take(netflow9(template(256, fields), put(256, struct.pack(">HH", offset, len(frame)) + frame)))
        assert (row.get("src_port"), row["packets"]) == (port, 1)


def test_padding_after_the_octets_that_were_observed_is_no_part_of_a_section() -> None:
    frame = ethernet_ipv4_tcp()
    record = struct.pack(">H", 34) + frame[:34] + b"\x11" * 26
    row = _of_section(((410, 2), (315, 60)), record)
    assert row == {"src_addr": pack_address("10.0.0.1"), "src_port": None, "bytes": 1400, "packets": 1}


@pytest.mark.parametrize(("link", "port"), [(0, 40000), (1, 40000), (2, None)])
def test_frames_of_other_links_than_ethernet_are_not_read_as_such(link: int, port: int | None) -> None:
    frame = ethernet_ipv4_tcp()
    assert _of_section(((408, 2), (315, len(frame))), struct.pack(">H", link) + frame)["src_port"] == port


def test_a_frame_that_is_empty_leaves_it_to_the_section_of_its_packet() -> None:
    packet = ipv4(tcp())
    for fields, record in (
        (((315, 65535), (313, 65535)), b"\0" + bytes([len(packet)]) + packet),
        (((313, 65535), (315, 65535)), bytes([len(packet)]) + packet + b"\0"),
    ):
        assert _of_section(fields, record)["src_port"] == 40000
