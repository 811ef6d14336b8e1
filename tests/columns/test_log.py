"""The lane's log: repeats, clamps, leases, frontier."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from columns.lane import due, mark_times
from columns.log import LaneLog, Position, Verdict, advance
from common.errors import InputError
from flowpb.codec import Header
from ingest.loadgen.oracle.flows import Batch
from ingest.loadgen.oracle.judge import LaneLog as OracleLog

MINUTE = 60_000


def header(collector: str, seq: int, mark_ms: int, epoch: int = 1) -> Header:
    return Header(collector, epoch, 0, seq, mark_ms)


def read(*headers: Header) -> tuple[LaneLog, list[Verdict]]:
    log, verdicts = LaneLog(), []
    for each in headers:
        log, verdict = advance(log, each, each.mark_ms)
        verdicts.append(verdict)
    return log, verdicts


def test_first_batch_sets_the_frontier() -> None:
    log, [verdict] = read(header("a", 0, 1000))
    assert verdict == Verdict(True, 1000, 1000)
    assert log == LaneLog({"a": Position(1, 0, 1000, 1000)}, 1000)


def test_frontier_is_the_least_live_mark() -> None:
    _, verdicts = read(header("a", 0, 1000), header("b", 0, 5000), header("a", 1, 9000), header("b", 1, 7000))
    assert [verdict.frontier_ms for verdict in verdicts] == [1000, 1000, 5000, 7000]


def test_a_repeat_changes_nothing() -> None:
    before, _ = read(header("a", 3, 1000, epoch=2), header("b", 0, 5000))
    for repeat in (header("a", 3, 99_000, epoch=2), header("a", 2, 99_000, epoch=2), header("a", 9, 99_000, epoch=1)):
        after, verdict = advance(before, repeat, 99_000)
        assert after is before
        assert verdict == Verdict(False, 1000, 1000)


def test_a_restarted_collector_starts_over() -> None:
    log, verdicts = read(header("a", 7, 1000), header("a", 0, 2000, epoch=2))
    assert verdicts[-1].accepted
    assert log.collectors == {"a": Position(2, 0, 2000, 2000)}


def test_a_silent_collector_loses_its_lease_exactly_after_ten_minutes() -> None:
    log, _ = read(header("a", 0, 1000), header("b", 0, 1000))
    log, held = advance(log, header("b", 1, 1000 + 10 * MINUTE - 1), 10**9)
    assert held.frontier_ms == 1000
    _, released = advance(log, header("b", 2, 1000 + 10 * MINUTE), 10**9)
    assert released.frontier_ms == 1000 + 10 * MINUTE


def test_the_frontier_never_falls_when_a_collector_returns() -> None:
    _, verdicts = read(header("a", 0, 1000), header("b", 0, 20 * MINUTE), header("a", 1, 15 * MINUTE))
    assert [verdict.frontier_ms for verdict in verdicts] == [1000, 20 * MINUTE, 20 * MINUTE]


def test_a_fast_clock_is_clamped_to_the_bus() -> None:
    log, fast = advance(LaneLog(), header("a", 0, 10**12), 5000)
    assert fast == Verdict(True, 65_000, 65_000)
    assert log.collectors["a"].mark_ms == 65_000


@given(st.dictionaries(st.text(), st.builds(Position, *[st.integers(0, 2**63)] * 4)), st.none() | st.integers(-5, 2**62))
def test_packing_is_stable_and_reversible(collectors: dict[str, Position], frontier_ms: int | None) -> None:
    log = LaneLog(collectors, frontier_ms)
    assert LaneLog.unpack(log.pack()) == log
    turned = LaneLog(dict(reversed(collectors.items())), frontier_ms)
    assert turned.pack() == log.pack()


def test_unpacking_something_else_says_so() -> None:
    with pytest.raises(InputError, match=r"^lane log: starts with b'NLL9', this program reads b'NLL2'$"):
        LaneLog.unpack(b"NLL9{}")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 5), st.integers(0, 40 * MINUTE)), max_size=30))
def test_the_frontier_rises_and_is_a_live_mark(batches: Sequence[tuple[str, int, int, int]]) -> None:
    log, last = LaneLog(), -1
    for collector, epoch, seq, mark_ms in batches:
        log, verdict = advance(log, header(collector, seq, mark_ms, epoch), mark_ms)
        assert verdict.frontier_ms >= last
        last = verdict.frontier_ms


DAY = 24 * 60 * MINUTE


def test_a_log_of_before_collectors_were_forgotten_is_read() -> None:
    assert LaneLog.unpack(b'NLL1{"collectors":{"a":[1,2,3]},"frontier_ms":7}') == LaneLog({"a": Position(1, 2, 3, 7)}, 7)


def test_a_collector_is_forgotten_after_thirty_days_and_what_it_sent_is_refused() -> None:
    log, _ = read(header("a", 5, DAY), header("b", 0, DAY))
    log, _ = advance(log, header("b", 1, 31 * DAY - 1), 10**12)
    assert set(log.collectors) == {"a", "b"}
    log, _ = advance(log, header("b", 2, 31 * DAY), 10**12)
    assert set(log.collectors) == {"b"}
    after, verdict = advance(log, header("a", 5, DAY), 10**12)
    assert (after, verdict.accepted) == (log, False)
    _, drained = advance(log, header("a", 6, DAY + 11 * MINUTE), 10**12)
    assert drained.accepted


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 400), st.integers(0, 20)), max_size=60),
    st.lists(st.integers(0, 10**6), max_size=60),
)
def test_forgetting_bounds_the_log_and_never_lets_a_batch_count_twice(
    sent: Sequence[tuple[str, int, int]], repeats: Sequence[int]
) -> None:
    """Batches of collectors up to 20 hours behind the bus, each repeated at random later times; the oracle agrees to each."""
    oracle, log, now_ms = OracleLog(), LaneLog(), 0
    given_out: list[Header] = []
    accepted: set[tuple[str, int]] = set()
    seqs: dict[str, int] = {}

    def take(each: Header) -> bool:
        nonlocal log
        log, verdict = advance(log, each, now_ms)
        mark = oracle.admit(Batch(0, each.collector, each.epoch, each.seq, each.mark_ms, (), now_ms))
        assert (mark is not None, oracle.frontier_ms) == (verdict.accepted, log.frontier_ms)
        return verdict.accepted

    for step, (collector, hours, behind) in enumerate(sent):
        now_ms += hours * 60 * MINUTE
        seqs[collector] = seqs.get(collector, -1) + 1
        given_out.append(header(collector, seqs[collector], max(0, now_ms - behind * 60 * MINUTE)))
        if take(given_out[-1]):
            accepted.add((collector, seqs[collector]))
        if step < len(repeats):
            again = given_out[repeats[step] % len(given_out)]
            if (again.collector, again.seq) in accepted:
                assert not take(again)
        assert all(position.heard_ms > (log.frontier_ms or 0) - 30 * DAY for position in log.collectors.values())


def test_marks_fall_due_at_their_times() -> None:
    start = 120_000
    assert mark_times(start) == (190_000, 360_000, 180_000 + 16 * MINUTE)
    assert due(start, 1, None) == 0
    assert [due(start, 1, time) for time in (189_999, 190_000, 360_000, 180_000 + 16 * MINUTE)] == [0, 1, 2, 3]
    assert [due(start, mark, 360_000) for mark in (2, 3, 4)] == [1, 0, 0]
