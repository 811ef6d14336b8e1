"""A capture as batches: the capture's clock, the same entries each time, and an end that closes all windows."""

import struct
from pathlib import Path

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import Ingest
from common.errors import InputError
from flowpb.codec import decode
from ingest.replay import HORIZON_MS, Replay, entries_of_capture
from tests.ingest.packets import EXPORT_S, v5, v9_flows, v9_template

LANES = 4


def write(path: Path, packets: list[tuple[float, bytes]]) -> Path:
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, linktype=101)
        for offset_s, payload in packets:
            segment = struct.pack(">HHHH", 40_000, 2055, 8 + len(payload), 0) + payload
            head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0, 64, 17, 0, bytes([10, 0, 0, 1]), bytes(4))
            writer.writepkt(head + segment, EXPORT_S + offset_s)
    return path


def test_flows_marks_and_the_closing_heartbeats(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [(0.0, v5(10)), (0.1, v5(5, 10)), (1.0, v5(2, 15)), (400.0, v5(1, 17))])
    entries = [decode(value) for _, value in entries_of_capture(path, Ingest(), LANES, "file")]
    start = EXPORT_S * 1000
    assert [(header.flow_count, header.mark_ms - start) for header, _ in entries if header.flow_count] == [
        (15, 250), (2, 1_250), (1, 400_000),
    ]  # fmt: skip
    last = {header.lane: header.mark_ms - start for header, _ in entries}
    assert last == dict.fromkeys(range(LANES), 400_000 + HORIZON_MS + 120_000)
    for lane in range(LANES):
        headers = [header for header, _ in entries if header.lane == lane]
        assert [header.seq for header in headers] == list(range(len(headers)))
        assert {(header.collector, header.epoch) for header in headers} == {("file", start)}
    reports = [report for header, _ in entries for report in header.reports]
    assert sum(report.records for report in reports) == 18


def test_twice_gives_the_same_octets(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [(n * 0.013, v5(24, n * 24)) for n in range(200)])
    first, second = (list(entries_of_capture(path, Ingest(), LANES, "file")) for _ in range(2))
    assert first == second


def test_templates_parked_data_and_skipped_frames_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [(0, v9_flows(3, 0)), (5, v9_template(1)), (6, b"junk")])
    run = Replay(path, Ingest(), LANES, "file")
    assert sum(batch.flows for batch in run.batches()) == 3
    assert run.counters.value("ingest_problems_total", reason="unknown_protocol") == 1
    path.write_bytes(path.read_bytes()[:-1])
    run = Replay(path, Ingest(), LANES, "file")
    list(run.batches())
    assert run.counters.value("ingest_problems_total", reason="capture_cut_off") == 1
    assert str(path) in run.capture.damage


def test_a_capture_without_datagrams_gives_nothing_and_no_capture_an_error(tmp_path: Path) -> None:
    assert list(entries_of_capture(write(tmp_path / "empty.pcap", []), Ingest(), LANES, "file")) == []
    (tmp_path / "text").write_text("no capture")
    with pytest.raises(InputError, match="not a pcap or pcapng file"):
        list(entries_of_capture(tmp_path / "text", Ingest(), LANES, "file"))


@given(st.lists(st.floats(-100, 100_000), min_size=1, max_size=20))
def test_any_capture_times_give_all_flows_and_marks_that_never_fall(
    tmp_path_factory: pytest.TempPathFactory, times: list[float]
) -> None:
    path = write(tmp_path_factory.mktemp("t") / "a.pcap", [(at, v5(2, n * 2)) for n, at in enumerate(times)])
    headers = [decode(value)[0] for _, value in entries_of_capture(path, Ingest(), LANES, "file")]
    assert sum(header.flow_count for header in headers) == 2 * len(times)
    for lane in range(LANES):
        marks = [header.mark_ms for header in headers if header.lane == lane]
        assert marks == sorted(marks)
