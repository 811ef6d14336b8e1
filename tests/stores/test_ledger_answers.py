"""The ledger in every store: newest versions, sums by exporter and by step, gauges of the latest report."""

from typing import Any

import pyarrow as pa
import pytest

from flowpb.ledger import LEDGER_SCHEMA
from stores.contract import LEDGER_ANSWER, Ledger, Store
from stores.questions import LedgerQuery, Span
from tests.stores.literals import MINUTE, T0
from tests.stores.stores import Opener

A, B = "10.0.0.1", "2001:db8::7"
HOUR = Span(T0, T0 + 60 * MINUTE)


def table(*rows: dict[str, Any]) -> pa.Table:
    empty = {name: None if name in ("exporter_addr", "repaired_ms") else 0 for name in LEDGER_SCHEMA.names}
    return pa.Table.from_pylist([{**empty, "version": 1, **row} for row in rows], LEDGER_SCHEMA)


def row(minute: int, exporter: str | None = A, booked: int | None = None, **counts: int) -> dict[str, Any]:
    booked_ms = T0 + (minute if booked is None else booked) * MINUTE
    return {"minute_ms": T0 + minute * MINUTE, "booked_ms": booked_ms, "lane": 3, "exporter_addr": exporter, **counts}


TABLES = (
    table(row(0, version=2, datagrams=5, since_ms=7, until_ms=10, templates=4), row(0, B, datagrams=100), row(0, None, batches=4)),
    table(row(0, version=3, datagrams=8, flows_lost=2, since_ms=7, until_ms=20, templates=3), row(1, datagrams=10, flows_lost=1)),
    table(row(0, booked=5, datagrams=1_000, since_ms=5, until_ms=15, templates=9), row(2, None, batches=6, batches_missing=1)),
)


@pytest.fixture
def store(opened: Opener) -> Any:
    with opened(ledger=TABLES) as store:
        yield store


def counts(answer: Ledger, *names: str) -> list[tuple[Any, ...]]:
    assert answer.rows.schema == LEDGER_ANSWER
    return [tuple(row[name] for name in names) for row in answer.rows.to_pylist()]


def test_by_exporter(store: Store) -> None:
    answer = store.ledger(LedgerQuery(HOUR))
    assert counts(answer, "start_ms", "exporter", "datagrams", "flows_lost", "batches", "batches_missing") == [
        (T0, A, 1_018, 3, 0, 0),
        (T0, B, 100, 0, 0, 0),
        (T0, None, 0, 0, 10, 1),
    ]
    assert answer.data == Span(T0, T0 + 3 * MINUTE)


def test_gauges_are_those_of_the_latest_report(store: Store) -> None:
    [first, *_] = counts(store.ledger(LedgerQuery(HOUR)), "exporter", "templates", "since_ms", "until_ms")
    assert first == (A, 3, 5, 20)


def test_by_step(store: Store) -> None:
    answer = store.ledger(LedgerQuery(HOUR, by_exporter=False, step_ms=2 * MINUTE))
    steps = {start: (datagrams, batches) for start, datagrams, batches in counts(answer, "start_ms", "datagrams", "batches")}
    first = T0 - T0 % (2 * MINUTE)
    expected: dict[int, tuple[int, int]] = {}
    for minute, datagrams, batches in ((0, 1_108, 4), (1, 10, 0), (2, 0, 6)):
        start = (T0 + minute * MINUTE) // (2 * MINUTE) * 2 * MINUTE
        before = expected.get(start, (0, 0))
        expected[start] = before[0] + datagrams, before[1] + batches
    assert steps == expected
    assert first in steps
    assert [exporter for (exporter,) in counts(answer, "exporter")] == [None] * len(steps)


def test_by_exporter_and_step(store: Store) -> None:
    answer = store.ledger(LedgerQuery(HOUR, exporter=A, step_ms=MINUTE))
    assert counts(answer, "start_ms", "exporter", "datagrams") == [(T0, A, 1_008), (T0 + MINUTE, A, 10)]


def test_of_one_exporter(store: Store) -> None:
    assert counts(store.ledger(LedgerQuery(HOUR, exporter=B)), "exporter", "datagrams") == [(B, 100)]
    assert counts(store.ledger(LedgerQuery(HOUR, exporter="192.0.2.1")), "exporter") == []


def test_the_range_is_half_open(store: Store) -> None:
    answer = store.ledger(LedgerQuery(Span(T0 + MINUTE, T0 + 2 * MINUTE)))
    assert (counts(answer, "exporter", "datagrams"), answer.data) == ([(A, 10)], Span(T0 + MINUTE, T0 + 2 * MINUTE))


def test_a_store_without_a_ledger_has_none(opened: Opener) -> None:
    with opened() as store:
        answer = store.ledger(LedgerQuery(HOUR))
        assert (answer.rows.num_rows, answer.data) == (0, None)
        assert answer.rows.schema == LEDGER_ANSWER
