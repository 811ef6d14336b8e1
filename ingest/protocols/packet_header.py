"""The head of a sampled packet: link layer, VLAN tags, MPLS labels, IP with extension headers, transport; all packets at once.

In: octets, and where each packet's head starts and stops in them. Out: columns, each with the rows in which it is known. A head may
be cut anywhere: what was read before the cut is kept. The same parser serves sFlow raw headers and IPFIX elements 313 and 315 (RFC
7133). Refuses to know where heads come from.
"""

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Longs = NDArray[np.int64]
Words = NDArray[np.uint32]
SLACK: Final = 64
"""Octets that must follow the last head, so that reading beyond it stays inside the array."""


def _flags(size: int, *numbers: int) -> Bools:
    """A table that is true at these numbers: looking a column up in it is faster than comparing."""
    table = np.zeros(size, bool)
    table[list(numbers)] = True
    return table


ETHERNET: Final = 1
IPV4: Final = 11
IPV6: Final = 12
MPLS: Final = 13
_PPP: Final = (7, 14)
"""Header protocols of sFlow (sampled_header): PPP, and PPP over SONET/SDH (RFC 1662, 2615)."""
_TAGS: Final = _flags(1 << 16, 0x8100, 0x88A8, 0x9100, 0x9200)
_MAX_TAGS: Final = 10
_VLANS: Final = ("vlan", "vlan_inner")
_MAX_LABELS: Final = 10
_MAX_EXTENSIONS: Final = 8
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AH, _DESTINATION, _MOBILITY = 0, 43, 44, 51, 60, 135
_WITH_PORTS: Final = _flags(256, 6, 17, 33, 132, 136)
_ICMP: Final = _flags(256, 1, 58)
_WITH_LENGTH: Final = _flags(256, _HOP_BY_HOP, _ROUTING, _DESTINATION, _MOBILITY)
_EXTENSIONS: Final = _WITH_LENGTH | _flags(256, _FRAGMENT, _AH)


class Known(NamedTuple):
    """Values, and the rows in which they are known."""

    values: NDArray[Any]
    rows: Bools


@dataclass(slots=True)
class Heads:
    """What was read of all heads: numbers by column of FLOW, addresses by width, labels top first, and the IP length."""

    numbers: dict[str, Known] = field(default_factory=dict)
    narrow: dict[str, Known] = field(default_factory=dict)
    wide: dict[str, Known] = field(default_factory=dict)
    octets: dict[str, Known] = field(default_factory=dict)
    labels: list[Known] = field(default_factory=list)
    ip_length: Known | None = None
    inner: Known | None = None
    inner_kind: Longs | None = None


class Octets:
    """Octets read at many places at once. What is read where too little is left means nothing: `fit` tells."""

    def __init__(self, data: NDArray[np.uint8], stop: Longs) -> None:
        self.data = data
        self.stop = stop
        self._words = {
            width: np.ndarray((max(len(data) - width + 1, 0),), f">u{width}", data.data, strides=(1,)) for width in (1, 2, 4)
        }
        self._last = len(data) - SLACK

    def fit(self, place: Longs, width: int) -> Bools:
        """Where `width` octets are left."""
        return place + width <= self.stop

    def read(self, place: Longs, width: int) -> Longs:
        """Unsigned integers of 1, 2 or 4 octets."""
        values: Longs = self._words[width][np.minimum(place, self._last)].astype(np.int64)
        return values

    def take(self, place: Longs, width: int) -> NDArray[np.uint8]:
        """(places, width) octets."""
        return take_rows(self.data, np.minimum(place, self._last), width)

    def take_address(self, place: Longs) -> NDArray[np.uint64]:
        """16 octets at each place as two rows of words, as they are in memory."""
        return self.take(place, 16).view(np.uint64).T


def take_rows(data: NDArray[np.uint8], place: Longs, width: int) -> NDArray[np.uint8]:
    """(places, width) octets. As one value each, which is copied at once: twice as fast as so many octets."""
    values = np.ndarray((len(data) - width + 1,), f"V{width}", data.data, strides=(1,))
    taken: NDArray[np.uint8] = values[place].view(np.uint8).reshape(-1, width)
    return taken


def parse_heads(data: NDArray[np.uint8], start: Longs, stop: Longs, kind: Longs, tunnels: bool = False) -> Heads:
    """Read heads [start, stop) of `data`, which has SLACK octets more; `kind` is sFlow's header_protocol of each.

    With `tunnels`, `Heads.inner` and `inner_kind` tell where the payload of a tunnel starts, and how it is to be read on.
    """
    octets = Octets(data, stop)
    heads = Heads()
    ethernet = kind == ETHERNET
    ether_type = np.select([kind == IPV4, kind == IPV6, kind == MPLS], [0x0800, 0x86DD, 0x8847], 0).astype(np.int64)
    place = start.copy()
    if (kind == _PPP[0]).any() or (kind == _PPP[1]).any():
        place, ether_type = _read_ppp(octets, place, (kind == _PPP[0]) | (kind == _PPP[1]), ether_type)
    if ethernet.any():
        place, ether_type = _read_ethernet(octets, heads, place, ethernet, ether_type)
    place, ether_type = _read_labels(octets, heads, place, ether_type)
    transport = _read_ip(octets, heads, place, ether_type)
    _read_transport(octets, heads, *transport)
    if tunnels:
        _find_tunnels(octets, heads, *transport)
    return heads


def _read_ethernet(octets: Octets, heads: Heads, place: Longs, ethernet: Bools, ether_type: Longs) -> tuple[Longs, Longs]:
    frame = octets.take(place, 18)  # with the first tag, which is the last one nearly everywhere
    heads.octets["dst_mac"] = Known(frame[:, :6], ethernet & octets.fit(place, 6))
    heads.octets["src_mac"] = Known(frame[:, 6:12], ethernet & octets.fit(place, 12))
    at = place + 12
    found = _number(frame, 12, 2)
    for number in range(_MAX_TAGS):
        tagged = ethernet & _TAGS[found]
        if not tagged.any():
            break
        if number < len(_VLANS):
            tag = (octets.read(at + 2, 2) if number else _number(frame, 14, 2)) & 0xFFF
            heads.numbers[_VLANS[number]] = Known(tag.astype(np.uint16), tagged & octets.fit(at, 4))
        below = octets.read(at + 4, 2) if number else _number(frame, 16, 2)
        at = np.where(tagged, at + 4, at)
        found = np.where(tagged, below, found)
    snap = ethernet & (found <= 1500)
    if snap.any():
        snap &= octets.read(at + 2, 4) == 0xAAAA0300
        at = np.where(snap, at + 8, at)
        found = np.where(snap, octets.read(at, 2), found)
    session = ethernet & (found == 0x8864)  # PPPoE (RFC 2516 section 4), then the PPP protocol number
    if session.any():
        inside = octets.read(at + 8, 2)
        found = np.where(session, np.select([inside == 0x21, inside == 0x57], [0x0800, 0x86DD], 0), found)
        at = np.where(session, at + 8, at)
    return np.where(ethernet, at + 2, place), np.where(ethernet, found, ether_type)


def _read_ppp(octets: Octets, place: Longs, point_to_point: Bools, ether_type: Longs) -> tuple[Longs, Longs]:
    """Address and control (0xff03) may be left out; then the number of the protocol (IANA, PPP DLL protocol numbers)."""
    at = np.where(point_to_point & (octets.read(place, 2) == 0xFF03), place + 2, place)
    protocol = octets.read(at, 2)
    found = np.select([protocol == 0x21, protocol == 0x57, protocol == 0x281], [0x0800, 0x86DD, 0x8847], 0)
    return np.where(point_to_point, at + 2, place), np.where(point_to_point, found, ether_type)


def _read_labels(octets: Octets, heads: Heads, place: Longs, ether_type: Longs) -> tuple[Longs, Longs]:
    """RFC 3032: 20 bits of label, 3 of class, 1 for the bottom, 8 of TTL. Below the bottom the first nibble tells what follows."""
    inside = (ether_type == 0x8847) | (ether_type == 0x8848)
    if not inside.any():
        return place, ether_type
    open_stack = inside
    for _ in range(_MAX_LABELS):
        here = open_stack & octets.fit(place, 4)
        if not here.any():
            break
        entry = octets.read(place, 4)
        heads.labels.append(Known((entry >> 12).astype(np.uint32), here))
        place = np.where(here, place + 4, place)
        open_stack = here & (entry >> 8 & 1 == 0)
    nibble = octets.read(place, 1) >> 4
    below = np.select([nibble == 4, nibble == 6], [0x0800, 0x86DD], 0)
    return place, np.where(inside & ~open_stack, below, ether_type)


def _read_ip(octets: Octets, heads: Heads, place: Longs, ether_type: Longs) -> tuple[Longs, Longs, Bools]:
    """Columns of the IP header; where the transport header is, its protocol, and whether it is there (no later fragment)."""
    head = octets.take(place, 20)
    first = _number(head, 0, 1)
    four = (ether_type == 0x0800) & (first >> 4 == 4) & octets.fit(place, 1)
    six = (ether_type == 0x86DD) & (first >> 4 == 6) & octets.fit(place, 1)
    _put(heads, "ip_version", np.where(six, 6, 4), np.uint8, four | six)
    at, protocol, carries, known = place, np.zeros(len(place), np.int64), np.zeros(len(place), bool), np.zeros(len(place), bool)
    length, length_known = np.zeros(len(place), np.int64), np.zeros(len(place), bool)
    tos, ttl, offset = _number(head, 1, 1), _number(head, 8, 1), _number(head, 6, 2) & 0x1FFF
    tos_known, ttl_known, offset_known = four & octets.fit(place, 2), four & octets.fit(place, 9), four & octets.fit(place, 8)
    if four.any():
        length, length_known = np.where(four, _number(head, 2, 2), 0), four & octets.fit(place, 4)
        protocol, known = np.where(four, _number(head, 9, 1), 0), four & octets.fit(place, 10)
        heads.narrow["src_addr"] = Known(_address(head, 12), four & octets.fit(place, 16))
        heads.narrow["dst_addr"] = Known(_address(head, 16), four & octets.fit(place, 20))
        at = np.where(four, place + (first & 0xF) * 4, at)
        carries = known & (offset == 0) & (first & 0xF >= 5)
    if six.any():
        word = _number(head, 0, 4)
        tos, tos_known = np.where(six, word >> 20 & 0xFF, tos), tos_known | six & octets.fit(place, 2)
        ttl, ttl_known = np.where(six, _number(head, 7, 1), ttl), ttl_known | six & octets.fit(place, 8)
        length = np.where(six, _number(head, 4, 2) + 40, length)
        length_known |= six & octets.fit(place, 6) & (length > 40)  # 0 is more than 65,535 (RFC 2675)
        _put(heads, "flow_label", word & 0xFFFFF, np.uint32, six & octets.fit(place, 4))
        heads.wide["src_addr"] = Known(octets.take_address(place + 8), six & octets.fit(place, 24))
        heads.wide["dst_addr"] = Known(octets.take_address(place + 24), six & octets.fit(place, 40))
        extensions = _skip_extensions(octets, place + 40, _number(head, 6, 1), six & octets.fit(place, 7))
        at, protocol = np.where(six, extensions.place, at), np.where(six, extensions.protocol, protocol)
        offset, offset_known = np.where(six, extensions.offset, offset), offset_known | extensions.fragments
        known, carries = known | six & octets.fit(place, 7), np.where(six, extensions.carries, carries)
    _put(heads, "tos", tos, np.uint8, tos_known)
    _put(heads, "min_ttl", ttl, np.uint8, ttl_known)
    _put(heads, "max_ttl", ttl, np.uint8, ttl_known)
    _put(heads, "fragment_offset", offset, np.uint16, offset_known)
    _put(heads, "protocol", protocol, np.uint8, known)
    heads.ip_length = Known(length.astype(np.uint64), length_known & (length > 0))
    return at, protocol, carries


class _Extensions(NamedTuple):
    place: Longs
    protocol: Longs
    offset: Longs
    fragments: Bools
    carries: Bools


def _skip_extensions(octets: Octets, place: Longs, protocol: Longs, inside: Bools) -> _Extensions:
    """RFC 8200 section 4: the chain of extension headers up to the transport header, or to where the head is cut."""
    offset, fragments = np.zeros(len(place), np.int64), np.zeros(len(place), bool)
    for _ in range(_MAX_EXTENSIONS):
        options = inside & _WITH_LENGTH[protocol]
        fragment, authentic = inside & (protocol == _FRAGMENT), inside & (protocol == _AH)
        extension = (options | fragment | authentic) & octets.fit(place, 8)
        if not extension.any():
            break
        offset = np.where(fragment & extension, octets.read(place + 2, 2) >> 3, offset)
        fragments |= fragment & extension
        size = octets.read(place + 1, 1)
        step = np.select([fragment, authentic], [8, (size + 2) * 4], (size + 1) * 8)
        protocol = np.where(extension, octets.read(place, 1), protocol)
        place = np.where(extension, place + step, place)
    ended = ~_EXTENSIONS[protocol]
    return _Extensions(place, protocol, offset, fragments, inside & ended & (offset == 0))


def _read_transport(octets: Octets, heads: Heads, at: Longs, protocol: Longs, carries: Bools) -> None:
    head = octets.take(at, 14)
    ports = carries & _WITH_PORTS[protocol]
    _put(heads, "src_port", _number(head, 0, 2), np.uint16, ports & octets.fit(at, 2))
    _put(heads, "dst_port", _number(head, 2, 2), np.uint16, ports & octets.fit(at, 4))
    tcp = carries & (protocol == 6)
    _put(heads, "tcp_flags", _number(head, 12, 2) & 0x1FF, np.uint16, tcp & octets.fit(at, 14))
    icmp = carries & _ICMP[protocol]
    _put(heads, "icmp_type", _number(head, 0, 1), np.uint8, icmp & octets.fit(at, 1))
    _put(heads, "icmp_code", _number(head, 1, 1), np.uint8, icmp & octets.fit(at, 2))


def _find_tunnels(octets: Octets, heads: Heads, at: Longs, protocol: Longs, carries: Bools) -> None:
    """IP in IP (RFC 2003, 4213), GRE (RFC 2784, 2890), VXLAN (RFC 7348), Geneve (RFC 8926)."""
    port = np.where(carries & (protocol == 17), octets.read(at + 2, 2), 0)
    gre, vxlan, geneve = carries & (protocol == 47), port == 4789, port == 6081
    flags = octets.read(at, 1)
    gre_octets = 4 + 4 * ((flags >> 7 & 1) + (flags >> 5 & 1) + (flags >> 4 & 1))
    geneve_octets = 16 + 4 * (octets.read(at + 8, 1) & 0x3F)
    kinds = np.select([gre, geneve], [octets.read(at + 2, 2), octets.read(at + 10, 2)], 0)
    kind = np.select([kinds == 0x0800, kinds == 0x86DD, (kinds == 0x6558) | vxlan], [IPV4, IPV6, ETHERNET], 0)
    kind = np.where(carries & (protocol == 4), IPV4, np.where(carries & (protocol == 41), IPV6, kind))
    inside = at + np.select([gre, vxlan, geneve], [gre_octets, 16, geneve_octets], 0)
    found = (kind > 0) & octets.fit(inside, 20)
    if found.any():
        heads.inner, heads.inner_kind = Known(inside, found), kind


def _number(rows: NDArray[np.uint8], offset: int, width: int) -> Longs:
    """A number of 1, 2 or 4 octets at one offset of rows that were taken together: one look at each packet instead of many."""
    values: Longs = rows[:, offset : offset + width].view(f">u{width}")[:, 0].astype(np.int64)
    return values


def _address(rows: NDArray[np.uint8], offset: int) -> Words:
    values: Words = rows[:, offset : offset + 4].view(">u4")[:, 0].astype(np.uint32)
    return values


def _put(heads: Heads, name: str, values: NDArray[Any], dtype: Any, rows: Bools) -> None:
    if rows.any():
        heads.numbers[name] = Known(values.astype(dtype), rows)
