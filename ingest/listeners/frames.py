"""Captured frames down to UDP: link layer, VLAN tags, IPv4 and IPv6, fragments put together.

In: one captured frame with its link type. Out: (source address, destination port, payload) or the reason why there is none, out
of a closed set. Pure. Link types by the registry of tcpdump.org, EtherTypes by IEEE, next headers by IANA.
"""

import struct
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

_U16: Final = struct.Struct(">H")
_IPV4_MAPPED: Final = bytes(10) + b"\xff\xff"
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN_TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})
_UDP: Final = 17
_FRAGMENT_HEADER: Final = 44
_EXTENSION_HEADERS: Final = frozenset({0, 43, 60, 135, 139, 140})  # hop-by-hop, routing, destination, mobility, HIP, shim6

_ETHERNET: Final = 1
_LINKS: Final = {  # link type -> (octets before the packet, place of the EtherType or None for "look at the version")
    _ETHERNET: (14, 12),
    113: (16, 14),  # Linux cooked
    276: (20, 0),  # Linux cooked, version 2
    0: (4, None),  # BSD loopback
    108: (4, None),  # OpenBSD loopback
    12: (0, None),  # raw IP, as BSD numbers it
    14: (0, None),
    101: (0, None),
    228: (0, None),
    229: (0, None),
}
_PENDING_DATAGRAMS: Final = 256
_PENDING_BYTES: Final = 1 << 16


class Skipped(StrEnum):
    """Why a frame gave no datagram. `NOT_UDP` and `FRAGMENT` are ordinary, the others cost something."""

    NOT_UDP = "capture_not_udp"
    FRAGMENT = "capture_fragment"
    LINK_TYPE = "capture_link_type"
    TRUNCATED = "capture_truncated"
    MALFORMED = "capture_malformed"
    FRAGMENT_LOST = "capture_fragment_lost"


@dataclass(frozen=True, slots=True)
class UdpPayload:
    """What a UDP datagram carried, and between whom."""

    source: bytes
    source_port: int
    destination_port: int
    payload: bytes


@dataclass(slots=True)
class _Pieces:
    parts: dict[int, bytes] = field(default_factory=dict)
    end: int | None = None
    octets: int = 0


class FrameReader:
    """Keeps fragments of unfinished datagrams, in bounded number; `lost` counts the datagrams given up."""

    def __init__(self) -> None:
        self._pending: OrderedDict[tuple[bytes, bytes, int], _Pieces] = OrderedDict()
        self.lost = 0

    @property
    def unfinished(self) -> int:
        """Datagrams that still wait for fragments."""
        return len(self._pending)

    def read(self, link_type: int, frame: bytes, cut: bool) -> UdpPayload | Skipped:
        """The datagram of a frame; `cut` says that the capture kept only its beginning."""
        link = _LINKS.get(link_type)
        if link is None:
            return Skipped.LINK_TYPE
        try:
            at, ether_type = _network_layer(frame, *link)
            if ether_type == _IPV4:
                return self._read_ipv4(frame, at, cut)
            if ether_type == _IPV6:
                return self._read_ipv6(frame, at, cut)
        except (struct.error, IndexError):
            return Skipped.TRUNCATED if cut else Skipped.MALFORMED
        return Skipped.NOT_UDP

    def _read_ipv4(self, frame: bytes, at: int, cut: bool) -> UdpPayload | Skipped:
        header = (frame[at] & 15) * 4
        total, identification, flags_offset = struct.unpack_from(">HHH", frame, at + 2)
        if frame[at + 9] != _UDP:
            return Skipped.NOT_UDP
        total = total or len(frame) - at  # segmentation offload leaves the length empty
        body = frame[at + header : at + total]
        if header < 20 or len(body) != total - header:
            return Skipped.TRUNCATED if cut else Skipped.MALFORMED
        source = _IPV4_MAPPED + frame[at + 12 : at + 16]
        if flags_offset & 0x3FFF:
            key = (source, frame[at + 16 : at + 20], identification)
            return self._join(key, (flags_offset & 0x1FFF) * 8, bool(flags_offset & 0x2000), body)
        return _read_udp(source, body)

    def _read_ipv6(self, frame: bytes, at: int, cut: bool) -> UdpPayload | Skipped:
        length, following = struct.unpack_from(">HB", frame, at + 4)
        source, destination = frame[at + 8 : at + 24], frame[at + 24 : at + 40]
        end = at + 40 + length if length else len(frame)  # 0: a jumbogram, or offload
        at += 40
        fragment: tuple[int, bool, int] | None = None
        while following != _UDP:
            if following == _FRAGMENT_HEADER:
                following, _, offset, identification = struct.unpack_from(">BBHI", frame, at)
                at += 8
                fragment = (offset & 0xFFF8, bool(offset & 1), identification) if offset & 0xFFF9 else None
                if fragment and fragment[0]:
                    break
            elif following in _EXTENSION_HEADERS:
                following, at = frame[at], at + 8 + frame[at + 1] * 8
            else:
                return Skipped.NOT_UDP
        if following != _UDP:
            return Skipped.NOT_UDP
        body = frame[at:end]
        if len(body) != end - at:
            return Skipped.TRUNCATED if cut else Skipped.MALFORMED
        if fragment is None:
            return _read_udp(source, body)
        return self._join((source, destination, fragment[2]), fragment[0], fragment[1], body)

    def _join(self, key: tuple[bytes, bytes, int], offset: int, more: bool, body: bytes) -> UdpPayload | Skipped:
        pieces = self._pending.setdefault(key, _Pieces())
        if offset not in pieces.parts:
            pieces.parts[offset] = body
            pieces.octets += len(body)
        if not more:
            pieces.end = offset + len(body)
        whole = _assemble(pieces)
        if whole is not None:
            del self._pending[key]
            return _read_udp(key[0], whole)
        if pieces.octets > _PENDING_BYTES:
            del self._pending[key]
            self.lost += 1
        elif len(self._pending) > _PENDING_DATAGRAMS:
            self._pending.popitem(last=False)
            self.lost += 1
        return Skipped.FRAGMENT


def _network_layer(frame: bytes, offset: int, type_place: int | None) -> tuple[int, int]:
    """Where the packet begins and its EtherType, behind any VLAN tags."""
    if type_place is None:
        return offset, {4: _IPV4, 6: _IPV6}.get(frame[offset] >> 4, 0)
    (ether_type,) = _U16.unpack_from(frame, type_place)
    while ether_type in _VLAN_TAGS:
        (ether_type,) = _U16.unpack_from(frame, offset + 2)
        offset += 4
    return offset, ether_type


def _assemble(pieces: _Pieces) -> bytes | None:
    """The whole datagram once there is no gap; overlapping fragments are cut to what is still missing."""
    if pieces.end is None or pieces.octets < pieces.end:
        return None
    whole = bytearray()
    for offset in sorted(pieces.parts):
        if offset > len(whole):
            return None
        whole += pieces.parts[offset][len(whole) - offset :]
    return bytes(whole[: pieces.end])


def _read_udp(source: bytes, segment: bytes) -> UdpPayload | Skipped:
    source_port, destination_port, length = struct.unpack_from(">HHH", segment)
    length = length or len(segment)
    if not 8 <= length <= len(segment):
        return Skipped.MALFORMED
    return UdpPayload(source, source_port, destination_port, segment[8:length])
