"""One input of the fuzzer, and what has to hold for it.

In: octets: a list of datagrams, each with its length in two octets before it, so that templates and the data that needs them are
found together. Out: nothing, or whatever the decoder raised. Refuses to know who makes the inputs.
"""

import struct
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final
from unittest.mock import patch

from common.config import ExporterSettings, Ingest
from common.errors import InputError
from common.metrics import Counters
from ingest import bulk
from ingest.decoder import Datagram, Decoder
from ingest.listeners.pcap import Capture
from ingest.problems import Reason
from tests.protocols.corpus import cases
from tests.protocols.structures import compose

_EXPORTER: Final = bytes(10) + b"\xff\xff\xc0\x00\x02\x01"
_CHOICE: Final = ExporterSettings(networks=("0.0.0.0/0",), keep_elements=("all",), inner_flow=True)
_SETTINGS: Final = Ingest(templates_per_exporter=16, parked_bytes=4096, exporter_settings=(_CHOICE,))
_SFLOW: Final = b"\0\0\0\x05"
_NOW_MS: Final = 1_700_000_000_000


def split(data: bytes) -> Iterator[bytes]:
    """Datagrams of one input."""
    offset = 0
    while offset + 2 <= len(data):
        length = int.from_bytes(data[offset : offset + 2])
        yield data[offset + 2 : offset + 2 + length]
        offset += 2 + length


def check(data: bytes) -> None:
    """Feed one input; anything that is raised is a finding."""
    check_datagrams(list(split(data)))


def check_datagrams(payloads: list[bytes]) -> None:
    """The invariant: everything becomes flows or counted problems, state stays within its bounds and comes back from a snapshot."""
    decoder = Decoder(_SETTINGS, 4, Counters())
    for number, payload in enumerate(payloads, 1):
        decoder.feed(Datagram(_EXPORTER, _NOW_MS + number, payload))
    many = Decoder(_SETTINGS, 4, Counters())
    with patch.object(bulk, "LEAST", 2):
        many.feed_many([Datagram(_EXPORTER, _NOW_MS + number, payload) for number, payload in enumerate(payloads, 1)])
    pending, sampled = decoder.pending_flows, any(payload[:4] == _SFLOW for payload in payloads)
    rows, batches = 0, decoder.drain()
    assert many.drain() == batches, "taken one by one they are others than taken together"
    for batch in batches.values():
        batch.validate(full=True)
        rows += batch.num_rows
    assert rows <= 2 * pending
    assert sampled or pending <= rows
    assert all(problem.reason is not Reason.UNDECODABLE for problem in decoder.problems(1 << 30)), decoder.problems()[-1]
    assert decoder.pending_flows == 0
    now_ms = _NOW_MS + len(payloads)
    decoder.expire(now_ms)
    decoder.restore(decoder.snapshot())
    reports = [report for lane in decoder.reports(now_ms).values() for report in lane]
    assert sum(report.datagrams for report in reports) == len(payloads)
    assert sum(report.records for report in reports) == rows
    assert all(report.templates <= _SETTINGS.templates_per_exporter for report in reports)
    assert [decoder.option_records(), decoder.names(), decoder.templates(), decoder.samplers()]


def check_as(version: bytes) -> Callable[[bytes], None]:
    """The same with datagrams that all begin with these octets, so that no input is wasted on what is no export protocol."""
    return lambda data: check_datagrams([version + payload[len(version) :] for payload in split(data)])


def check_structures(data: bytes) -> None:
    """The same with templates of elements that the decoder knows, and data of them."""
    check_datagrams(list(compose(data)))


def write_seeds(folder: Path, proto: str = "") -> None:
    """The corpus as inputs (of one protocol): one per case, cut to its first datagrams."""
    chosen = [packets for packets in cases().values() if not proto or packets[0].proto == proto]
    for number, packets in enumerate(chosen):
        payloads = [packet.payload for packet in packets[:6]]
        folder.joinpath(f"case-{number}").write_bytes(b"".join(len(item).to_bytes(2) + item for item in payloads))


def write_structures(folder: Path) -> None:
    """Some heads of templates, each with octets for its records."""
    for number in range(40):
        fields = bytes((number * 31 + place * 7) % 256 for place in range(36))
        folder.joinpath(f"structure-{number}").write_bytes(bytes([number * 37 % 256, number]) + fields + b"\n\n" + fields[::-1])


def check_capture(data: bytes) -> None:
    """Read one file as a capture; it is read, or refused with an InputError."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            datagrams = list(Capture(Path(file.name)).datagrams())
        except InputError:
            return
    assert sum(len(datagram.payload) for datagram in datagrams) <= len(data)


def write_captures(folder: Path) -> None:
    """Captures of the first datagrams of some cases, as pcap with Ethernet and as raw IP."""
    for number, packets in enumerate(list(cases().values())[::8]):
        for link, frame_head in ((1, bytes(12) + b"\x08\x00"), (101, b"")):
            parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)]
            for packet in packets[:3]:
                udp = struct.pack(">HHHH", 2055, 2055, 8 + len(packet.payload), 0) + packet.payload
                ip = struct.pack(">BBHHHBBH8s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(8)) + udp
                frame = frame_head + ip
                parts += [struct.pack("<IIII", 1, 2, len(frame), len(frame)), frame]
            folder.joinpath(f"capture-{number}-{link}").write_bytes(b"".join(parts))


_PROTOCOLS: Final = {
    "netflow5": b"\0\x05",
    "netflow9": b"\0\x09",
    "ipfix": b"\0\x0a",
    "sflow5": _SFLOW,
}
CHECKS: Final[dict[str, Callable[[bytes], None]]] = {
    "decoder": check,
    **{name: check_as(version) for name, version in _PROTOCOLS.items()},
    "structures": check_structures,
    "capture": check_capture,
}
SEEDS: Final[dict[str, Callable[[Path], None]]] = {
    "decoder": write_seeds,
    **{name: partial(write_seeds, proto=name) for name in _PROTOCOLS},
    "structures": write_structures,
    "capture": write_captures,
}
