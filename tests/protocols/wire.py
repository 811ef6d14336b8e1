"""Export packets written by hand for tests: NetFlow v9 and IPFIX messages, sets and templates, and a decoder to feed them to."""

import struct
from collections.abc import Sequence
from typing import Any, Final

from common.addresses import pack_address
from common.config import Ingest
from common.metrics import Counters
from ingest.decoder import Datagram, Decoder
from ingest.problems import Reason

EXPORTER: Final = pack_address("192.0.2.1")
OTHER: Final = pack_address("192.0.2.2")
NOW_S: Final = 1_700_000_000
NOW_MS: Final = NOW_S * 1000
UPTIME_MS: Final = 3_600_000
Pairs = Sequence[tuple[int, ...]]

FLOW: Final = ((8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (1, 4), (2, 4))
"""A template of two addresses, two ports, protocol, octets, packets."""


def flow(number: int = 1) -> bytes:
    """A record of FLOW: 10.0.0.number to 10.0.1.number, number x 1000 octets."""
    addresses = bytes((10, 0, 0, number, 10, 0, 1, number))
    return addresses + struct.pack(">HHBII", 1024 + number, 443, 6, number * 1000, number)


def put(number: int, body: bytes) -> bytes:
    """A set with its header."""
    return struct.pack(">HH", number, len(body) + 4) + body


def specifiers(fields: Pairs) -> bytes:
    """Field specifiers: (element, length) or (element, length, enterprise)."""
    return b"".join(
        struct.pack(">HH", *item) if len(item) == 2 else struct.pack(">HHI", item[0] | 0x8000, item[1], item[2]) for item in fields
    )


def template(number: int, fields: Pairs, ipfix: bool = False) -> bytes:
    """A template set with one template."""
    return put(2 if ipfix else 0, struct.pack(">HH", number, len(fields)) + specifiers(fields))


def options_template(number: int, scopes: Pairs, fields: Pairs, ipfix: bool = False) -> bytes:
    """An options template set with one template."""
    if ipfix:
        head = struct.pack(">HHH", number, len(scopes) + len(fields), len(scopes))
        return put(3, head + specifiers(scopes) + specifiers(fields))
    return put(1, struct.pack(">HHH", number, 4 * len(scopes), 4 * len(fields)) + specifiers(scopes) + specifiers(fields))


def netflow9(*sets: bytes, sequence: int = 0, domain: int = 0, exported_s: int = NOW_S, uptime_ms: int = UPTIME_MS) -> bytes:
    """A NetFlow v9 datagram."""
    return struct.pack(">HHIIII", 9, len(sets), uptime_ms, exported_s, sequence, domain) + b"".join(sets)


def ipfix(*sets: bytes, sequence: int = 0, domain: int = 0, exported_s: int = NOW_S) -> bytes:
    """An IPFIX message."""
    body = b"".join(sets)
    return struct.pack(">HHIII", 10, 16 + len(body), exported_s, sequence, domain) + body


def netflow5(*records: bytes, sequence: int = 0, sampling: int = 0, uptime_ms: int = UPTIME_MS, count: int | None = None) -> bytes:
    """A NetFlow v5 datagram."""
    number = len(records) if count is None else count
    return struct.pack(">HHIIIIBBH", 5, number, uptime_ms, NOW_S, 0, sequence, 1, 2, sampling) + b"".join(records)


def record5(first: int = UPTIME_MS - 2000, last: int = UPTIME_MS - 1000, octets: int = 500, packets: int = 5) -> bytes:
    """A NetFlow v5 record: 10.0.0.1:1025 to 10.0.1.1:443, TCP."""
    head = bytes((10, 0, 0, 1, 10, 0, 1, 1, 10, 0, 2, 1)) + struct.pack(">HHIIIIHH", 3, 4, packets, octets, first, last, 1025, 443)
    return head + struct.pack(">BBBBHHBBH", 0, 0x1B, 6, 0xB8, 65001, 65002, 24, 16, 0)


class Line:
    """A decoder with its counters; `take` feeds payloads and gives back all flows as rows, in order."""

    def __init__(self, settings: Ingest | None = None) -> None:
        self.counters = Counters()
        self.decoder = Decoder(settings or Ingest(), 16, self.counters)
        self.now_ms = NOW_MS

    def feed(self, *payloads: bytes, exporter: bytes = EXPORTER, session: int = 0) -> None:
        """Datagrams of one exporter, received now."""
        for payload in payloads:
            self.decoder.feed(Datagram(exporter, self.now_ms, payload, session))

    def rows(self) -> list[dict[str, Any]]:
        """Flows that wait, as rows; nothing may have raised."""
        rows = [row for batch in self.decoder.drain().values() for row in batch.to_pylist()]
        assert all(problem.reason is not Reason.UNDECODABLE for problem in self.decoder.problems()), self.decoder.problems()[-1]
        return rows

    def take(self, *payloads: bytes, exporter: bytes = EXPORTER, session: int = 0) -> list[dict[str, Any]]:
        """Feed, and the flows that came of it."""
        self.feed(*payloads, exporter=exporter, session=session)
        return self.rows()

    def problems(self) -> dict[str, int]:
        """Totals of problems by reason."""
        self.decoder.reports(self.now_ms)
        prefix = 'ingest_problems_total{reason="'
        return {key[len(prefix) : -2]: n for key, n in self.counters.as_map().items() if key.startswith(prefix)}
