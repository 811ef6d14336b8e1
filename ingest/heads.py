"""Many datagrams as columns: their export headers, whatever the protocol, and what else is known of each before any state is.

In: datagrams and their exporters. Out: columns. Refuses to know state, and what is wrong with a header: one that is not plain is to
be read again, alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.datagram import Datagram
from ingest.protocols import ipfix, netflow5, netflow9, sflow
from ingest.protocols.message import HEAD_OCTETS, Headers, Longs
from ingest.protocols.sets import SET_HEADER, are_data_sets

_READERS: Final[dict[int, Callable[[Longs, Longs], Headers]]] = {
    5: netflow5.read_headers,
    netflow9.VERSION: netflow9.read_headers,
    ipfix.VERSION: ipfix.read_headers,
    sflow.VERSION: sflow.read_headers,
}
VERSIONS: Final = tuple(_READERS)
"""Protocol versions that are read here."""
MOST_SETS: Final = 64
"""A message with more sets than this is not plain: they are walked in lockstep, and it would keep all others waiting."""
_NOTHING: Final = bytes(HEAD_OCTETS)
_SFLOW_5: Final = 5


class Sets(NamedTuple):
    """Sets of plain datagrams, in the order of these: whose each is, its place in it, its id, where its records start and stop.

    Records of NetFlow v5 and samples of sFlow count as a set without an id.
    """

    owner: Longs
    place: Longs
    set_id: Longs
    start: Longs
    stop: Longs


@dataclass(frozen=True, slots=True)
class Arrived:
    """Datagrams of one session, one place of each column each; `marks` are hashes of their octets.

    `exporter` numbers `addresses`; `version` is that of `VERSIONS` where the header could be read; `plain` ones are all `sets`.
    """

    session: int
    payloads: list[bytes]
    marks: list[int]
    lengths: Longs
    received_ms: Longs
    addresses: list[bytes]
    exporter: Longs
    version: Longs
    heads: Headers
    plain: NDArray[np.bool_]
    sets: Sets


def make_arrived(datagrams: Sequence[Datagram], addresses: Sequence[bytes]) -> Arrived:
    """Columns of datagrams that came on the same session; `addresses` are those of their exporters."""
    payloads = [bytes(datagram.payload) for datagram in datagrams]
    lengths = np.fromiter(map(len, payloads), np.int64, len(payloads))
    received_ms = np.array([datagram.received_ms for datagram in datagrams], np.int64)
    numbers: dict[bytes, int] = {}
    exporter = np.array([numbers.setdefault(address, len(numbers)) for address in addresses], np.int64)
    version, heads = read_heads(payloads, lengths)
    plain, sets = walk_sets(payloads, lengths, heads)
    marks = list(map(hash, payloads))
    return Arrived(
        datagrams[0].session, payloads, marks, lengths, received_ms, list(numbers), exporter, version, heads, plain, sets
    )


def read_heads(payloads: Sequence[bytes], lengths: Longs) -> tuple[Longs, Headers]:
    """Version and header of each datagram; those of other protocols, or of fewer than HEAD_OCTETS, are not plain."""
    head = b"".join([octets[:HEAD_OCTETS] if len(octets) >= HEAD_OCTETS else _NOTHING for octets in payloads])
    words = np.frombuffer(head, ">u4").reshape(-1, HEAD_OCTETS // 4).T.astype(np.int64, order="C")
    version = words[0] >> 16
    version[version == sflow.VERSION] = 0
    version[words[0] == _SFLOW_5] = sflow.VERSION
    table = np.zeros((len(Headers._fields), len(payloads)), np.int64)
    for number, read in _READERS.items():
        chosen = np.flatnonzero(version == number)
        if len(chosen) == len(payloads):
            return version, read(words, lengths)
        if len(chosen):
            table[:, chosen] = read(words[:, chosen], lengths[chosen])
    return version, Headers(*table)


def walk_sets(payloads: Sequence[bytes], lengths: Longs, heads: Headers) -> tuple[NDArray[np.bool_], Sets]:
    """Which datagrams are plain to their end, and the sets of those; the k-th sets of all are looked at together."""
    plain = heads.plain > 0
    live = np.flatnonzero(plain)
    found = [Sets(live, np.zeros(len(live), np.int64), heads.set_id[live], heads.start[live], heads.end[live])]
    for place in range(1, MOST_SETS + 1):
        at = found[-1].stop
        more = lengths[live] - at >= SET_HEADER.size
        live, at = live[more], at[more]
        if not live.size:
            break
        head = [payloads[number][start : start + 4] for number, start in zip(live.tolist(), at.tolist(), strict=True)]
        set_id, octets = np.frombuffer(b"".join(head), ">u2").reshape(-1, 2).T.astype(np.int64)
        fine = are_data_sets(set_id, octets, at + octets, lengths[live]) & (place < MOST_SETS)
        plain[live[~fine]] = False
        live, at = live[fine], at[fine]
        found.append(Sets(live, np.full(len(live), place), set_id[fine], at + 4, at + octets[fine]))
    owner = np.concatenate([sets.owner for sets in found])
    order = np.argsort(owner, kind="stable")
    order = order[plain[owner[order]]]
    return plain, Sets(*(np.concatenate(parts)[order] for parts in zip(*found, strict=True)))
