"""Export packets for benchmarks of decoding: many exporters and structures, made of random but plausible records.

In: how many of what. Out: datagrams in memory, templates first. No part of the product's load generator, so that what is measured
here is not made by what might share its mistakes.
"""

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Fields = tuple[tuple[int, int], ...]
_START_S: Final = 1_700_000_000
_UPTIME_MS: Final = 86_400_000

IPV4: Final[Fields] = (
    *((8, 4), (12, 4), (15, 4), (10, 4), (14, 4), (1, 4), (2, 4), (22, 4), (21, 4), (7, 2), (11, 2)),
    *((4, 1), (5, 1), (6, 1), (61, 1), (16, 4), (17, 4), (9, 1), (13, 1), (136, 1)),
)
IPV6: Final[Fields] = tuple({8: (27, 16), 12: (28, 16), 15: (62, 16), 9: (29, 1), 13: (30, 1)}.get(i, (i, n)) for i, n in IPV4)
V5: Final[Fields] = (
    *((8, 4), (12, 4), (15, 4), (10, 2), (14, 2), (2, 4), (1, 4), (22, 4), (21, 4), (7, 2), (11, 2)),
    *((210, 1), (6, 1), (4, 1), (5, 1), (16, 2), (17, 2), (9, 1), (13, 1), (210, 2)),
)
_ABSOLUTE: Final = {22: (152, 8), 21: (153, 8)}
VARIABLE_ELEMENTS: Final = ((96, 65535), (460, 65535))


@dataclass(frozen=True, slots=True)
class Mix:
    """What to make: `structures` templates that differ in padding elements, spread over `exporters`."""

    protocol: str
    packets: int
    records: int
    exporters: int = 50
    structures: int = 1
    ipv6: bool = False
    variable: bool = False


def make_packets(mix: Mix, seed: int = 1) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    """(exporter, payload) of the templates, and of the data."""
    random = np.random.default_rng(seed)
    fields = _fields(mix)
    octets = _records(fields, mix.packets * mix.records, random)
    exporters = [bytes(10) + b"\xff\xff\x0a" + struct.pack(">I", number)[1:] for number in range(1, mix.exporters + 1)]
    templates = [(exporter, payload) for exporter in exporters for payload in _templates(mix, fields)]
    sequences = [0] * mix.exporters
    data = []
    for number in range(mix.packets):
        which = number % mix.exporters
        lines = octets[number * mix.records : (number + 1) * mix.records]
        structure = (number // mix.exporters + which) % mix.structures
        body = _body(lines, structure, mix, random)
        data.append((exporters[which], _packet(mix, body, structure, sequences[which], number)))
        sequences[which] += mix.records if mix.protocol != "v9" else 1
    return templates, data


def _fields(mix: Mix) -> Fields:
    if mix.protocol == "v5":
        return V5
    fields = IPV6 if mix.ipv6 else IPV4
    return tuple(_ABSOLUTE.get(item[0], item) for item in fields) if mix.protocol == "ipfix" else fields


def _records(fields: Fields, count: int, random: np.random.Generator) -> NDArray[np.uint8]:
    host = (random.zipf(1.2, (count, 2)) % 60_000).astype(np.uint32) + 0x0A000000
    ended = random.integers(0, 60_000, count)
    packets = random.integers(1, 200, count)
    now = _START_S * 1000
    values: dict[int, NDArray[Any]] = {
        8: host[:, 0],
        12: host[:, 1],
        27: host[:, 0],
        28: host[:, 1],
        15: random.integers(1, 5, count) + 0x0A000000,
        62: random.integers(1, 5, count) + 0x0A000000,
        10: random.integers(1, 9, count),
        14: random.integers(1, 9, count),
        1: packets * 600,
        2: packets,
        22: _UPTIME_MS - ended - 10_000,
        21: _UPTIME_MS - ended,
        152: now - ended - 10_000,
        153: now - ended,
        7: random.choice([443, 80, 53, 22, 51234, 40022], count),
        11: random.integers(1024, 65535, count),
        4: random.choice([6, 17], count),
        5: random.choice([0, 0, 184, 40], count),
        6: random.integers(0, 64, count),
        16: random.integers(1, 65000, count),
        17: random.integers(1, 65000, count),
        9: np.full(count, 24),
        13: np.full(count, 16),
        29: np.full(count, 48),
        30: np.full(count, 56),
        136: random.integers(1, 5, count),
    }
    columns = [_octets(values.get(number, np.zeros(count, np.int64)), length) for number, length in fields]
    return np.ascontiguousarray(np.concatenate(columns, axis=1))


def _octets(values: NDArray[Any], length: int) -> NDArray[np.uint8]:
    wide = values.astype(">u8").view(np.uint8).reshape(-1, 8)
    if length <= 8:
        return wide[:, 8 - length :]
    prefix = np.tile(np.frombuffer(bytes.fromhex("20010db8") + bytes(length - 12), np.uint8), (len(values), 1))
    return np.concatenate([prefix, wide], axis=1)


def _padding(structure: int) -> int:
    return structure + 1 if structure else 0


def _templates(mix: Mix, fields: Fields) -> list[bytes]:
    if mix.protocol == "v5":
        return []
    payloads = []
    for structure in range(mix.structures):
        extra = [(210, _padding(structure))] if structure else []
        listed = [*fields, *extra, *(VARIABLE_ELEMENTS if mix.variable else ())]
        body = struct.pack(">HH", 256 + structure, len(listed)) + b"".join(struct.pack(">HH", *item) for item in listed)
        payloads.append(_message(mix, _set(0 if mix.protocol == "v9" else 2, body), 0 - structure - 1, 1))
    return payloads


def _set(number: int, body: bytes) -> bytes:
    return struct.pack(">HH", number, len(body) + 4) + body


def _body(lines: NDArray[np.uint8], structure: int, mix: Mix, random: np.random.Generator) -> bytes:
    padding = bytes(_padding(structure))
    if not mix.variable:
        return b"".join(line.tobytes() + padding for line in lines) if padding else lines.tobytes()
    names = [bytes([len(name)]) + name for name in (b"https", b"domain name system", b"ssh", b"")]
    picked = random.integers(0, len(names), (len(lines), 2))
    return b"".join(line.tobytes() + padding + names[a] + names[b] for line, (a, b) in zip(lines, picked.tolist(), strict=True))


def _packet(mix: Mix, body: bytes, structure: int, sequence: int, number: int) -> bytes:
    if mix.protocol == "v5":
        return struct.pack(">HHIIIIBBH", 5, mix.records, _UPTIME_MS, _START_S, number, sequence, 0, 0, 0x4000 | 100) + body
    return _message(mix, _set(256 + structure, body), sequence, mix.records)


def _message(mix: Mix, sets: bytes, sequence: int, records: int) -> bytes:
    sequence &= 0xFFFFFFFF
    if mix.protocol == "v9":
        return struct.pack(">HHIIII", 9, records, _UPTIME_MS, _START_S, sequence, 1) + sets
    return struct.pack(">HHIII", 10, 16 + len(sets), _START_S, sequence, 1) + sets


def make_sflow(packets: int, samples: int, exporters: int, seed: int = 1) -> list[tuple[bytes, bytes]]:
    """(exporter, payload) of sFlow datagrams whose samples are Ethernet with a VLAN tag, IPv4 and TCP, 64 octets of each head."""
    random = np.random.default_rng(seed)
    addresses = [bytes(10) + b"\xff\xff\x0a" + struct.pack(">I", number)[1:] for number in range(1, exporters + 1)]
    data = []
    for number in range(packets):
        exporter, sequence = addresses[number % exporters], number // exporters
        body = b"".join(_sample(sequence * samples + place, random) for place in range(samples))
        head = struct.pack(">II4sIIII", 5, 1, exporter[12:], 0, sequence, _UPTIME_MS, samples)
        data.append((exporter, head + body))
    return data


def _sample(sequence: int, random: np.random.Generator) -> bytes:
    source, target, port = (int(value) for value in random.integers(1, 60_000, 3))
    ethernet = bytes.fromhex("02000000000102000000000281000064") + b"\x08\x00"
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 1400, sequence & 0xFFFF, 0x4000, 63, 6, 0, 0x0A000000 + source, 0x0A000000 + target)
    tcp = struct.pack(">HHIIHHHH", port, 443, 1, 1, 0x5018, 65535, 0, 0)
    header = ethernet + ip + tcp + bytes(64 - 18 - 40)
    raw = struct.pack(">IIIIII", 1, 16 + len(header), 1, 1418, 4, len(header)) + header
    switch = struct.pack(">IIIIII", 1001, 16, 100, 0, 200, 0)
    fixed = struct.pack(">IIIIIIII", sequence, 5, 1000, sequence * 1000, 0, 5, 6, 2)
    return struct.pack(">II", 1, len(fixed) + len(raw) + len(switch)) + fixed + raw + switch
