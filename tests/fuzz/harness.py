"""One input of the fuzzer, and what has to hold for it.

In: octets: a list of datagrams, each with its length in two octets before it, so that templates and the data that needs them are
found together. Out: nothing, or whatever the decoder raised. Refuses to know who makes the inputs.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from common.config import ExporterSettings, Ingest
from common.metrics import Counters
from ingest.decoder import Datagram, Decoder
from tests.protocols.corpus import cases

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
    decoder = Decoder(_SETTINGS, 4, Counters())
    fed = 0
    for fed, payload in enumerate(split(data), 1):
        decoder.feed(Datagram(_EXPORTER, _NOW_MS + fed, payload))
    pending, sampled = decoder.pending_flows, any(payload[:4] == _SFLOW for payload in split(data))
    rows = 0
    for batch in decoder.drain().values():
        batch.validate(full=True)
        rows += batch.num_rows
    assert sampled or pending <= rows <= 2 * pending
    assert decoder.pending_flows == 0
    decoder.expire(_NOW_MS + fed)
    decoder.restore(decoder.snapshot())
    reports = [report for lane in decoder.reports(_NOW_MS + fed).values() for report in lane]
    assert sum(report.datagrams for report in reports) == fed
    assert sum(report.records for report in reports) == rows
    assert all(report.templates <= _SETTINGS.templates_per_exporter for report in reports)
    assert [decoder.option_records(), decoder.names(), decoder.templates()]


def write_seeds(folder: Path) -> None:
    """The corpus as inputs: one per case, cut to its first datagrams."""
    for number, packets in enumerate(cases().values()):
        payloads = [packet.payload for packet in packets[:6]]
        folder.joinpath(f"case-{number}").write_bytes(b"".join(len(item).to_bytes(2) + item for item in payloads))
