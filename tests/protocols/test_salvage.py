"""A fault of ours in a drain: what it concerns is given up and counted, everything else comes."""

from collections.abc import Callable

import pytest

from ingest import canonical
from ingest.columns_of_samples import put_samples
from ingest.columns_of_totals import put_totals
from ingest.decoder import Datagram
from ingest.problems import Reason
from ingest.rows import Rows
from ingest.samples import Samples
from tests.protocols.sflow_wire import ethernet_ipv4_tcp, flow_sample, raw_header, sflow
from tests.protocols.wire import EXPORTER, FLOW, NOW_MS, OTHER, Line, flow, ipfix, netflow5, netflow9, put, record5, template

_BAD = 66_000


def _faulty_totals(rows: Rows, *others: object) -> None:
    if (rows.uint(1) == _BAD).any():
        raise ZeroDivisionError("a fault of ours")
    put_totals(rows, *others)  # type: ignore[arg-type]


def _faulty_samples(samples: Samples, *others: object) -> None:
    if (samples.fixed.rate == _BAD).any():
        raise ZeroDivisionError("a fault of ours")
    put_samples(samples, *others)  # type: ignore[arg-type]


def _counted(octets: int) -> bytes:
    return flow(1)[:13] + octets.to_bytes(4) + bytes(4)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.setattr(canonical, "put_totals", _faulty_totals)
    monkeypatch.setattr(canonical, "put_samples", _faulty_samples)
    return Line()


def _drained(line: Line) -> list[int]:
    batches = line.decoder.drain()
    for batch in batches.values():
        batch.validate(full=True)
    return sorted(row["bytes"] for batch in batches.values() for row in batch.to_pylist())


@pytest.mark.parametrize("make", [ipfix, netflow9])
def test_records_that_raise_cost_their_own_set(line: Line, make: Callable[..., bytes]) -> None:
    line.feed(make(template(256, FLOW, make is ipfix)))
    for number in range(20):
        octets = _BAD if number == 13 else number
        line.feed(make(put(256, _counted(octets)), sequence=number + (make is netflow9)))
    line.feed(netflow5(record5(octets=999)), exporter=OTHER)
    line.feed(sflow(flow_sample(raw_header(ethernet_ipv4_tcp()))))
    assert _drained(line) == sorted([*(number for number in range(20) if number != 13), 999, 1400])
    (problem,) = line.decoder.problems()
    assert (problem.exporter, problem.reason, problem.received_ms) == (EXPORTER, Reason.UNDECODABLE, NOW_MS)
    assert "ZeroDivisionError: a fault of ours" in problem.text
    assert line.problems() == {"undecodable": 1}
    assert line.counters.sum("ingest_flows_total") == 21
    line.feed(make(put(256, _counted(5)), sequence=30))
    assert _drained(line) == [5]


def test_samples_that_raise_cost_their_own_datagram(line: Line) -> None:
    for number in range(9):
        rate = _BAD if number in (3, 4) else 10
        line.feed(sflow(flow_sample(raw_header(ethernet_ipv4_tcp()), rate=rate, number=number), sequence=number))
    assert _drained(line) == [1400] * 7
    assert line.problems() == {"undecodable": 2}


def test_nothing_is_left_where_all_raises(line: Line) -> None:
    line.decoder.feed(Datagram(EXPORTER, NOW_MS, netflow5(record5(octets=_BAD))))
    assert line.decoder.drain() == {}
    assert line.problems() == {"undecodable": 1}
