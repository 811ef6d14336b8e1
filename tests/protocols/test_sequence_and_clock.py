"""Duplicates, sequence accounting in each protocol's unit, and the clock offset of numbers.md section 10."""

import pytest

from flowpb.flow_batch_pb2 import SequenceReport
from ingest.clockoffset import ClockOffset
from ingest.sequence import GAPS, REMEMBERED, SequenceTracker
from tests.protocols.wire import EXPORTER, FLOW, NOW_MS, Line, flow, ipfix, netflow5, netflow9, put, record5, template


def _sequence(line: Line) -> SequenceReport:
    (report,) = (report for reports in line.decoder.reports(line.now_ms).values() for report in reports)
    (sequence,) = report.sequences
    return sequence


def _totals(tracker: SequenceTracker) -> tuple[int, int, int, int]:
    return tracker.received, tracker.missing, tracker.reordered, tracker.restarts


def test_a_repeated_datagram_is_dropped_and_counted() -> None:
    line = Line()
    rows = line.take(*[netflow5(record5(), sequence=1)] * 3, netflow5(record5(), sequence=2))
    assert len(rows) == 2
    (report,) = (report for reports in line.decoder.reports(line.now_ms).values() for report in reports)
    assert (report.datagrams, report.duplicates, report.records) == (4, 2, 2)
    assert line.counters.value("ingest_problems_total", reason="duplicate") == 2


@pytest.mark.parametrize("between", [0, 1, 30, 31])
def test_a_datagram_is_known_again_after_as_many_as_are_remembered(between: int) -> None:
    line = Line()
    line.feed(*(netflow5(record5(), sequence=number) for number in range(100)))
    again = [netflow5(record5(), sequence=100), *(netflow5(record5(), sequence=101 + number) for number in range(between))]
    assert len(line.take(*again, again[0])) == 100 + 1 + between
    assert line.problems() == {"duplicate": 1}


def test_what_is_remembered_of_a_sequence_is_bounded() -> None:
    line = Line()
    line.feed(*(netflow5(record5(), sequence=3 * number) for number in range(1000)))
    (exporter,) = line.decoder._exporters
    (domain,) = exporter.domains.values()
    assert REMEMBERED <= len(domain.sequence.seen) < 2 * REMEMBERED
    assert len(domain.sequence.gaps) == GAPS
    assert domain.sequence.missing == 2 * 999


def test_an_exporter_whose_number_never_moves_loses_nothing() -> None:
    rows = Line().take(netflow9(template(256, FLOW)), *(netflow9(put(256, flow(number))) for number in range(5)))
    assert [row["packets"] for row in rows] == [0, 1, 2, 3, 4]


def test_v5_counts_flows() -> None:
    line = Line()
    line.feed(netflow5(record5(), record5(), sequence=10), netflow5(record5(), sequence=15))
    found = _sequence(line)
    assert (found.unit, found.received, found.missing) == ("flows", 3, 3)


def test_records_that_a_v5_header_announces_and_that_are_not_there_are_not_received() -> None:
    line = Line()
    line.feed(netflow5(record5(), sequence=10, count=30), netflow5(record5(), sequence=40))
    found = _sequence(line)
    assert (found.received, found.undecoded, found.missing) == (2, 29, 0)
    assert line.problems() == {"length_mismatch": 1}


@pytest.mark.parametrize(("records", "count", "flows"), [(0, 0, 0), (31, 31, 31), (2, 1, 1), (1, 65535, 1), (0, 7, 0)])
def test_a_v5_datagram_gives_the_records_that_are_there_and_announced(records: int, count: int, flows: int) -> None:
    line = Line()
    assert len(line.take(netflow5(*[record5()] * records, count=count))) == flows
    assert line.problems() == ({} if records == count else {"length_mismatch": 1})


def test_v9_counts_datagrams() -> None:
    line = Line()
    line.feed(netflow9(template(256, FLOW), put(256, flow(1) * 9), sequence=7), netflow9(sequence=10))
    found = _sequence(line)
    assert (found.unit, found.received, found.missing) == ("packets", 2, 2)


def test_ipfix_counts_data_records_and_does_not_guess_at_unknown_ones() -> None:
    line = Line()
    line.feed(
        ipfix(template(256, FLOW, True), sequence=100),
        ipfix(put(256, flow(1) * 3), sequence=100),
        ipfix(put(256, flow(2)), sequence=105),
        ipfix(put(999, bytes(40)), sequence=106),
        ipfix(put(256, flow(3)), sequence=400),
    )
    found = _sequence(line)
    assert (found.unit, found.received, found.missing, found.restarts) == ("records", 5, 2, 0)
    assert (found.waiting, found.undecoded) == (294, 0)
    line.now_ms += 1000 * 3600
    line.decoder.expire(line.now_ms)
    found = _sequence(line)
    assert (found.received, found.missing, found.waiting, found.undecoded) == (0, 0, 0, 294)


def test_v9_flows_that_were_lost_are_estimated_by_those_that_came() -> None:
    line = Line()
    line.feed(netflow9(template(256, FLOW), sequence=6), *(netflow9(put(256, flow(1) * 8), sequence=n) for n in (7, 8, 12)))
    found = _sequence(line)
    assert (found.missing, found.missing_flows) == (3, 18)


@pytest.mark.parametrize("lost", [(), (3,), (0, 4), (2, 3)], ids=str)
def test_the_accounts_of_ipfix_add_up_when_templates_come_late(lost: tuple[int, ...]) -> None:
    """Six messages of two sets, then the template; then three more messages, one of an unknown set that is given up."""
    line = Line()
    messages = [ipfix(put(256, flow(1) * 3) + put(300, flow(2) * 2), sequence=5 * number) for number in range(6)]
    line.feed(*(message for number, message in enumerate(messages) if number not in lost))
    assert _sequence(line).received == 0
    line.feed(ipfix(template(256, FLOW, True) + template(300, FLOW, True), sequence=30))
    line.feed(ipfix(put(256, flow(3)), sequence=30))
    found = _sequence(line)
    kept = [number for number in range(6) if number not in lost]
    assert (found.received, found.waiting, found.undecoded) == (5 * len(kept) + 1, 0, 0)
    assert found.missing == 30 - 5 * kept[0] - 5 * len(kept)
    line.feed(ipfix(put(999, bytes(40)), sequence=31), ipfix(put(256, flow(3)), sequence=38))
    assert (_sequence(line).waiting, len(line.rows())) == (7, 5 * len(kept) + 2)
    line.decoder.expire(line.now_ms + 3_600_000)
    found = _sequence(line)
    assert (found.waiting, found.undecoded, found.missing) == (0, 7, 0)


def test_what_comes_late_is_taken_off_what_was_reported_missing() -> None:
    line = Line()
    line.feed(*(netflow5(record5(), record5(), sequence=number) for number in (0, 4)))
    assert _sequence(line).missing == 2
    line.feed(*(netflow5(record5(), record5(), sequence=number) for number in (2, 12)))
    found = _sequence(line)
    assert (found.reordered, found.missing) == (1, 4)


def test_a_late_datagram_fills_its_gap() -> None:
    tracker = SequenceTracker("flows")
    for sequence, units in ((0, 10), (20, 10), (15, 5), (10, 5), (30, 10)):
        tracker.advance(sequence, units, units)
    assert _totals(tracker) == (40, 0, 2, 0)


def test_numbers_wrap_at_32_bits() -> None:
    tracker = SequenceTracker("packets")
    for sequence in (0xFFFFFFFE, 0xFFFFFFFF, 0, 2):
        tracker.advance(sequence, 1, 1)
    assert _totals(tracker) == (4, 1, 0, 0)


def test_a_restart_is_believed_when_the_next_datagram_goes_on_from_it() -> None:
    tracker = SequenceTracker("packets")
    for sequence in (5_000_000, 0, 1, 2):
        tracker.advance(sequence, 1, 1)
    assert _totals(tracker) == (4, 0, 0, 1)
    for sequence in (3, 9_000_000, 4, 5):
        tracker.advance(sequence, 1, 1)
    assert _totals(tracker) == (8, 0, 0, 1)


def test_taking_the_totals_starts_anew() -> None:
    tracker = SequenceTracker("packets")
    tracker.advance(1, 1, 1)
    tracker.advance(5, 1, 1)
    assert _totals(tracker.take()) == (2, 3, 0, 0)
    assert _totals(tracker.take()) == (0, 0, 0, 0)


@pytest.mark.parametrize("lost", [0.01, 0.05, 0.2])
def test_the_loss_of_v5_flows_is_known_exactly_but_for_the_ends(lost: float) -> None:
    line = Line()
    sent = 400
    kept = [number for number in range(sent) if (number * 7919) % 1000 >= lost * 1000]
    line.feed(*(netflow5(*[record5()] * 3, sequence=number * 3) for number in kept))
    found = _sequence(line)
    between = (kept[-1] - kept[0] + 1) - len(kept)
    assert (found.received, found.missing) == (3 * len(kept), 3 * between)


def test_the_first_datagram_sets_the_correction() -> None:
    clock = ClockOffset()
    assert clock.observe(NOW_MS + 5_999, NOW_MS) == 5_000
    assert ClockOffset().observe(NOW_MS + 4_999, NOW_MS) == 0
    assert ClockOffset().observe(NOW_MS - 5_000, NOW_MS) == -5_000


def test_the_correction_moves_at_minutes_only_and_not_by_less_than_two_seconds() -> None:
    minute = NOW_MS // 60_000 * 60_000
    clock = ClockOffset()
    assert clock.observe(minute, minute - 10_000) == 10_000
    assert clock.observe(minute + 1_000, minute - 7_000) == 10_000
    assert clock.observe(minute + 60_000, minute + 60_000 - 9_000) == 8_000
    assert clock.observe(minute + 120_000, minute + 120_000) == 8_000
    assert clock.observe(minute + 180_000, minute + 180_000) == 0


def test_the_report_carries_the_correction_and_the_state() -> None:
    line = Line()
    line.now_ms += 9_000
    line.feed(netflow9(template(256, FLOW)))
    (report,) = (report for reports in line.decoder.reports(line.now_ms + 1).values() for report in reports)
    assert (report.exporter, report.since_ms, report.until_ms) == (EXPORTER, line.now_ms, line.now_ms + 1)
    assert (report.clock_offset_ms, report.templates, report.samplers, report.protocol_version) == (9_000, 1, 0, 9)


def test_silent_exporters_are_reported_with_zeros() -> None:
    line = Line()
    line.feed(netflow5(record5()), b"garbage")
    line.rows()
    line.decoder.reports(NOW_MS)
    (report,) = (report for reports in line.decoder.reports(NOW_MS + 10_000).values() for report in reports)
    assert (report.datagrams, report.records, dict(report.problems), report.since_ms) == (0, 0, {}, NOW_MS)
