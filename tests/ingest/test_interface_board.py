"""Readings of interface counters become rates, shares of the speed, errors and discards."""

from typing import Final

from common.config import ExporterSettings, Ingest
from flowpb.flow_batch_pb2 import ExporterReport, InterfaceCounters
from ingest.board import ExporterBoard
from ingest.exporter_rules import ExporterRules
from ingest.interface_board import InterfaceBoard
from ingest.readings import load_between

A: Final = bytes(10) + b"\xff\xff\x0a\0\0\x01"
B: Final = bytes(10) + b"\xff\xff\x0a\0\0\x02"
GIGABIT: Final = 10**9


def reading(received_ms: int, octets: int = 0, **fields: int) -> InterfaceCounters:
    given = {"domain": 1, "if_index": 7, "speed": GIGABIT, "duplex": 1, "status": 3, "in_octets": octets, "out_octets": 2 * octets}
    return InterfaceCounters(received_ms=received_ms, **(given | fields))


def test_two_readings_tell_the_load_between_them() -> None:
    grown = {"in_unicast": 50, "out_broadcast": 5, "in_errors": 2, "out_discards": 3}
    load = load_between(reading(1_000, 0), reading(21_000, 250_000_000, **grown))
    assert (load.seconds, load.octets_per_s, load.share) == (20.0, (12_500_000.0, 25_000_000.0), (0.1, 0.2))
    assert (load.packets, load.errors, load.discards, load.is_up) == (55, 2, 3, True)


def test_both_ways_of_half_duplex_share_the_speed() -> None:
    assert load_between(reading(0, 0), reading(10_000, 25_000_000, duplex=2)).share == (0.06, 0.06)


def test_one_reading_a_restart_or_no_speed_tell_no_share() -> None:
    assert load_between(None, reading(1_000, 5)).octets_per_s == (None, None)
    restarted = load_between(reading(1_000, 500, in_errors=9), reading(2_000, 5))
    assert (restarted.octets_per_s, restarted.share, restarted.errors) == ((None, None), (None, None), 0)
    assert load_between(reading(2_000, 0), reading(2_000, 5)).octets_per_s == (None, None)
    unknown = load_between(reading(0, 0), reading(1_000, 5, speed=0))
    assert (unknown.octets_per_s, unknown.share) == ((5.0, 10.0), (None, None))


def test_32_bit_counters_wrap() -> None:
    load = load_between(reading(0, 0, in_errors=(1 << 32) - 3), reading(1_000, 1, in_errors=4, status=1))
    assert (load.errors, load.is_up) == (7, False)


def test_the_board_shows_interfaces_and_their_sum_beside_their_exporter() -> None:
    board = ExporterBoard()
    rules = ExporterRules(Ingest(exporter_settings=(ExporterSettings(networks=("10.0.0.1",), name="core"),)))
    first, second = [reading(0, if_index=index) for index in (9, 8)], [reading(10_000, 125_000_000, if_index=8, in_errors=4)]
    for now_ms, readings in ((10_000, first), (20_000, second)):
        reports = [ExporterReport(exporter=A, until_ms=now_ms, datagrams=1, interfaces=readings), ExporterReport(exporter=B)]
        board.take({0: reports}, now_ms)
    rows = board.interfaces(rules)
    assert [(row.exporter, row.name, row.load.if_index, row.load.share) for row in rows] == [
        ("10.0.0.1", "core", 8, (0.1, 0.2)),
        ("10.0.0.1", "core", 9, (None, None)),
    ]
    found = [(row.interfaces, row.busiest_share, row.interface_errors) for row in board.rows(rules, 20_000)]
    assert found == [(2, 0.2, 4), (0, None, 0)]


def test_interfaces_are_forgotten_after_a_day_and_beyond_the_bound() -> None:
    board = InterfaceBoard()
    board.take(A, [reading(0, if_index=1), reading(90_000_000, if_index=2)])
    board.forget(90_000_000)
    assert [load.if_index for _, load in board.loads()] == [2]
    board.take(B, (reading(90_000_000, if_index=index) for index in range(70_000)))
    assert len(board.last) == 65_536
    assert B in board.summaries()
