"""Extended records of sFlow samples to columns: what the agent knew of the packet's way.

In: switch, router, gateway, MPLS, NAT and tunnel records. Out: columns of FLOW. Refuses to know the packet itself. Sources: sFlow
Version 5 (sflow.org, 2004), sFlow Tunnel Structures (sflow.org, 2012).
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from ingest.protocols import packet_header, sflow
from ingest.samples import Bools, Longs, Samples, Target

Put = Callable[[Samples, sflow.Items, Target], None]
_LABELS: Final = 10
_SEGMENTS: Final = 32
_VLAN: Final = 0xFFF
_NONE: Final = (np.zeros(0, np.int64),) * 3


def put_routes(samples: Samples, records: dict[int, sflow.Items], target: Target) -> None:
    """Columns of all extended records, by their format (enterprise 0)."""
    for kind, put in _RECORDS.items():
        if kind in records:
            put(samples, records[kind], target)


def _put_switch(samples: Samples, records: sflow.Items, target: Target) -> None:
    for name, place in (("vlan", 0), ("vlan_out", 8)):
        known = records.start + place + 4 <= records.stop
        target.put(name, records, samples.word(records.start + place), np.uint16, known)


def _put_stripped_tags(samples: Samples, records: sflow.Items, target: Target) -> None:
    """VLAN tags that the agent took off before it sampled, outermost first; a tag in the header comes below them."""
    counts, listed = _counted(samples, records, records.start, np.ones(len(records.start), bool))
    first = listed & (counts > 0)
    found = target.out.numbers.get("vlan")
    if found is not None:
        rows = target.rows[records.owner]
        below = first & (counts == 1) & (found.valid[rows] if found.valid is not None else True)
        target.put("vlan_inner", records, found.values[rows], np.uint16, below)
    for name, place, known in (("vlan", 4, first), ("vlan_inner", 8, listed & (counts > 1))):
        target.put(name, records, samples.word(records.start + place) & _VLAN, np.uint16, known)


def _put_router(samples: Samples, records: sflow.Items, target: Target) -> None:
    after = _put_address(samples, records, target, "next_hop", records.start)
    for name, place in (("src_mask", 0), ("dst_mask", 4)):
        known = after + place + 4 <= records.stop
        target.put(name, records, samples.word(after + place), np.uint8, known)


def _put_gateway(samples: Samples, records: sflow.Items, target: Target) -> None:
    """BGP next hop, own, source and peer AS, the path to the destination, communities of that route, local preference.

    The first AS of the path is the destination's peer, its last the destination's. A record that is cut keeps what comes before.
    """
    after = _put_address(samples, records, target, "bgp_next_hop", records.start)
    for name, step in (("src_as", 4), ("src_peer_as", 8)):
        target.put(name, records, samples.word(after + step), np.uint32, after + step + 4 <= records.stop)
    path, place = _read_path(samples, records, after + 12)
    rows = target.rows[records.owner]
    values = path.take(samples)
    known = np.flatnonzero(path.whole)
    target.out.put_lists("as_path", rows[known], path.lengths[known], values)
    ends = np.cumsum(path.lengths)
    filled = path.lengths > 0
    for name, at in (("dst_peer_as", ends - path.lengths), ("dst_as", ends - 1)):
        found = np.zeros(len(rows), np.uint32)
        found[filled] = values[at[filled]]
        target.put(name, records, found, np.uint32, path.whole)
    counts, listed = _counted(samples, records, place, path.whole)
    communities = _gather(samples, place[listed] + 4, counts[listed])
    target.out.put_lists("dst_communities", rows[listed], counts[listed], communities)
    end = place + 4 + 4 * counts
    target.put("local_pref", records, samples.word(end), np.uint32, listed & (end + 4 <= records.stop))


class _Path(NamedTuple):
    """Segments of AS paths in their order, each with its owner (a record) and first place; the ASes of each record."""

    owner: Longs
    start: Longs
    counts: Longs
    lengths: Longs
    whole: Bools

    def take(self, samples: Samples) -> packet_header.Words:
        """All AS numbers, record by record."""
        return _gather(samples, self.start, self.counts)


def _read_path(samples: Samples, records: sflow.Items, place: Longs) -> tuple[_Path, Longs]:
    """The paths at `place`: segments of a type (set or sequence), a count and so many ASes; and the places after them."""
    whole = place + 4 <= records.stop
    segments, place = np.where(whole, samples.word(place), 0), place + 4
    whole &= segments <= _SEGMENTS
    found: list[tuple[Longs, Longs, Longs]] = []
    for number in range(_SEGMENTS):
        here = whole & (number < segments)
        if not here.any():
            break
        fits = here & (place + 8 <= records.stop)
        counts = np.where(fits, samples.word(place + 4), 0)
        end = place + 8 + 4 * counts
        fits &= end <= records.stop
        whole &= fits | ~here
        kept = np.flatnonzero(fits)
        found.append((kept, place[kept] + 8, counts[kept]))
        place = np.where(fits, end, place)
    owner, start, counts = (np.concatenate(parts) for parts in zip(_NONE, *found, strict=True))
    order = np.flatnonzero(whole[owner])
    order = order[np.argsort(owner[order], kind="stable")]
    lengths = np.bincount(owner[order], counts[order], len(place)).astype(np.int64)
    return _Path(owner[order], start[order], counts[order], lengths, whole), place


def _counted(samples: Samples, records: sflow.Items, place: Longs, there: Bools) -> tuple[Longs, Bools]:
    """Counts at `place` of lists of words that are whole, and where they are."""
    there = there & (place + 4 <= records.stop)
    counts = np.where(there, samples.word(place), 0)
    there &= place + 4 + 4 * counts <= records.stop
    return np.where(there, counts, 0), there


def _gather(samples: Samples, start: Longs, counts: Longs) -> packet_header.Words:
    """The words of all lists, one list after the other."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    places = np.repeat(start - 4 * (ends - counts), counts) + 4 * np.arange(total)
    words: packet_header.Words = samples.word(places).astype(np.uint32)
    return words


def _put_mpls(samples: Samples, records: sflow.Items, target: Target) -> None:
    """MPLS next hop, then the stack that the packet came with: a count, and entries as in RFC 3032. A header's own is better."""
    after = _put_address(samples, records, target, "next_hop", records.start)
    counts, listed = _counted(samples, records, after, np.ones(len(after), bool))
    rows = target.rows[records.owner]
    known = target.out.lists.get("mpls_labels")
    wanted = listed & (counts > 0) & (counts <= _LABELS)
    if known is not None:
        wanted &= ~known.valid[rows]
    labels = _gather(samples, after[wanted] + 4, counts[wanted]) >> np.uint32(12)
    target.out.put_lists("mpls_labels", rows[wanted], counts[wanted], labels)


def _put_nat(samples: Samples, records: sflow.Items, target: Target) -> None:
    after = _put_address(samples, records, target, "nat_src_addr", records.start)
    _put_address(samples, records, target, "nat_dst_addr", after)


def _put_nat_ports(samples: Samples, records: sflow.Items, target: Target) -> None:
    for name, place in (("nat_src_port", 0), ("nat_dst_port", 4)):
        target.put(name, records, samples.word(records.start + place), np.uint16, records.start + place + 4 <= records.stop)


def _put_tunnel(side: str, wide: bool) -> Put:
    """The outer header of a tunnel that the packet came out of (in) or goes into (out), as in the records 0:3 and 0:4."""

    def put(samples: Samples, records: sflow.Items, target: Target) -> None:
        width = 16 if wide else 4
        whole = records.start + 8 + 2 * width <= records.stop
        rows = target.where(records)
        octets = packet_header.Octets(samples.data, records.stop)
        for end, place in (("src", records.start + 8), ("dst", records.start + 8 + width)):
            name = f"tunnel_{side}_{end}_addr"
            if wide:
                target.out.put_wide(name, rows, octets.take_address(place), whole)
            else:
                target.out.put_narrow(name, rows, samples.word(place).astype(np.uint32), whole)
        target.put(f"tunnel_{side}_protocol", records, samples.word(records.start + 4), np.uint8, whole)

    return put


def _put_link_tunnel(side: str) -> Put:
    """The outer Ethernet header of such a tunnel, as in the record 0:2."""

    def put(samples: Samples, records: sflow.Items, target: Target) -> None:
        octets = packet_header.Octets(samples.data, records.stop)
        for end, place in (("src", 4), ("dst", 12)):
            whole = records.start + place + 6 <= records.stop
            target.put(f"tunnel_{side}_{end}_mac", records, octets.take(records.start + place, 6), np.uint8, whole)

    return put


def _put_segment(name: str) -> Put:
    """The network inside an overlay (VNI) that the packet came in with, or leaves with."""

    def put(samples: Samples, records: sflow.Items, target: Target) -> None:
        target.put(name, records, samples.word(records.start), np.uint32, records.start + 4 <= records.stop)

    return put


def _put_address(samples: Samples, records: sflow.Items, target: Target, name: str, place: Longs) -> Longs:
    """An address with its type before it; the place after it."""
    kind = samples.word(place)
    rows = target.where(records)
    narrow = (kind == 1) & (place + 8 <= records.stop)
    wide = (kind == 2) & (place + 20 <= records.stop)
    target.out.put_narrow(name, rows, samples.word(place + 4).astype(np.uint32), narrow)
    if wide.any():
        octets = packet_header.Octets(samples.data, records.stop)
        target.out.put_wide(name, rows, octets.take_address(place + 4), wide)
    after: Longs = place + np.select([kind == 1, kind == 2], [8, 20], 4)
    return after


_RECORDS: Final[dict[int, Put]] = {
    1012: _put_stripped_tags,
    1001: _put_switch,
    1002: _put_router,
    1003: _put_gateway,
    1006: _put_mpls,
    1007: _put_nat,
    1020: _put_nat_ports,
    1021: _put_link_tunnel("out"),
    1022: _put_link_tunnel("in"),
    1023: _put_tunnel("out", wide=False),
    1024: _put_tunnel("in", wide=False),
    1025: _put_tunnel("out", wide=True),
    1026: _put_tunnel("in", wide=True),
    1029: _put_segment("vni_out"),
    1030: _put_segment("vni_in"),
}
