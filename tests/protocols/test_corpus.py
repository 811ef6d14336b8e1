"""Real packets of many exporters: nothing raises, and the records are what the sources say."""

import pyarrow as pa
import pytest

from common.config import Ingest
from common.metrics import Counters
from flowpb.schema import INGEST_SCHEMA
from ingest.decoder import Datagram, Decoder
from tests.protocols.corpus import (
    RECEIVED_MS,
    Decoded,
    Packet,
    Record,
    cases,
    decode_case,
    disagreements,
    is_flow,
    option_agrees,
    reading_agrees,
)


def _names(*expects: str) -> list[str]:
    return [name for name, packets in cases().items() if any(packet.expect in expects for packet in packets)]


@pytest.mark.parametrize("name", cases())
def test_no_case_raises_and_every_batch_is_valid(name: str) -> None:
    decoder = Decoder(Ingest(), 16, Counters())
    for number, packet in enumerate(cases()[name]):
        decoder.feed(Datagram(packet.exporter, RECEIVED_MS + number, packet.payload))
    for batch in decoder.drain().values():
        batch.validate(full=True)
        names = [column for column in INGEST_SCHEMA.names if column in batch.schema.names]
        assert batch.schema == pa.schema([INGEST_SCHEMA.field(column) for column in names])
        for never in ("received_ms", "exported_ms", "first_switched_ms", "delta_switched_ms", "last_switched_ms"):
            assert batch.column(never).null_count == 0


@pytest.mark.parametrize("name", _names("full"))
def test_full_cases_agree_in_order(name: str) -> None:
    for packet, decoded in decode_case(cases()[name]):
        if packet.expect == "full":
            _judge_full(packet, decoded)


@pytest.mark.parametrize("name", _names("unordered", "subset"))
def test_other_cases_hold_what_is_expected(name: str) -> None:
    flows: list[Record] = []
    whole = Decoded(flows, [])
    for packet, decoded in decode_case(cases()[name]):
        whole.flows.extend(decoded.flows)
        whole.options.extend(decoded.options)
        if packet.expect in ("unordered", "subset"):
            seen = whole if packet.scope == "case" else decoded
            _judge_held(packet, seen)


@pytest.mark.parametrize("name", _names("reject"))
def test_rejected_cases_yield_nothing_but_a_counted_problem(name: str) -> None:
    counters = Counters()
    for _, decoded in decode_case(cases()[name], counters):
        assert not decoded.flows
    assert counters.sum("ingest_problems_total") == 1


def _judge_full(packet: Packet, decoded: Decoded) -> None:
    if packet.proto == "sflow5":
        assert len(decoded.flows) + decoded.counter_samples == len(packet.expected)
        return
    flows = [record for record in packet.expected if is_flow(record)] if decoded.flows else []
    options = [record for record in packet.expected if record not in flows]
    doubled = len(decoded.flows) - len(flows)
    assert doubled == 0 or doubled == len(flows), f"{len(decoded.flows)} flows, expected {len(flows)}"
    forward = decoded.flows[:: 2 if doubled else 1]
    assert [disagreements(record, flow, packet.slip_ms) for record, flow in zip(flows, forward, strict=True)] == [[]] * len(flows)
    assert len(decoded.options) == len(options)
    assert all(option_agrees(record, option) for record, option in zip(options, decoded.options, strict=True))


def _judge_held(packet: Packet, decoded: Decoded) -> None:
    if packet.expected_count is not None:
        assert len(decoded.flows) + len(decoded.options) + decoded.counter_samples >= packet.expected_count
    for record in filter(None, packet.expected):
        closest = min((disagreements(record, flow, packet.slip_ms) for flow in decoded.flows), key=len, default=["no flow"])
        if closest:
            options = any(option_agrees(record, option) for option in decoded.options)
            readings = any(reading_agrees(record, reading) for reading in decoded.readings)
            assert options or readings, f"{record}: {closest}"
