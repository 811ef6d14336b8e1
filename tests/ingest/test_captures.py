"""Capture files, written by dpkt and by hand: every link type, both formats, fragments, damage."""

import struct
from pathlib import Path

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.addresses import pack_address
from common.errors import InputError
from ingest.listeners.capture_file import CutOffError, Frame, frames_of
from ingest.listeners.frames import FrameReader, Skipped, UdpPayload
from ingest.listeners.pcap import Capture, captures_of

PAYLOAD = bytes(range(200))
V4, V6 = pack_address("192.0.2.1"), pack_address("2001:db8::1")


def udp(payload: bytes = PAYLOAD) -> bytes:
    return struct.pack(">HHHH", 40_000, 2055, 8 + len(payload), 0) + payload


def ipv4(body: bytes = b"", *, number: int = 7, flags_offset: int = 0, protocol: int = 17, options: bytes = b"") -> bytes:
    body = body or udp()
    header = struct.pack(
        ">BBHHHBBH4s4s",
        0x45 + len(options) // 4, 0, 20 + len(options) + len(body), number, flags_offset, 64, protocol, 0, V4[12:], bytes(4),
    )  # fmt: skip
    return header + options + body


def ipv6(body: bytes = b"", following: int = 17) -> bytes:
    body = body or udp()
    return struct.pack(">IHBB16s16s", 6 << 28, len(body), following, 64, V6, bytes(16)) + body


ETHERNET = bytes(12) + b"\x08\x00"
LINKS = {
    "ethernet": (1, ETHERNET + ipv4() + bytes(6)),  # padding of a short frame is not payload
    "vlan": (1, bytes(12) + bytes.fromhex("81000064 0800") + ipv4()),
    "qinq": (1, bytes(12) + bytes.fromhex("88a80001 81000064 0800") + ipv4()),
    "cooked": (113, bytes(14) + b"\x08\x00" + ipv4()),
    "cooked vlan": (113, bytes(14) + bytes.fromhex("81000064 0800") + ipv4()),
    "cooked 2": (276, b"\x08\x00" + bytes(18) + ipv4()),
    "raw": (101, ipv4()),
    "raw bsd": (12, ipv4()),
    "ipv4": (228, ipv4()),
    "null": (0, b"\x02\0\0\0" + ipv4()),
    "loop": (108, b"\0\0\0\x02" + ipv4()),
    "options": (101, ipv4(options=bytes(8))),
}
LINKS6 = {
    "ethernet": (1, bytes(12) + b"\x86\xdd" + ipv6()),
    "cooked 2": (276, b"\x86\xdd" + bytes(18) + ipv6()),
    "raw": (101, ipv6()),
    "ipv6": (229, ipv6()),
    "null": (0, b"\x1e\0\0\0" + ipv6()),
    "hop-by-hop": (101, ipv6(bytes([17, 1]) + bytes(14) + udp(), 0)),
    "atomic fragment": (101, ipv6(bytes([17, 0, 0, 0, 0, 0, 0, 9]) + udp(), 44)),
}


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
def test_link_types_ipv4(link: tuple[int, bytes]) -> None:
    assert FrameReader().read(*link, cut=False) == UdpPayload(V4, 40_000, 2055, PAYLOAD)


@pytest.mark.parametrize("link", LINKS6.values(), ids=LINKS6)
def test_link_types_ipv6(link: tuple[int, bytes]) -> None:
    assert FrameReader().read(*link, cut=False) == UdpPayload(V6, 40_000, 2055, PAYLOAD)


@pytest.mark.parametrize(
    ("link_type", "frame", "cut", "reason"),
    [
        (1, bytes(12) + b"\x08\x06" + bytes(28), False, Skipped.NOT_UDP),
        (101, ipv4(protocol=6), False, Skipped.NOT_UDP),
        (101, ipv6(following=58), False, Skipped.NOT_UDP),
        (9999, ipv4(), False, Skipped.LINK_TYPE),
        (101, ipv4()[:60], True, Skipped.TRUNCATED),
        (101, ipv4()[:60], False, Skipped.MALFORMED),
        (101, ipv6()[:50], True, Skipped.TRUNCATED),
        (1, b"\0" * 5, True, Skipped.TRUNCATED),
        (1, b"\0" * 5, False, Skipped.MALFORMED),
        (101, ipv4(b"\0" * 6), False, Skipped.MALFORMED),
        (101, ipv4(struct.pack(">HHHH", 1, 2, 500, 0)), False, Skipped.MALFORMED),
        (101, b"", False, Skipped.MALFORMED),
    ],
)
def test_frames_without_a_datagram_say_why(link_type: int, frame: bytes, cut: bool, reason: Skipped) -> None:
    assert FrameReader().read(link_type, frame, cut) is reason


def fragments_ipv4(cuts: list[int]) -> list[bytes]:
    whole = udp(bytes(range(256)) * 10)
    ends = [*cuts[1:], len(whole)]
    return [ipv4(whole[a:b], flags_offset=a // 8 | (0x2000 if b < len(whole) else 0)) for a, b in zip(cuts, ends, strict=True)]


@given(st.permutations(range(4)))
def test_ipv4_fragments_in_any_order(order: list[int]) -> None:
    pieces = fragments_ipv4([0, 800, 1000, 1600])
    reader = FrameReader()
    read = [reader.read(101, pieces[index], cut=False) for index in order]
    assert read[:3] == [Skipped.FRAGMENT] * 3
    assert read[3] == UdpPayload(V4, 40_000, 2055, bytes(range(256)) * 10)
    assert (reader.unfinished, reader.lost) == (0, 0)


def test_a_repeated_fragment_changes_nothing() -> None:
    pieces = fragments_ipv4([0, 800])
    reader = FrameReader()
    read = [reader.read(101, piece, cut=False) for piece in (pieces[0], pieces[0], pieces[1])]
    assert read == [Skipped.FRAGMENT, Skipped.FRAGMENT, UdpPayload(V4, 40_000, 2055, bytes(range(256)) * 10)]


def test_ipv6_fragments() -> None:
    whole = udp()
    first = ipv6(struct.pack(">BBHI", 17, 0, 1, 99) + whole[:104], 44)
    last = ipv6(struct.pack(">BBHI", 17, 0, 104, 99) + whole[104:], 44)
    reader = FrameReader()
    assert reader.read(101, last, cut=False) is Skipped.FRAGMENT
    assert reader.read(101, first, cut=False) == UdpPayload(V6, 40_000, 2055, PAYLOAD)


def test_unfinished_fragments_are_bounded_and_counted() -> None:
    reader = FrameReader()
    for number in range(1000):
        reader.read(101, ipv4(bytes(1000), number=number, flags_offset=0x2000), cut=False)
    assert reader.unfinished <= 256
    assert reader.unfinished + reader.lost == 1000


@given(st.sampled_from([0, 1, 12, 101, 108, 113, 276]), st.binary(max_size=120), st.booleans())
def test_any_octets_give_a_datagram_or_a_reason(link_type: int, frame: bytes, cut: bool) -> None:
    assert isinstance(FrameReader().read(link_type, frame, cut), UdpPayload | Skipped)


@given(st.sampled_from([ipv4(), ipv6(), *fragments_ipv4([0, 800])]), st.data())
def test_damaged_packets_give_a_datagram_or_a_reason(packet: bytes, data: st.DataObject) -> None:
    damaged = bytearray(packet)
    for _ in range(3):
        damaged[data.draw(st.integers(0, 60))] = data.draw(st.integers(0, 255))
    assert isinstance(FrameReader().read(101, bytes(damaged), cut=False), UdpPayload | Skipped)


def write_pcap(path: Path, *, nano: bool = False, count: int = 3) -> Path:
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, linktype=101, nano=nano)
        for number in range(count):
            writer.writepkt(ipv4(udp(b"%d" % number)), 1_700_000_000.125 + number)
    return path


@pytest.mark.parametrize("nano", [False, True])
def test_pcap_of_dpkt(tmp_path: Path, nano: bool) -> None:
    capture = Capture(write_pcap(tmp_path / "a.pcap", nano=nano))
    read = [(each.exporter, each.received_ms, each.payload) for each in capture.datagrams()]
    assert read == [(V4, 1_700_000_000_125 + number * 1000, b"%d" % number) for number in range(3)]
    assert (capture.frames, capture.skipped, capture.damage, capture.problems()) == (3, {}, "", {})


def test_pcapng_of_dpkt(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with path.open("wb") as file:
        writer = dpkt.pcapng.Writer(file, linktype=1)
        writer.writepkt(ETHERNET + ipv4(), 1_700_000_000.5)
    read = [(each.received_ms, each.payload) for each in Capture(path).datagrams()]
    assert read == [(1_700_000_000_500, PAYLOAD)]


def big_endian_pcap(magic: int, fraction: int, extra: bytes = b"") -> bytes:
    head = struct.pack(">IHHIIII", magic, 2, 4, 0, 0, 65_535, 101)
    return head + struct.pack(">IIII", 10, fraction, 4, 9) + extra + b"abcd"


@pytest.mark.parametrize(
    "content",
    [
        big_endian_pcap(0xA1B2C3D4, 250_000),
        big_endian_pcap(0xA1B23C4D, 250_000_000),
        big_endian_pcap(0xA1B2CD34, 250_000, bytes(8)),
    ],
)
def test_big_endian_and_modified_pcap(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b.pcap"
    path.write_bytes(content)
    assert list(frames_of(path)) == [Frame(10_250, 101, b"abcd", True)]


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, link_type: int, options: bytes = b"", snap_length: int = 0) -> bytes:
    return block(order, 1, struct.pack(order + "HHI", link_type, 0, snap_length) + options)


def packet(order: str, number: int, ticks: int, octets: bytes) -> bytes:
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(octets), len(octets))
    return block(order, 6, head + octets + bytes(-len(octets) % 4))


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_with_two_interfaces_two_sections_and_every_packet_block(tmp_path: Path, order: str) -> None:
    nano = struct.pack(order + "HHB3x", 9, 1, 9) + struct.pack(order + "HHq", 14, 8, 100) + struct.pack(order + "HH", 0, 0)
    binary = struct.pack(order + "HHB3x", 9, 1, 0x8A)  # 1/1024 s
    content = (
        section(order)
        + interface(order, 101, nano)
        + interface(order, 1, binary)
        + block(order, 0xBAD, b"unknown")
        + packet(order, 0, 5_000_000_000, b"first")
        + packet(order, 1, 2048, b"second")
        + section("<")
        + interface("<", 113, snap_length=4)
        + packet("<", 0, 7_000_000, b"third")
        + block("<", 3, struct.pack("<I", 9) + b"four")
        + block("<", 2, struct.pack("<HHIIII", 0, 9, 0, 8_000_000, 4, 4) + b"five")
    )
    path = tmp_path / "c.pcapng"
    path.write_bytes(content)
    assert list(frames_of(path)) == [
        Frame(105_000, 101, b"first", False),
        Frame(2_000, 1, b"second", False),
        Frame(7_000, 113, b"third", False),
        Frame(0, 113, b"four", True),
        Frame(8_000, 113, b"five", False),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"hello, this is text", "not a pcap or pcapng file"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "its header is cut off"),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0" + bytes(20), "no byte order"),
    ],
)
def test_what_is_no_capture_is_named_with_its_fault(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as failed:
        list(Capture(path).datagrams())
    assert str(path) in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_folder_is_its_captures_and_an_empty_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without a capture"):
        captures_of(tmp_path)
    for name in ("b.pcap", "a.pcapng", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in captures_of(tmp_path)] == ["a.pcapng", "b.pcap"]
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        list(frames_of(tmp_path))
    with pytest.raises(InputError, match="cannot be read: No such file"):
        list(frames_of(tmp_path / "none.pcap"))


def test_a_file_cut_anywhere_gives_its_whole_frames_then_says_so(tmp_path: Path) -> None:
    whole = write_pcap(tmp_path / "whole.pcap").read_bytes()
    frame = (len(whole) - 24) // 3
    for cut in range(25, len(whole)):
        path = tmp_path / "cut.pcap"
        path.write_bytes(whole[:cut])
        capture = Capture(path)
        read = len(list(capture.datagrams()))
        assert read == (cut - 24) // frame
        on_edge = (cut - 24) % frame == 0
        assert capture.problems() == ({} if on_edge else {"capture_cut_off": 1})
        assert bool(capture.damage) is not on_edge


@given(st.binary(max_size=200), st.sampled_from([b"\xd4\xc3\xb2\xa1", b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a" + bytes(16)]))
def test_any_octets_behind_a_good_start_end_in_frames_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, octets: bytes, start: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "any.pcap"
    path.write_bytes(start + octets)
    try:
        assert all(isinstance(frame, Frame) for frame in frames_of(path))
    except (CutOffError, InputError) as error:
        assert str(path) in str(error)


def test_only_the_wanted_ports(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "p.pcap")
    assert len(list(Capture(path, [2055]).datagrams())) == 3
    other = Capture(path, [4739])
    assert list(other.datagrams()) == []
    assert other.skipped == {Skipped.NOT_UDP: 3}
    assert other.problems() == {}
