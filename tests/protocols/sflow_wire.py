"""sFlow v5 datagrams written by hand for tests."""

import struct
from typing import Final

MAC_A: Final = bytes.fromhex("020000000001")
MAC_B: Final = bytes.fromhex("020000000002")


def sflow(
    *samples: bytes, sequence: int = 1, agent: bytes = bytes((192, 0, 2, 9)), sub_agent: int = 3, count: int | None = None
) -> bytes:
    """A datagram with these samples."""
    kind = 1 if len(agent) == 4 else 2
    number = len(samples) if count is None else count
    return struct.pack(">II", 5, kind) + agent + struct.pack(">IIII", sub_agent, sequence, 1000, number) + b"".join(samples)


def item(kind: int, body: bytes) -> bytes:
    """A sample or record: type, length, body."""
    return struct.pack(">II", kind, len(body)) + body


def flow_sample(*records: bytes, in_if: int = 5, out_if: int = 6, rate: int = 1000, source: int = 5, number: int = 1) -> bytes:
    """A flow sample (0:1); `number` is its place among those of its source."""
    head = struct.pack(">IIIIIIII", number, source, rate, 100_000, 0, in_if, out_if, len(records))
    return item(1, head + b"".join(records))


def expanded_sample(*records: bytes, in_if: tuple[int, int] = (0, 5), out_if: tuple[int, int] = (0, 6), rate: int = 1000) -> bytes:
    """An expanded flow sample (0:3); interfaces are (format, value)."""
    head = struct.pack(">IIIIIIIIIII", 1, 0, 5, rate, 100_000, 0, *in_if, *out_if, len(records))
    return item(3, head + b"".join(records))


def discarded_sample(*records: bytes) -> bytes:
    """A discarded packet (0:5)."""
    return item(5, struct.pack(">IIIIIIII", 1, 0, 5, 0, 5, 6, 256, len(records)) + b"".join(records))


def raw_header(head: bytes, frame: int = 1418, protocol: int = 1) -> bytes:
    """A raw packet header record (0:1)."""
    return item(1, struct.pack(">IIII", protocol, frame, 4, len(head)) + head + bytes(-len(head) % 4))


def ipv4(
    payload: bytes, protocol: int = 6, offset: int = 0, length: int = 1400, ends: bytes = bytes((10, 0, 0, 1, 10, 0, 1, 1))
) -> bytes:
    """An IPv4 header with its payload."""
    return struct.pack(">BBHHHBBH", 0x45, 0xB8, length, 7, offset, 63, protocol, 0) + ends + payload


def ipv6(payload: bytes, next_header: int = 6, length: int = 1360) -> bytes:
    """An IPv6 header with its payload."""
    head = struct.pack(">IHBB", 6 << 28 | 0xB8 << 20 | 0x12345, length, next_header, 64)
    return head + bytes.fromhex("20010db8") + bytes(11) + b"\x01" + bytes.fromhex("20010db8") + bytes(11) + b"\x02" + payload


def tcp(src: int = 40000, dst: int = 443, flags: int = 0x18) -> bytes:
    """A TCP header."""
    return struct.pack(">HHIIHHHH", src, dst, 1, 1, 0x5000 | flags, 65535, 0, 0)


def ethernet(payload: bytes, ether_type: int = 0x0800, tags: tuple[tuple[int, int], ...] = ()) -> bytes:
    """A frame from MAC_A to MAC_B; `tags` are (type, VLAN)."""
    tagged = b"".join(struct.pack(">HH", kind, vlan) for kind, vlan in tags)
    return MAC_B + MAC_A + tagged + struct.pack(">H", ether_type) + payload


def ethernet_ipv4_tcp() -> bytes:
    """The head of an ordinary packet."""
    return ethernet(ipv4(tcp()))
