"""Faults under load: the process killed at any moment, the broker away, several processes on one port."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from bus.contract import Source
from bus.kafka_source import close_pool
from bus.open import open_producer, open_source
from common.config import Bus, Ingest, Listener, Settings
from flowpb.codec import Header, decode
from ingest.service import IngestService
from tests.ingest.packets import v5
from tests.ingest.test_service import until
from tests.servers.kafka import KafkaServer

ROOT = Path(__file__).parent.parent.parent
PROGRAM = "import typer, ingest.commands as c; app = typer.Typer(); c.app_commands(app); app()"
PACE_S = 0.001


class Sender:
    """One exporter that sends numbered v5 packets at a steady pace until it is told to end."""

    def __init__(self, address: tuple[str, int], source: str = "127.0.0.1") -> None:
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((source, 0))
        self._address = address
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> "Sender":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._udp.close()

    def _run(self) -> None:
        while not self._ending.wait(PACE_S):
            try:
                self._udp.sendto(v5(1, self.sent), self._address)
            except ConnectionRefusedError:
                continue
            self.sent += 1


def ingest_process(folder: Path, port: int, **environment: str) -> subprocess.Popen[str]:
    path = os.pathsep.join((str(ROOT), str(ROOT / "proto")))
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "ingest", "-d", str(folder), "--listen", f"127.0.0.1:{port}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "NEPHRITE_INGEST__COLLECTOR": "c", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def ready_port(process: subprocess.Popen[str]) -> int:
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.fullmatch(r"ingest ready: udp://127\.0\.0\.1:(\d+)\n", line)
    assert found, line
    return int(found[1])


def read_all(source: Source, wait_s: float = 0.0) -> list[tuple[Header, pa.RecordBatch]]:
    """All entries, repeats dropped as readers drop them."""
    kept: list[tuple[Header, pa.RecordBatch]] = []
    last: dict[tuple[str, int], tuple[int, int]] = {}
    for partition in range(source.partitions):
        offset = source.begin(partition)
        while entries := source.read(partition, offset, 1 << 24, wait_s):
            for entry in entries:
                header, flows = decode(entry.value)
                place = (header.epoch, header.seq)
                if place > last.get((header.collector, header.lane), (-1, -1)):
                    last[header.collector, header.lane] = place
                    kept.append((header, flows))
            offset = entries[-1].offset + 1
    return kept


def numbers(entries: list[tuple[Header, pa.RecordBatch]]) -> Counter[int]:
    """How often each packet's number came."""
    return Counter(number for header, flows in entries if header.flow_count for number in flows["flow_seq_num"].to_pylist())


@pytest.mark.parametrize("seed", range(2))
def test_killed_under_load_loses_only_what_was_in_memory_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed)
    process = ingest_process(tmp_path, 0)
    port = ready_port(process)
    gone: list[tuple[int, int]] = []
    with Sender(("127.0.0.1", port)) as sender:
        for _ in range(2):
            reached = sender.sent + moments.randint(300, 900)
            until(lambda reached=reached: sender.sent >= reached)  # type: ignore[misc]
            killed_at = sender.sent
            process.kill()
            process.communicate()
            process = ingest_process(tmp_path, port)
            ready_port(process)
            gone.append((killed_at, sender.sent))
        reached = sender.sent + 300
        until(lambda: sender.sent >= reached)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    process.communicate()
    with closing(open_source(Bus(), tmp_path)) as source:
        found = numbers(read_all(source))
    assert set(found.values()) == {1}
    in_memory = 1_500  # packets of the batch interval, the flush and this machine's pauses, at one packet a millisecond
    excused = {number for start, end in gone for number in range(start - in_memory, end + 5)}
    assert set(range(sender.sent)) - set(found) <= excused
    assert len(found) > 600


@pytest.fixture(scope="module")
def broker(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker of this module's own, to be stopped at will."""
    server = KafkaServer(tmp_path_factory.mktemp("faulty"))
    server.start()
    yield server
    close_pool()
    server.wipe()


@pytest.mark.server("kafka")
@pytest.mark.slow
def test_a_broker_that_goes_and_comes_back_costs_nothing(broker: KafkaServer, tmp_path: Path) -> None:
    bus = Bus(url=f"kafka://{broker.bootstrap}/outage?partitions=2", lanes=4)
    ingest = Ingest(collector="c", listeners=(Listener(host="127.0.0.1", port=0),))
    producer = open_producer(bus, tmp_path)
    service = IngestService(Settings(data_dir=str(tmp_path), ingest=ingest, bus=bus), producer)
    service.start()
    with Sender(service.addresses[0]) as sender:
        until(lambda: sender.sent > 500)
        broker.kill()
        reached = sender.sent + 3_000
        until(lambda: sender.sent > reached)
        broker.start()
        reached_again = sender.sent + 500
        until(lambda: sender.sent > reached_again)
    service.stop()
    with closing(open_source(bus, tmp_path)) as source:
        deadline = time.monotonic() + 60
        while len(found := numbers(read_all(source, 1.0))) < sender.sent and time.monotonic() < deadline:
            threading.Event().wait(0.2)
    producer.close()
    assert found == Counter(range(sender.sent))
    assert service.counters.sum("ingest_datagrams_total") == sender.sent
    assert service.counters.sum("ingest_batches_lost_total") == 0


@pytest.mark.server("kafka")
@pytest.mark.slow
def test_two_processes_share_a_port(broker: KafkaServer, tmp_path: Path) -> None:
    bus = Bus(url=f"kafka://{broker.bootstrap}/shared?partitions=2")
    environment = {"NEPHRITE_INGEST__PROCESSES": "2", "NEPHRITE_BUS__URL": bus.url}
    parent = ingest_process(tmp_path, 0, **environment)
    ports = {ready_port(parent), ready_port(parent)}
    assert len(ports) == 1
    address = ("127.0.0.1", ports.pop())
    with Sender(address, "127.0.1.1") as one, Sender(address, "127.0.1.2") as two, Sender(address, "127.0.1.3") as three:
        until(lambda: min(one.sent, two.sent, three.sent) > 300)
    parent.send_signal(signal.SIGTERM)
    _, errors = parent.communicate(timeout=40)
    assert parent.returncode == 0, errors
    with closing(open_source(bus, tmp_path)) as source:
        entries = read_all(source, 1.0)
    assert {header.collector for header, _ in entries} == {"c.0", "c.1"}
    assert sum(header.flow_count for header, _ in entries) == one.sent + two.sent + three.sent
    by_exporter: dict[bytes, set[str]] = {}
    for header, flows in entries:
        if header.flow_count:
            for exporter in flows["exporter_addr"].dictionary.to_pylist():
                by_exporter.setdefault(exporter, set()).add(header.collector)
    assert [len(collectors) for collectors in by_exporter.values()] == [1, 1, 1]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["process-0", "process-1"]
