"""More than ingest can take: every datagram is decoded or in a counter, and memory keeps to its limit."""

import socket
import time
import urllib.request
from pathlib import Path

import pytest

from bus.open import open_producer
from common.config import Bus, Ingest, Listener, Settings
from ingest.service import IngestService
from tests.ingest.load import ingest_process, ready_port
from tests.ingest.packets import v5, v9_flows, v9_template
from tests.servers.ports import free_block

LIMIT_KB = 300 << 10
SOURCES = 400


def test_above_its_rate_every_lost_datagram_is_in_a_counter(tmp_path: Path) -> None:
    listener = Listener(host="127.0.0.1", port=0, receive_buffer_bytes=1 << 16)
    bus = Bus(lanes=2, fsync=False)
    settings = Settings(data_dir=str(tmp_path), ingest=Ingest(listeners=(listener,), queue_bytes=1 << 20), bus=bus)
    producer = open_producer(bus, tmp_path)
    service = IngestService(settings, producer)
    service.start()
    packets = [v5(24, number * 24) for number in range(3_000)]
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(service.addresses[0])
        while not (service.status().socket_drops and service.status().queue_drops) and sent < 400_000:
            for packet in packets:
                udp.send(packet)
            sent += len(packets)
    service.stop()
    producer.close()
    counters = service.counters
    taken = counters.sum("ingest_datagrams_total")
    by_kernel = counters.sum("ingest_socket_drops_total")
    by_queue = counters.value("ingest_datagrams_dropped_total", reason="queue_full")
    assert taken + by_kernel + by_queue == sent
    assert by_kernel + by_queue > 0


def memory_kb(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(name))


def storm(address: tuple[str, int], turn: int) -> None:
    """Load of one exporter, and from many others templates of ever new domains, data that waits for ever, and junk."""
    for number in range(SOURCES):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            place = turn * SOURCES + number
            udp.bind((f"127.3.{place // 250 % 250}.{place % 250 + 1}", 0))
            udp.connect(address)
            udp.send(v9_template(0, turn))
            udp.send(v9_flows(40, 1, turn + 1_000_000))
            udp.send(b"junk" * 300)
            for packet in range(10):
                udp.send(v5(30, packet * 30))


def metric(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.mark.slow
def test_memory_is_bounded_and_flat_under_storm_load_and_a_bus_that_takes_nothing(tmp_path: Path) -> None:
    watch = free_block(1)
    environment = {
        "NEPHRITE_BUS__SPOOL_BYTES": str(1 << 20),
        "NEPHRITE_BUS__SEGMENT_BYTES": str(1 << 16),
        "NEPHRITE_INGEST__WATCH_PORT": str(watch),
    }
    process = ingest_process(tmp_path, 0, **environment)
    try:
        assert process.stderr is not None
        process.stderr.readline()
        address = ("127.0.0.1", ready_port(process))
        turn = 0

        def until_dropped(more: int) -> None:
            nonlocal turn
            goal = metric(watch, "ingest_datagrams_dropped_total") + more
            deadline = time.monotonic() + 60
            while metric(watch, "ingest_datagrams_dropped_total") < goal and time.monotonic() < deadline:
                storm(address, turn)
                turn += 1

        until_dropped(1)
        while turn * SOURCES < 2 * Ingest().exporters:  # then every place is taken, and each source pushes out another
            storm(address, turn)
            turn += 1
        until_dropped(1)
        first = memory_kb(process.pid, "VmRSS")
        until_dropped(5_000)
        assert metric(watch, "ingest_datagrams_dropped_total") >= 5_000
        assert metric(watch, "ingest_waiting_batches") > 0
        assert memory_kb(process.pid, "VmHWM") < LIMIT_KB
        assert memory_kb(process.pid, "VmRSS") < first * 1.1
    finally:
        process.kill()
        process.communicate()
