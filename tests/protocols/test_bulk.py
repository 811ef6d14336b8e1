"""Datagrams taken together give what the same ones give one by one: flows, reports, counters, problems, and what is remembered."""

import random
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest

from common.addresses import pack_address
from common.config import ExporterSettings, Ingest
from common.metrics import Counters
from flowpb.lanes import lane_of
from ingest import bulk
from ingest.decoder import Datagram, Decoder
from tests.protocols.corpus import RECEIVED_MS, cases
from tests.protocols.sflow_wire import ethernet_ipv4_tcp, flow_sample, item, raw_header, sflow
from tests.protocols.wire import (
    FLOW,
    NOW_MS,
    NOW_S,
    Line,
    flow,
    ipfix,
    netflow5,
    netflow9,
    options_template,
    put,
    record5,
    template,
)

_EXPORTERS: Final = tuple(pack_address(f"192.0.2.{number}") for number in range(1, 6))
_LONG: Final = (*FLOW, (130, 4), (210, 3))
_VARIABLE: Final = ((371, 65535), *FLOW, (371, 65535))
_MEDIATOR: Final = ExporterSettings(networks=("192.0.2.5/32",), identity="exporter_address")
_BY_AGENT: Final = ExporterSettings(networks=("192.0.2.4/32",), identity="agent_address")


class _Sender:
    """What one exporter may send, at random: mostly flows in their order, now and then anything else."""

    def __init__(self, chance: random.Random, exporter: bytes) -> None:
        self._chance = chance
        self._exporter = exporter
        self._sequence = dict.fromkeys(("v5", "v9", "ipfix", "sflow"), chance.choice((0, 7, 0xFFFFFFF0)))
        self._last = b""

    def payload(self, number: int) -> bytes:
        """The next one; only few are of the last kinds."""
        if self._last and self._chance.random() < 0.02:
            return self._last
        kind = self._chance.choice(("v5", "v9", "v9", "ipfix", "sflow"))
        self._last = getattr(self, f"_{kind}")(number)
        which = self._chance.random()
        if which < 0.02:
            return self._last[: self._chance.randrange(len(self._last))]
        return bytes((0, self._chance.choice((1, 7, 105)))) + self._last[2:] if which < 0.03 else self._last

    def _take(self, kind: str, units: int) -> int:
        sequence = self._sequence[kind]
        lost = self._chance.choice((0,) * 20 + (3, 3, 50, -2, 2_000_000))
        self._sequence[kind] = sequence + units + lost & 0xFFFFFFFF
        return sequence

    def _v5(self, number: int) -> bytes:
        records = [record5(octets=number + place) for place in range(self._chance.randint(1, 4))]
        count = self._chance.choice((None,) * 20 + (0, 9))
        sampling = self._chance.choice((0, 0x4000 | 100))
        return netflow5(*records, sequence=self._take("v5", len(records)), sampling=sampling, count=count)

    def _sets(self, number: int, is_ipfix: bool) -> tuple[list[bytes], int]:
        fields = self._chance.choice((FLOW, _LONG))
        records = self._chance.randint(1, 4)
        body = b"".join(flow(number % 200 + place) for place in range(records)) + bytes(self._chance.choice((0, 0, 3)))
        which = self._chance.random()
        if which > 0.9:
            names = [self._chance.randbytes(self._chance.choice((0, 3, 3, 300))) for _ in range(2 * records)]
            texts = [(bytes([len(name)]) if len(name) < 255 else b"\xff\1\x2c") + name for name in names]
            body = b"".join(texts[2 * place] + flow(place) + texts[2 * place + 1] for place in range(records))
            padding = bytes(self._chance.choice((0, 0, 0, 3, 40))) or self._chance.choice((b"", b"", b"", b"\xfe" * 40))
            first = [template(257, _VARIABLE, is_ipfix)] if self._chance.random() < 0.1 else []
            return [*first, *[put(257, body + padding)] * self._chance.randint(1, 2)], records
        if which < 0.04:
            return [template(256, fields, is_ipfix)], 0
        if which < 0.06:
            return [template(256, fields, is_ipfix), put(256, body)], records
        if which < 0.08:
            return [put(256, body)] * self._chance.choice((2, 2, 3, 70)), 2 * records
        if which < 0.10:
            described = options_template(300, ((149 if is_ipfix else 1, 4),), ((34, 4), (160 if is_ipfix else 35, 8)), is_ipfix)
            return [described, put(300, struct.pack(">IIQ", 1, number, NOW_MS - 900_000))], int(is_ipfix)
        if which < 0.12:
            short = self._chance.choice((struct.pack(">HH", 256, 2), put(256, body)[: self._chance.randrange(40)]))
            return [put(256, body), short] if self._chance.random() < 0.7 else [short], records
        return [put(256 if which < 0.88 else 999, body)], records

    def _v9(self, number: int) -> bytes:
        sets, _ = self._sets(number, is_ipfix=False)
        when = NOW_S - self._chance.choice((0, 0, 1, 60, 900))
        return netflow9(*sets, sequence=self._take("v9", 1), domain=self._chance.choice((0, 0, 1)), exported_s=when)

    def _ipfix(self, number: int) -> bytes:
        sets, units = self._sets(number, is_ipfix=True)
        message = ipfix(*sets, sequence=self._take("ipfix", units), domain=self._chance.choice((0, 0, 0xFFFFFFFF)))
        return message + bytes(self._chance.choice((0,) * 30 + (1,)))

    def _sflow(self, number: int) -> bytes:
        sample = flow_sample(raw_header(ethernet_ipv4_tcp()), number=number, rate=number)
        samples = [sample] * self._chance.randint(0, 3) + [item(2, struct.pack(">III", number, 9, 0))] * (number % 2)
        agent = self._exporter[12:] if self._chance.random() < 0.7 else self._exporter
        count = self._chance.choice((None,) * 20 + (9,))
        return sflow(*samples, sequence=self._take("sflow", 1), agent=agent, sub_agent=self._chance.choice((3, 300)), count=count)


def _traffic(seed: int, count: int = 700) -> Iterator[Datagram]:
    chance = random.Random(seed)
    exporters = _EXPORTERS[: chance.randint(1, len(_EXPORTERS))]
    senders = {exporter: _Sender(chance, exporter) for exporter in exporters}
    session = chance.choice((0, 0, 7))
    step_ms = chance.choice((1, 400))
    for number in range(count):
        exporter = chance.choice(exporters)
        yield Datagram(exporter, NOW_MS + number * step_ms, senders[exporter].payload(number), session * (number // 100 % 2))


def _state(decoder: Decoder, now_ms: int) -> dict[str, Any]:
    """Everything that a decoder tells; problems and options of each exporter are in order, those of different ones are not."""
    reports = decoder.reports(now_ms)
    return {
        "reports": {lane: [report.SerializeToString(deterministic=True) for report in of] for lane, of in reports.items()},
        "snapshot": decoder.snapshot(),
        "problems": sorted(decoder.problems(100_000), key=lambda problem: problem.exporter),
        "options": sorted(decoder.option_records(), key=lambda row: row.exporter),
        "samplers": decoder.samplers(),
        "names": decoder.names(),
    }


def _portions(datagrams: Sequence[Datagram], chance: random.Random, most: int) -> Iterator[Sequence[Datagram]]:
    start = 0
    while start < len(datagrams):
        size = chance.randint(1, most)
        yield datagrams[start : start + size]
        start += size


def _compare(datagrams: Sequence[Datagram], settings: Ingest, chance: random.Random, most: int) -> int:
    counters = Counters(), Counters()
    single, many = Decoder(settings, 16, counters[0]), Decoder(settings, 16, counters[1])
    rows = 0
    for portion in _portions(datagrams, chance, most):
        for datagram in portion:
            single.feed(datagram)
        many.feed_many(portion)
        assert (many.pending_flows, many.pending_bytes) == (single.pending_flows, single.pending_bytes)
        if chance.random() < 0.3:
            batches = single.drain()
            assert many.drain() == batches
            rows += sum(int(batch.num_rows) for batch in batches.values())
            assert _state(many, portion[-1].received_ms) == _state(single, portion[-1].received_ms)
    batches = single.drain()
    assert many.drain() == batches
    assert _state(many, datagrams[-1].received_ms) == _state(single, datagrams[-1].received_ms)
    assert counters[0].as_map() == counters[1].as_map()
    last = sum(int(batch.num_rows) for batch in batches.values())
    return rows + last


@pytest.mark.parametrize("seed", range(24))
def test_any_traffic_is_the_same_in_bulk_and_one_by_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "LEAST", 2 + seed % 3 * 10)
    monkeypatch.setattr(bulk, "PAUSE", seed % 4 // 3)
    settings = Ingest(exporter_settings=(_MEDIATOR, _BY_AGENT)) if seed % 2 else Ingest()
    assert _compare(list(_traffic(seed)), settings, random.Random(seed), most=300) > 300


@pytest.mark.parametrize("seed", range(4))
def test_all_of_the_corpus_is_the_same_in_bulk_and_one_by_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "LEAST", 2)
    monkeypatch.setattr(bulk, "PAUSE", 0)
    chance = random.Random(seed)
    queues = [list(packets) for packets in cases().values()]
    datagrams: list[Datagram] = []
    while queues:
        queue = chance.choice(queues)
        packet = queue.pop(0)
        datagrams.append(Datagram(packet.exporter, RECEIVED_MS + len(datagrams), packet.payload))
        queues = [queue for queue in queues if queue]
    assert _compare(datagrams, Ingest(), chance, most=400) > 500


def test_nearly_all_of_ordinary_traffic_is_taken_in_bulk() -> None:
    alone: list[Datagram] = []
    decoder = Decoder(Ingest(), 16, Counters())
    first = [Datagram(exporter, NOW_MS, netflow9(template(256, FLOW))) for exporter in _EXPORTERS]
    rest = [
        Datagram(exporter, NOW_MS, netflow9(put(256, flow(1) * 20), sequence=number + 1))
        for number in range(200)
        for exporter in _EXPORTERS
    ]
    decoder.feed_many(first + rest, lambda datagram, _flows: alone.append(datagram))
    assert alone == first
    assert decoder.pending_flows == len(rest) * 20


def test_what_is_watched_is_told_with_its_flows() -> None:
    seen: list[tuple[bytes, int]] = []
    decoder = Decoder(Ingest(), 16, Counters())
    good = [Datagram(_EXPORTERS[0], NOW_MS, netflow5(record5(), record5(), sequence=2 * number)) for number in range(400)]
    bad = Datagram(_EXPORTERS[1], NOW_MS, netflow5(record5(), count=5))
    decoder.feed_many([*good[:150], bad, *good[150:]], lambda datagram, flows: seen.append((datagram.exporter, flows)))
    assert seen == [(_EXPORTERS[0], 2), (_EXPORTERS[1], 1)]


def test_a_gap_after_datagrams_in_bulk_is_certain_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "LEAST", 64)
    line = Line()
    waiting = ipfix(put(999, bytes(40)), sequence=0)
    line.feed(ipfix(template(256, FLOW, ipfix=True)), waiting)
    rest = [ipfix(put(256, flow(1)), sequence=number) for number in range(100)]
    line.decoder.feed_many([Datagram(_EXPORTERS[0], NOW_MS, payload) for payload in rest])
    line.feed(ipfix(put(256, flow(1)), sequence=110))
    (report,) = line.decoder.reports(NOW_MS)[lane_of(_EXPORTERS[0], 16)]
    assert sorted((sequence.missing, sequence.received) for sequence in report.sequences) == [(10, 101)]
