"""The invariant: for any octets `feed` and `drain` return, everything is flows or counted problems, and memory is bounded."""

import itertools
import math
import struct
from collections.abc import Sequence

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from common.config import ExporterSettings, Ingest
from ingest.intake import OPTIONS_KEPT
from ingest.problems import LOGGED
from tests.protocols.corpus import cases
from tests.protocols.structures import compose
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
    assert line.rows() == []
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


_EVERYTHING = ExporterSettings(networks=("0.0.0.0/0",), keep_elements=("all",), inner_flow=True)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(min_size=8, max_size=120), min_size=1, max_size=3))
def test_elements_of_any_length_and_value_do_no_harm(parts: Sequence[bytes]) -> None:
    line = Line(Ingest(exporter_settings=(_EVERYTHING,)))
    rows = 0
    for payload in compose(b"\n\n".join(parts)):
        line.feed(payload)
        for batch in line.decoder.drain().values():
            batch.validate(full=True)
            rows += batch.num_rows
        assert line.rows() == []
    assert sum(report.records for lane in line.decoder.reports(line.now_ms).values() for report in lane) == rows
    again = Line()
    again.decoder.restore(line.decoder.snapshot())
    assert (again.decoder.samplers(), again.decoder.names()) == (line.decoder.samplers(), line.decoder.names())


_TOGETHER = (1, 2, 23, 24, 85, 86, 136, 148, 231, 232, 233, 298, 299, 352, 483, 484, 313, 315, 409, 95, 22, 160)


def test_elements_that_mean_something_together_are_decoded_in_any_company() -> None:
    line = Line()
    for number, chosen in enumerate(itertools.combinations(_TOGETHER, 3)):
        turned = (*chosen[number % 3 :], *chosen[: number % 3])
        fields = tuple((element, 65535 if element in (95, 313, 315, 484) else 4) for element in turned)
        record = b"".join(b"\x09" + b"\x45" * 9 if length == 65535 else b"\0\0\0\x05" for _, length in fields)
        line.feed(ipfix(template(300, fields, True), put(300, record * 2), sequence=2 * number))
    rows = line.rows()
    assert len(rows) >= 2 * math.comb(len(_TOGETHER), 3)
    assert set(line.problems()) <= {"times_repaired"}
