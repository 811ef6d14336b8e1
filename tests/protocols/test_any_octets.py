"""The invariant: for any octets `feed` and `drain` return, everything is flows or counted problems, and memory is bounded."""

import struct
from collections.abc import Sequence

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from common.config import ExporterSettings, Ingest
from ingest.intake import OPTIONS_KEPT
from ingest.problems import LOGGED
from tests.protocols.corpus import cases
from tests.protocols.wire import EXPORTER, FLOW, Line, flow, ipfix, netflow5, netflow9, options_template, put, record5, template

_SEEDS = [packet.payload for packets in cases().values() for packet in packets][::7] + [
    netflow5(record5(), record5(), sampling=0xFFFF),
    netflow9(template(256, FLOW), put(256, flow() * 3), options_template(257, ((1, 4),), ((34, 4),)), put(257, bytes(8))),
    ipfix(template(256, (*FLOW, (96, 65535)), ipfix=True), put(256, (flow() + b"\x02ab") * 3)),
]
_VERSIONS = st.sampled_from((1, 5, 7, 9, 10))
_WORDS = st.sampled_from((0, 1, 2, 3, 4, 8, 255, 256, 257, 300, 65535, 0x8001, 29305)).map(lambda value: struct.pack(">H", value))
_anything = st.binary(max_size=200)
_headed = st.builds(
    lambda version, body: struct.pack(">H", version) + body, _VERSIONS, st.lists(_WORDS | st.binary(max_size=9)).map(b"".join)
)
_sets = st.lists(
    st.builds(put, st.sampled_from((0, 1, 2, 3, 4, 255, 256, 257)), st.lists(_WORDS, max_size=30).map(b"".join)), max_size=6
)
_messages = st.builds(lambda sets, make: make(*sets), _sets, st.sampled_from((netflow9, ipfix)))


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    payload = bytearray(draw(st.sampled_from(_SEEDS)))
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, max(0, len(payload) - 1)))
        if payload and draw(st.booleans()):
            payload[place] = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF)))
        else:
            payload[place : place + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(payload[: draw(st.integers(0, len(payload)))] if draw(st.booleans()) else payload)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_anything | _headed | _messages | _mutated(), max_size=8))
def test_any_octets_become_flows_or_counted_problems(payloads: Sequence[bytes]) -> None:
    line = Line(Ingest(templates_per_exporter=8, parked_bytes=2048))
    for payload in payloads:
        line.feed(payload)
        line.now_ms += 1
    pending = line.decoder.pending_flows
    batches = line.decoder.drain()
    rows = sum(batch.num_rows for batch in batches.values())
    assert rows <= 2 * pending
    for batch in batches.values():
        batch.validate(full=True)
    line.decoder.expire(line.now_ms)
    line.decoder.restore(line.decoder.snapshot())
    reports = line.decoder.reports(line.now_ms)
    assert sum(report.records for lane in reports.values() for report in lane) == rows
    assert line.counters.sum("ingest_datagrams_total") == len(payloads)


@settings(max_examples=50, deadline=None)
@given(st.lists(_mutated(), max_size=30))
def test_state_stays_within_its_bounds(payloads: Sequence[bytes]) -> None:
    line = Line(Ingest(templates_per_exporter=4, parked_bytes=4096, exporters=3))
    for number, payload in enumerate(payloads):
        line.feed(payload, exporter=EXPORTER[:-1] + bytes([number % 7]))
        line.rows()
    reports = [report for lane in line.decoder.reports(line.now_ms).values() for report in lane]
    assert len(reports) <= 3
    assert all(report.templates <= 4 for report in reports)
    assert len(line.decoder.templates()) <= 12
    assert len(line.decoder.problems(1 << 30)) <= LOGGED
    assert len(line.decoder.option_records()) <= OPTIONS_KEPT


_OPTION_ELEMENTS = (10, 14, 34, 35, 36, 37, 48, 49, 50, 82, 95, 96, 149, 160, 234, 236, 300, 302, 303, 304, 305, 306, 309, 310)
_FLOW_ELEMENTS = (1, 2, 8, 10, 21, 22, 27, 34, 35, 36, 37, 48, 50, 61, 70, 85, 86, 95, 136, 148, 150, 152, 154, 158, 160, 161, 231)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_elements_of_any_length_and_value_do_no_harm(data: st.DataObject) -> None:
    def fields(elements: tuple[int, ...]) -> list[tuple[int, int]]:
        chosen = st.tuples(st.sampled_from(elements + (311, 339, 341, 346)), st.sampled_from((0, 1, 2, 3, 4, 7, 8, 9, 16, 200)))
        return data.draw(st.lists(chosen, min_size=1, max_size=6))

    def records(listed: list[tuple[int, int]]) -> bytes:
        octet = data.draw(st.sampled_from((b"\0", b"\x01", b"\x7f", b"\xff")))
        size = sum(length for _, length in listed)
        return data.draw(st.just(octet * size * 2) | st.binary(min_size=size, max_size=size * 3))

    line = Line(Ingest(exporter_settings=(ExporterSettings(networks=("0.0.0.0/0",), keep_elements=("all",)),)))
    options, flows = fields(_OPTION_ELEMENTS), fields(_FLOW_ELEMENTS)
    sets = options_template(300, ((149, 4),), options, True), put(300, bytes(4) + records(options))
    line.feed(ipfix(*sets, template(256, flows, True), put(256, records(flows))))
    for batch in line.decoder.drain().values():
        batch.validate(full=True)
    shown = line.decoder.option_records(), line.decoder.samplers(), line.decoder.names()
    again = Line()
    again.decoder.restore(line.decoder.snapshot())
    assert (again.decoder.samplers(), again.decoder.names()) == shown[1:]
