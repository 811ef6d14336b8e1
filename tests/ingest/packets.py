"""Export packets in the plainest form, for tests of the service around the decoder."""

import struct
from collections.abc import Sequence

EXPORT_S = 1_700_000_000
TEMPLATE = 256
_FIELDS = ((8, 4), (12, 4), (1, 4), (2, 4), (7, 2), (11, 2), (4, 1), (10, 2), (14, 2))


def v5(flows: int, sequence: int = 0, export_s: int = EXPORT_S) -> bytes:
    """NetFlow v5; every flow has 100 octets in 2 packets."""
    header = struct.pack(">HHIIIIBBH", 5, flows, 60_000, export_s, 0, sequence, 0, 0, 0)
    record = struct.pack(
        ">IIIHHIIIIHHBBBBHHBBH",
        0x0A000001, 0x0A000002, 0, 1, 2, 2, 100, 1_000, 2_000, 1234, 80, 0, 0x18, 6, 0, 0, 0, 24, 24, 0,
    )  # fmt: skip
    return header + record * flows


def v9_template(sequence: int = 0, domain: int = 1) -> bytes:
    """NetFlow v9 with the template of `v9_flows`."""
    body = struct.pack(">HH", TEMPLATE, len(_FIELDS)) + b"".join(struct.pack(">HH", *each) for each in _FIELDS)
    return _v9(0, body, sequence, domain)


def v9_flows(flows: int, sequence: int = 1, domain: int = 1) -> bytes:
    """NetFlow v9 data; every flow has 100 octets in 2 packets."""
    record = struct.pack(">IIIIHHBHH", 0x0A000001, 0x0A000002, 100, 2, 1234, 80, 6, 1, 2)
    return _v9(TEMPLATE, record * flows, sequence, domain)


def _v9(set_id: int, body: bytes, sequence: int, domain: int) -> bytes:
    body += bytes(-len(body) % 4)
    header = struct.pack(">HHIIII", 9, 1, 60_000, EXPORT_S, sequence, domain)
    return header + struct.pack(">HH", set_id, len(body) + 4) + body


def ipfix_template(domain: int = 1) -> bytes:
    """IPFIX with the template of `ipfix_flows`."""
    body = struct.pack(">HH", TEMPLATE, len(_FIELDS)) + b"".join(struct.pack(">HH", *each) for each in _FIELDS)
    return _ipfix(2, body, 0, domain)


def ipfix_flows(flows: int, sequence: int = 0, domain: int = 1) -> bytes:
    """IPFIX data; every flow has 100 octets in 2 packets."""
    record = struct.pack(">IIIIHHBHH", 0x0A000001, 0x0A000002, 100, 2, 1234, 80, 6, 1, 2)
    return _ipfix(TEMPLATE, record * flows, sequence, domain)


def _ipfix(set_id: int, body: bytes, sequence: int, domain: int) -> bytes:
    body += bytes(-len(body) % 4)
    header = struct.pack(">HHIII", 10, 20 + len(body), EXPORT_S, sequence, domain)
    return header + struct.pack(">HH", set_id, len(body) + 4) + body


def v5_stream(packets: int, flows: int = 24) -> Sequence[bytes]:
    """v5 packets in sequence."""
    return [v5(flows, number * flows) for number in range(packets)]
