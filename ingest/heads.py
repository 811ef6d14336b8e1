"""Many datagrams as columns: their export headers, whatever the protocol, and what else is known of each before any state is.

In: datagrams and their exporters. Out: columns. Refuses to know state, and what is wrong with a header: one that is not plain is to
be read again, alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ingest.datagram import Datagram
from ingest.protocols import ipfix, netflow5, netflow9, sflow
from ingest.protocols.message import HEAD_OCTETS, Headers, Longs

_READERS: Final[dict[int, Callable[[Longs, Longs], Headers]]] = {
    5: netflow5.read_headers,
    netflow9.VERSION: netflow9.read_headers,
    ipfix.VERSION: ipfix.read_headers,
    sflow.VERSION: sflow.read_headers,
}
VERSIONS: Final = tuple(_READERS)
"""Protocol versions that are read here."""
_NOTHING: Final = bytes(HEAD_OCTETS)
_SFLOW_5: Final = 5


@dataclass(frozen=True, slots=True)
class Arrived:
    """Datagrams of one session, one place of each column each; `marks` are hashes of their octets.

    `exporter` numbers `addresses`; `version` is that of `VERSIONS` where the header could be read.
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


def make_arrived(datagrams: Sequence[Datagram], addresses: Sequence[bytes]) -> Arrived:
    """Columns of datagrams that came on the same session; `addresses` are those of their exporters."""
    payloads = [bytes(datagram.payload) for datagram in datagrams]
    lengths = np.fromiter(map(len, payloads), np.int64, len(payloads))
    received_ms = np.array([datagram.received_ms for datagram in datagrams], np.int64)
    numbers: dict[bytes, int] = {}
    exporter = np.array([numbers.setdefault(address, len(numbers)) for address in addresses], np.int64)
    version, heads = read_heads(payloads, lengths)
    marks = list(map(hash, payloads))
    return Arrived(datagrams[0].session, payloads, marks, lengths, received_ms, list(numbers), exporter, version, heads)


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
