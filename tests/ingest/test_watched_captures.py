"""Watched folders of captures: complete files are taken in as live traffic is, once, over restarts and kills; bad ones stay."""

import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bus.contract import Producer
from bus.open import open_producer, open_source
from common.clock import wall_clock
from common.config import Bus, CaptureFolder, ExporterSettings, Ingest, Listener, Settings
from common.errors import ConfigError
from flowpb.codec import Header
from ingest.capture_journal import CaptureJournal
from ingest.processes import settings_of_process
from ingest.service import IngestService
from tests.ingest.load import ingest_process, numbers, read_all, ready_port
from tests.ingest.packets import EXPORT_S, v5, v9_flows, v9_template
from tests.ingest.test_replay_of_captures import write
from tests.ingest.test_service import until

LANES = 2
LONG_AGO_S = 1_600_000_000


def complete(path: Path) -> Path:
    """As a writer leaves it that has long been done with it."""
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return path


def capture(path: Path, first: int, count: int = 10, step_s: float = 0.1) -> Path:
    """Numbered packets with one flow each; written beside and renamed, so that it is never seen in part."""
    path.parent.mkdir(exist_ok=True)
    beside = write(path.with_suffix(".part"), [(number * step_s, v5(1, number)) for number in range(first, first + count)])
    complete(beside).rename(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "captures"
    place.mkdir()
    return place


def settings_of(data: Path, *folders: CaptureFolder, **ingest: object) -> Settings:
    listeners = (Listener(host="127.0.0.1", port=0),)
    own = Ingest(collector="c", listeners=listeners, captures=folders, **ingest)
    return Settings(data_dir=str(data), ingest=own, bus=Bus(lanes=LANES, fsync=False))


@contextmanager
def running(settings: Settings, producer: Producer | None = None) -> Iterator[IngestService]:
    taken = producer or open_producer(settings.bus, Path(settings.data_dir))
    service = IngestService(settings, taken)
    service.start()
    try:
        yield service
    finally:
        service.stop()
        taken.close()


def read(service: IngestService, result: str = "done") -> int:
    return service.counters.value("ingest_captures_total", result=result)


def found(settings: Settings) -> Counter[int]:
    with closing(open_source(settings.bus, Path(settings.data_dir))) as source:
        return numbers(read_all(source))


def headers(settings: Settings) -> list[Header]:
    with closing(open_source(settings.bus, Path(settings.data_dir))) as source:
        return [header for header, _ in read_all(source)]


def test_new_captures_are_taken_in_once_over_restarts(tmp_path: Path, folder: Path) -> None:
    settings = settings_of(tmp_path / "data", CaptureFolder(path=str(folder)))
    capture(folder / "a.pcap", 0)
    begun_ms = wall_clock()
    with running(settings) as service:
        until(lambda: read(service) == 1)
        capture(folder / "b.pcap", 10)
        (folder / "notes.txt").write_text("no capture")
        until(lambda: read(service) == 2)
    capture(folder / "c.pcap", 20)
    with running(settings) as service:
        until(lambda: read(service) == 1)
    assert found(settings) == Counter(range(30))
    of_captures = [each for each in headers(settings) if each.collector == "c/captures" and each.flow_count]
    assert len({each.epoch for each in of_captures}) == 3
    assert all(begun_ms <= each.mark_ms <= wall_clock() for each in of_captures)
    assert sum(report.records for each in of_captures for report in each.reports) == 30


def test_heartbeats_go_on_between_captures_and_after_a_restart(tmp_path: Path, folder: Path) -> None:
    settings = settings_of(tmp_path / "data", CaptureFolder(path=str(folder)))

    def beats() -> int:
        return sum(1 for each in headers(settings) if each.collector == "c/captures" and not each.flow_count)

    with running(settings):
        assert beats() == 0
        capture(folder / "a.pcap", 0, 1)
        until(lambda: bool(found(settings)))
        before = beats()
        until(lambda: beats() >= before + 2 * LANES)
    before = beats()
    with running(settings):
        until(lambda: beats() >= before + 2 * LANES)


def test_read_captures_are_moved_and_names_come_again(tmp_path: Path, folder: Path) -> None:
    settings = settings_of(tmp_path / "data", CaptureFolder(path=str(folder), done_folder="done"))
    with running(settings) as service:
        for turn in range(2):
            capture(folder / "a.pcap", turn * 10)
            until(lambda turn=turn: read(service) == turn + 1)  # type: ignore[misc]
        until(lambda: not (folder / "a.pcap").exists())
    assert sorted(each.name for each in (folder / "done").iterdir()) == ["a.1.pcap", "a.pcap"]
    assert found(settings) == Counter(range(20))


def test_a_name_that_is_written_over_is_a_new_capture(tmp_path: Path, folder: Path) -> None:
    settings = settings_of(tmp_path / "data", CaptureFolder(path=str(folder / "only.pcap")))
    capture(folder / "only.pcap", 0)
    with running(settings) as service:
        until(lambda: read(service) == 1)
        capture(folder / "only.pcap", 10)
        until(lambda: read(service) == 2)
    assert found(settings) == Counter(range(20))


def test_a_capture_is_complete_when_it_has_not_changed_for_its_time(tmp_path: Path, folder: Path) -> None:
    settings = settings_of(tmp_path / "data", CaptureFolder(path=str(folder), settle_s=2))
    path = capture(folder / "a.pcap", 0, 20)
    whole = path.read_bytes()
    with path.open("wb") as growing:
        growing.write(whole[: len(whole) // 2])
        growing.flush()
        with running(settings) as service:
            until(lambda: service.status().received == 0 and not found(settings))
            growing.write(whole[len(whole) // 2 :])
            growing.flush()
            until(lambda: read(service) == 1)
    assert found(settings) == Counter(range(20))
    assert service.counters.sum("ingest_captures_total") == 1


def test_bad_captures_are_told_and_left(tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = settings_of(tmp_path / "data", CaptureFolder(path=str(folder), done_folder="done", settle_s=1))
    cut = capture(folder / "a-cut.pcap", 0, 10)
    cut.write_bytes(cut.read_bytes()[:-1])
    complete(cut)
    junk = folder / "b-junk.pcap"
    junk.write_bytes(b"no capture, but long enough to be one")
    complete(junk)
    capture(folder / "c.pcap", 10)
    with caplog.at_level(logging.WARNING), running(settings) as service:
        until(lambda: read(service) == 1)
        assert (read(service, "damaged"), read(service, "refused")) == (1, 1)
        with cut.open("ab") as file:
            file.write(bytes(100))
        until(lambda: read(service, "changed") == 1)
    with running(settings) as again:
        capture(folder / "d.pcap", 20)
        until(lambda: read(again) == 1)
    assert again.counters.sum("ingest_captures_total") == 1
    assert found(settings) == Counter([*range(9), *range(10, 30)])
    assert sorted(each.name for each in folder.iterdir()) == ["a-cut.pcap", "b-junk.pcap", "done"]
    told = [record.getMessage() for record in caplog.records if record.name == "ingest.capture_reader"]
    assert ["the file ends in the middle of a frame" in told[0], "not a pcap or pcapng file" in told[1]] == [True, True]
    assert "settle_s is too short" in told[2]
    assert service.counters.value("ingest_problems_total", reason="capture_cut_off") == 1


def test_exporters_and_networks_are_judged_as_live_ones(tmp_path: Path, folder: Path) -> None:
    rules = (
        ExporterSettings(networks=("10.0.0.1",), address="192.0.2.1"),
        ExporterSettings(networks=("192.0.2.1",), location="north"),
    )
    settings = settings_of(tmp_path / "data", CaptureFolder(path=str(folder), ports=(2055,)), exporter_settings=rules)
    capture(folder / "a.pcap", 0)
    with running(settings) as service:
        until(lambda: read(service) == 1)
        assert [row.exporter for row in service.exporters()] == ["192.0.2.1"]
        closed = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"allowed_networks": ("10.9.0.0/16",)})})
        service.reload(closed)
        capture(folder / "b.pcap", 10)
        until(lambda: read(service) == 2)
        assert service.counters.value("ingest_datagrams_dropped_total", reason="source_refused") == 10
    with closing(open_source(settings.bus, tmp_path / "data")) as source:
        places = {name for header, flows in read_all(source) if header.flow_count for name in flows["location"].to_pylist()}
    assert places == {"north"}
    other = settings_of(tmp_path / "other", CaptureFolder(path=str(folder), ports=(9,)))
    with running(other) as service:
        until(lambda: read(service) == 2)
    assert not found(other)


def test_templates_last_from_one_capture_to_the_next(tmp_path: Path, folder: Path) -> None:
    settings = settings_of(tmp_path / "data", CaptureFolder(path=str(folder)))
    for name, packets in (("a", [v9_template()]), ("b", [v9_flows(3)])):
        complete(write(folder / f"{name}.part", [(0, packet) for packet in packets])).rename(folder / f"{name}.pcap")
        with running(settings) as service:
            until(lambda service=service: read(service) == 1)  # type: ignore[misc]
    assert service.counters.sum("ingest_flows_total") == 3


@pytest.mark.parametrize("sent", [1, 2_000])
def test_killed_in_the_middle_of_a_capture_nothing_is_lost_or_doubled(tmp_path: Path, folder: Path, sent: int) -> None:
    data = tmp_path / "data"
    settings = settings_of(data, CaptureFolder(path=str(folder)))
    capture(folder / "a.pcap", 0, 20_000, 0.005)
    environment = {
        "NEPHRITE_BUS__LANES": str(LANES),
        "NEPHRITE_INGEST__CAPTURES": f"[{{path: {folder}}}]",
    }
    process = ingest_process(data, 0, **environment)
    try:
        ready_port(process)
        until(lambda: (data / "ingest-captures.json").exists() and sum(found(settings).values()) >= sent)
    finally:
        process.kill()
        process.communicate()
    assert CaptureJournal(data / "ingest-captures.json").unfinished
    with running(settings) as service:
        capture(folder / "b.pcap", 20_000)
        until(lambda: read(service) == 2)
    assert found(settings) == Counter(range(20_010))


def test_a_missing_folder_and_a_damaged_memory_stop_the_start(tmp_path: Path, folder: Path) -> None:
    settings = settings_of(tmp_path / "data", CaptureFolder(path=str(folder / "none")), CaptureFolder(path=str(folder)))
    producer = open_producer(settings.bus, tmp_path / "data")
    with pytest.raises(ConfigError, match="none: no such file or folder"):
        IngestService(settings, producer).start()
    producer.close()
    (tmp_path / "data" / "ingest-captures.json").write_text("{")
    with pytest.raises(ConfigError, match="is damaged"):
        IngestService(settings, producer)


def test_live_traffic_goes_on_meanwhile_and_one_process_of_several_reads(tmp_path: Path, folder: Path) -> None:
    settings = settings_of(tmp_path / "data", CaptureFolder(path=str(folder)))
    capture(folder / "a.pcap", 0, 3000, 0.01)
    with running(settings) as service:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for number in range(100):
                udp.sendto(v5(1, 10_000 + number, EXPORT_S), service.addresses[0])
        until(lambda: read(service) == 1 and service.status().received == 100)
    assert found(settings) == Counter([*range(3000), *range(10_000, 10_100)])
    assert [len(settings_of_process(settings, number, "c").ingest.captures) for number in range(3)] == [1, 0, 0]
