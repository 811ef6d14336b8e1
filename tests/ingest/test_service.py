"""The whole service on real sockets and a real spool: nothing lost in silence, nothing lost at the end, state over a restart."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from bus.contract import Producer
from bus.memory import MemoryLog, MemoryProducer, MemorySource
from bus.open import open_producer, open_source
from common.addresses import pack_address
from common.config import Bus, Ingest, Listener, Settings
from common.errors import BusError, ConfigError
from flowpb.codec import Header, decode
from ingest.batcher import HEARTBEAT_MS
from ingest.service import IngestService
from ingest.state import load_state
from tests.ingest.packets import v5, v5_stream, v9_flows, v9_template

LANES = 4
LOOPBACK = pack_address("127.0.0.1")


def settings_in(folder: Path, **ingest: object) -> Settings:
    listeners = ingest.pop("listeners", (Listener(host="127.0.0.1", port=0),))
    return Settings(
        data_dir=str(folder),
        ingest=Ingest(collector="c", listeners=listeners, **ingest),
        bus=Bus(lanes=LANES, fsync=False),
    )


class Entries:
    """What a bus holds, read again from the start each time."""

    def __init__(self, read: Callable[[], Sequence[bytes]]) -> None:
        self._read = read

    def all(self) -> list[tuple[Header, pa.RecordBatch]]:
        return [decode(value) for value in self._read()]

    def flows(self) -> int:
        return sum(header.flow_count for header, _ in self.all())


def memory(lanes: int = LANES) -> tuple[MemoryProducer, Entries]:
    log = MemoryLog(lanes)
    source = MemorySource(log)
    return MemoryProducer(log), Entries(lambda: [e.value for p in range(source.partitions) for e in source.read(p, 0, 1 << 30)])


def spool(settings: Settings) -> Entries:
    def read() -> list[bytes]:
        source = open_source(settings.bus, Path(settings.data_dir))
        try:
            return [entry.value for number in range(source.partitions) for entry in source.read(number, 0, 1 << 30)]
        finally:
            source.close()

    return Entries(read)


@contextmanager
def running(settings: Settings, producer: Producer, **options: object) -> Iterator[IngestService]:
    service = IngestService(settings, producer, **options)  # type: ignore[arg-type]
    service.start()
    try:
        yield service
    finally:
        service.stop()


def send(address: tuple[str, int], payloads: Sequence[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(address)
        for payload in payloads:
            udp.send(payload)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        threading.Event().wait(0.01)


def test_flows_reach_the_spool_while_running_and_the_rest_when_stopping(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    producer = open_producer(settings.bus, tmp_path)
    entries = spool(settings)
    with running(settings, producer) as service:
        send(service.addresses[0], v5_stream(40))
        until(lambda: entries.flows() == 960)
        send(service.addresses[0], [v5(24, 960 + 24 * n) for n in range(10)])
    producer.close()
    batches = entries.all()
    assert sum(header.flow_count for header, _ in batches) == 1200
    table = pa.concat_tables([pa.Table.from_batches([flows]) for _, flows in batches if flows.num_rows], promote_options="default")
    assert sum(table["bytes"].to_pylist()) == 120_000
    assert set(table["location"].to_pylist()) == {"Default"}
    assert set(table["exporter_addr"].to_pylist()) == {LOOPBACK}
    assert service.counters.value("ingest_datagrams_total", protocol="netflow5") == 50
    assert service.counters.value("ingest_flows_total", protocol="netflow5") == 1200
    assert service.counters.sum("ingest_batches_total") == len(batches)


def test_every_lane_has_identity_without_holes_and_a_last_mark(tmp_path: Path) -> None:
    producer, entries = memory()
    with running(settings_in(tmp_path), producer) as service:
        send(service.addresses[0], v5_stream(5))
        until(lambda: len(entries.all()) > 2 * LANES)
    by_lane: dict[int, list[Header]] = {}
    for header, _ in entries.all():
        by_lane.setdefault(header.lane, []).append(header)
    assert sorted(by_lane) == list(range(LANES))
    for headers in by_lane.values():
        assert [header.seq for header in headers] == list(range(len(headers)))
        assert {(header.collector, header.epoch) for header in headers} == {("c", service.status().epoch)}
        marks = [header.mark_ms for header in headers]
        assert marks == sorted(marks)
    assert HEARTBEAT_MS == 1_000


def test_sent_equals_received_plus_counted(tmp_path: Path) -> None:
    producer, entries = memory()
    listener = Listener(host="127.0.0.1", port=0, receive_buffer_bytes=16_384)
    with running(settings_in(tmp_path, listeners=(listener,)), producer) as service:
        send(service.addresses[0], v5_stream(5_000))
    counters = service.counters
    taken = counters.sum("ingest_datagrams_total")
    dropped = counters.sum("ingest_socket_drops_total") + counters.sum("ingest_datagrams_dropped_total")
    assert taken + dropped == 5_000
    assert entries.flows() == taken * 24
    reported = [report for header, _ in entries.all() for report in header.reports]
    assert sum(report.socket_drops for report in reported) == dropped
    assert sum(report.records for report in reported) == taken * 24


def test_v9_decodes_after_a_restart_without_templates_sent_again(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    producer, entries = memory()
    with running(settings, producer) as first:
        send(first.addresses[0], [v9_template(), v9_flows(10)])
    with running(settings, producer) as second:
        send(second.addresses[0], [v9_flows(7, 2)])
    assert entries.flows() == 17
    assert second.status().epoch > first.status().epoch


@pytest.mark.parametrize("damage", [b"", b"NEPHST01", b"something else entirely, longer than a header"])
def test_a_damaged_state_file_costs_the_templates_only(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "ingest-state.bin").write_bytes(damage)
    producer, entries = memory()
    with running(settings_in(tmp_path), producer) as service:
        send(service.addresses[0], v5_stream(1))
    assert entries.flows() == 24
    assert service.counters.sum("ingest_state_errors_total") == 1
    assert [record.message for record in caplog.records if "starting without some saved templates" in record.message]


def test_the_epoch_rises_even_when_the_clock_was_set_back(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with running(settings, memory()[0], clock=lambda: 1_700_000_000_000) as first:
        pass
    with running(settings, memory()[0], clock=lambda: 1_600_000_000_000) as second:
        pass
    assert second.status().epoch == first.status().epoch + 1 == 1_700_000_000_001


def test_the_epoch_is_on_disk_before_anything_is_sent(tmp_path: Path) -> None:
    """Else a process that was killed, and then a clock that was set back, would give an epoch again."""
    with running(settings_in(tmp_path), memory()[0]) as service:
        assert load_state(tmp_path / "ingest-state.bin").epoch == service.status().epoch


def test_a_port_in_use_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        service = IngestService(settings_in(tmp_path, listeners=(Listener(host="127.0.0.1", port=port),)), memory()[0])
        with pytest.raises(ConfigError, match=f"UDP 127.0.0.1 port {port}: Address already in use"):
            service.start()
    assert not list(tmp_path.iterdir())


def test_a_state_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    service = IngestService(settings_in(tmp_path / "file" / "data"), memory()[0])
    with pytest.raises(ConfigError, match=r"ingest\.state_file: .* cannot be written: Not a directory"):
        service.start()


@pytest.mark.parametrize("junk", [b"", b"\0", bytes(65_507), b"\x00\x09" + bytes(30), b"\x00\x05\xff\xff", b"\xff" * 1400])
def test_junk_to_the_port_is_counted_and_harms_nobody(tmp_path: Path, junk: bytes) -> None:
    producer, entries = memory()
    with running(settings_in(tmp_path), producer) as service:
        send(service.addresses[0], [junk, v5(3), junk])
    assert entries.flows() == 3
    assert service.counters.sum("ingest_datagrams_total") == 3


class UnwillingBus:
    """Refuses everything until told otherwise. A fault that no real bus produces on demand."""

    def __init__(self, behind: Producer) -> None:
        self.willing = threading.Event()
        self._behind = behind

    def send(self, lane: int, value: bytes) -> None:
        if not self.willing.is_set():
            raise BusError("no room")
        self._behind.send(lane, value)

    def flush(self, timeout_s: float) -> None:
        self._behind.flush(timeout_s)

    def close(self) -> None:
        self._behind.close()


def test_a_bus_that_refuses_stops_the_input_in_bounded_memory_and_everything_is_counted(tmp_path: Path) -> None:
    behind, entries = memory()
    bus = UnwillingBus(behind)
    with running(settings_in(tmp_path, outbox_bytes=1 << 20, queue_bytes=1 << 20), bus) as service:
        sent = 0
        while service.status().queue_drops == 0:
            send(service.addresses[0], [v5(24, (sent + n) * 24) for n in range(200)])
            sent += 200
            until(lambda sent=sent: service.status().received + service.status().socket_drops >= sent)  # type: ignore[misc]
        assert service.status().queue_bytes <= 1 << 20
        until(lambda: "no room" in service.status().bus_error)
        bus.willing.set()
    counters = service.counters
    taken = counters.sum("ingest_datagrams_total")
    assert entries.flows() == taken * 24
    assert taken + counters.sum("ingest_socket_drops_total") + counters.sum("ingest_datagrams_dropped_total") == sent
    assert counters.sum("ingest_bus_errors_total") > 0
    assert counters.sum("ingest_batches_lost_total") == 0


def test_what_the_bus_never_takes_is_counted_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.service.STOP_S", 0.2)
    bus = UnwillingBus(memory()[0])
    with running(settings_in(tmp_path), bus) as service:
        send(service.addresses[0], v5_stream(3))
    assert service.counters.sum("ingest_batches_lost_total") > 0


class FaultyBoard:
    """Fails as a programming error would, once there is something to report."""

    def take(self, reports: object, now_ms: int) -> None:
        raise ZeroDivisionError


def test_a_failure_inside_is_told_and_what_was_decoded_before_is_flushed(tmp_path: Path) -> None:
    producer, entries = memory()
    service = IngestService(settings_in(tmp_path), producer)
    service._observation.board = FaultyBoard()  # type: ignore[assignment]
    service.start()
    send(service.addresses[0], [v5(5)])
    until(lambda: entries.flows() == 5)
    assert service.status().running
    with pytest.raises(ZeroDivisionError):
        service.stop()
    assert not service.status().running
