"""More than ingest can take: every datagram is decoded or in a counter, and memory keeps to its limit."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bus.open import open_producer
from common.config import Bus, Ingest, Listener, Settings
from ingest.sequence import REMEMBERED
from ingest.service import IngestService
from tests.ingest.load import ingest_process, ready_port
from tests.ingest.packets import EXPORT_S, v5, v9_flows, v9_template
from tests.ingest.test_service import until
from tests.servers.ports import free_block

LIMIT_KB = 300 << 10
SOURCES = 400
ENDS = ("ingest_datagrams_total", "ingest_datagrams_dropped_total", "ingest_socket_drops_total")


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


@contextmanager
def source(number: int, address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((f"127.3.{number // 250 % 250}.{number % 250 + 1}", 0))
        udp.connect(address)
        yield udp


def storm(address: tuple[str, int], turn: int) -> None:
    """Load of one exporter, and from many others templates of ever new domains, data that waits for ever, and junk."""
    for number in range(SOURCES):
        with source(turn * SOURCES + number, address) as udp:
            udp.send(v9_template(0, turn))
            udp.send(v9_flows(40, 1, turn + 1_000_000))
            udp.send(b"junk" * 300)
            for packet in range(10):
                udp.send(v5(30, packet * 30))


def settle(address: tuple[str, int], number: int) -> int:
    """An exporter that leaves as much behind as one can that sends a template, waiting data and no flows; how many datagrams."""
    packets = [v9_template(0, 1), v9_flows(10, 1, 2), *(v5(0, 0, EXPORT_S + second) for second in range(REMEMBERED * 3 // 2))]
    with source(number, address) as udp:
        for packet in packets:
            udp.send(packet)
    return len(packets)


def metric(port: int, *names: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names))


def is_held_up(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10).close()
    except urllib.error.HTTPError as refusal:
        return b"no datagrams are taken" in refusal.read()
    return False


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

        def storm_until(condition: Callable[[], bool]) -> None:
            nonlocal turn
            deadline = time.monotonic() + 60
            while not condition():
                assert time.monotonic() < deadline, "the condition did not come true"
                storm(address, turn)
                turn += 1

        sent = 0

        def keeps_up() -> bool:
            nonlocal sent
            with source(0, address) as udp:
                sent += udp.send(v5(0)) > 0  # what comes next brings the count of what the kernel dropped before
            return metric(watch, *ENDS) > sent - 5_000

        for number in range(Ingest().exporters + SOURCES):  # then every place is taken, and each new source pushes out another
            sent += settle(address, number)
            if number % 100 == 0:
                until(keeps_up)
        assert metric(watch, 'ingest_problems_total{reason="exporter_evicted"}') > 0
        storm_until(lambda: is_held_up(watch))
        before = metric(watch, "ingest_datagrams_dropped_total")
        storm_until(lambda: metric(watch, "ingest_datagrams_dropped_total") > before)
        first = memory_kb(process.pid, "VmRSS")
        storm_until(lambda: metric(watch, "ingest_datagrams_dropped_total") > before + 50_000)
        assert metric(watch, "ingest_waiting_batches") > 0
        assert memory_kb(process.pid, "VmHWM") < LIMIT_KB
        assert memory_kb(process.pid, "VmRSS") < first * 1.1
    finally:
        process.kill()
        process.communicate()
