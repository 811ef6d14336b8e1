"""A storm of templates, data and options from spoofed sources takes a bounded amount of memory, however long it lasts."""

import random
import struct
import tracemalloc

import pytest

from common.addresses import pack_address
from common.config import Ingest
from ingest import canonical, exporters, sample_sequences, totals
from tests.protocols.sflow_wire import ethernet_ipv4_tcp, flow_sample, raw_header, sflow
from tests.protocols.wire import Line, ipfix, netflow9, options_template, put, template

_TURNS = 300
_BOUND = 24 << 20


def _storm(line: Line, chance: random.Random) -> None:
    for number in range(_TURNS):
        fields = tuple((chance.randrange(1, 500), chance.randrange(1, 9)) for _ in range(chance.randrange(1, 40)))
        source = pack_address(f"10.{chance.randrange(256)}.{number % 256}.1")
        identity, domain = chance.randrange(256, 4000), chance.randrange(1 << 32)
        sets = template(identity, fields, True), put(chance.randrange(256, 4000), chance.randbytes(chance.randrange(600)))
        options = options_template(301, ((149, 4),), ((48, 4), (50, 4), (82, 16)), True)
        named = put(301, b"".join(struct.pack(">III16s", 0, chance.randrange(1 << 32), 9, b"x") for _ in range(20)))
        line.feed(ipfix(*sets, options, named, domain=domain), exporter=source)
        line.feed(netflow9(*sets, domain=domain), sflow(flow_sample(raw_header(ethernet_ipv4_tcp()))), exporter=source)
        if number % 50 == 49:
            line.decoder.drain()
            line.decoder.reports(line.now_ms)


def test_a_storm_takes_no_more_after_twice_the_time() -> None:
    settings = Ingest(exporters=100, templates_per_exporter=32, parked_bytes=1 << 20)
    line, chance = Line(settings), random.Random(7)
    _storm(line, chance)
    tracemalloc.start()
    try:
        _storm(line, chance)
        first, _ = tracemalloc.get_traced_memory()
        _storm(line, chance)
        second, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert second < first * 1.5 + (1 << 20)
    assert peak < _BOUND


def test_all_exporters_together_hold_no_more_than_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporters, "HELD_OCTETS", 1 << 20)
    line = Line()
    options = options_template(301, ((149, 4),), ((48, 4), (50, 4)), True)
    records = b"".join(struct.pack(">III", 0, number, 9) for number in range(200))
    for number in range(100):
        line.now_ms += 1
        line.feed(ipfix(options, put(301, records)), exporter=pack_address(f"10.0.0.{number}"))
    reports = [report for lane in line.decoder.reports(line.now_ms).values() for report in lane]
    assert 15 <= len(reports) <= (1 << 20) // (200 * 256)
    assert line.problems()["exporter_evicted"] == 100 - len(reports)


def test_what_is_remembered_of_flows_and_structures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "FLOWS_KEPT", 50)
    monkeypatch.setattr(canonical, "_LAYOUT_FIELDS", 300)
    monkeypatch.setattr(sample_sequences, "SOURCES_KEPT", 20)
    line = Line()
    for number in range(120):
        fields = ((8, 4), (85, 8), *(((210, 1 + number),) * 3))
        line.feed(ipfix(template(256, fields, True), put(256, struct.pack(">IQ", number, 9) + bytes(3 * (1 + number)))))
        line.feed(sflow(flow_sample(raw_header(ethernet_ipv4_tcp()), source=number), sequence=number))
        line.rows()
    canonicaliser = line.decoder._canonicaliser
    assert len(canonicaliser.totals.reported) == 50
    assert canonicaliser.fields <= 300
    assert len(canonicaliser.layouts) == 60
    assert len(canonicaliser.sample_sequences.expected) == 20


def test_options_tables_of_one_exporter_stop_growing() -> None:
    line = Line()
    options = options_template(301, ((149, 4),), ((48, 4), (50, 4)), True)
    for number in range(80):
        records = b"".join(struct.pack(">III", 0, number * 1000 + place, 9) for place in range(1000))
        line.feed(ipfix(options, put(301, records), domain=number % 5, sequence=number))
    reports = [report for lane in line.decoder.reports(line.now_ms).values() for report in lane]
    assert [report.samplers for report in reports] == [33_000]
    assert line.problems()["options_refused"] == 80_000 - 33_000
