"""Faults around ingest: broker, disk, clock, configuration, too many exporters; several processes on one port."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bus.contract import Producer
from bus.open import open_producer, open_source
from common.clock import wall_clock
from common.config import Bus, Ingest, Listener, Settings
from flowpb.codec import decode
from ingest.service import IngestService
from ingest.snapshots import load
from ingest.state import load_state
from tests.ingest.load import PROGRAM, ROOT, Reader, Sender, Tally, ingest_process, numbers, read_all, ready_port
from tests.ingest.packets import v5, v9_flows, v9_template
from tests.ingest.test_service import until
from tests.servers.kafka import KafkaServer


@pytest.mark.server("kafka")
@pytest.mark.slow
@pytest.mark.parametrize("outage_s", [15, pytest.param(120, marks=pytest.mark.campaign)])
def test_a_broker_that_goes_and_comes_back_costs_nothing(broker: KafkaServer, tmp_path: Path, outage_s: int) -> None:
    bus = Bus(url=f"kafka://{broker.bootstrap}/outage-{outage_s}?partitions=2", lanes=4)
    service, producer = service_in(tmp_path, bus)
    service.start()
    with Sender(service.addresses[0], flows=24, burst=3) as sender:
        until(lambda: sender.sent > 1_500)
        broker.kill()
        threading.Event().wait(outage_s)
        in_outage = sender.sent
        broker.start()
        reached_again = sender.sent + 1_500
        until(lambda: sender.sent > reached_again)
    service.stop()
    tally, deadline = Tally(sender), time.monotonic() + 60
    with closing(open_source(bus, tmp_path)) as source:
        reader = Reader(source)
        while tally.missing() and time.monotonic() < deadline:
            tally.add(reader, 0.5)
    producer.close()
    assert in_outage > outage_s * 500  # a load, however busy the machine is
    assert (tally.missing(), tally.doubled) == ([], [])
    assert reader.holes == 0
    assert service.counters.sum("ingest_datagrams_total") == sender.sent
    assert service.counters.sum("ingest_batches_lost_total") == 0


@pytest.mark.server("kafka")
@pytest.mark.slow
def test_two_processes_share_a_port(kafka: KafkaServer, tmp_path: Path) -> None:
    bus = Bus(url=f"kafka://{kafka.bootstrap}/two-processes?partitions=2")
    environment = {"NEPHRITE_INGEST__PROCESSES": "2", "NEPHRITE_BUS__URL": bus.url}
    parent = ingest_process(tmp_path, 0, **environment)
    ports = {ready_port(parent), ready_port(parent)}
    assert len(ports) == 1
    address = ("127.0.0.1", ports.pop())
    with Sender(address, "127.0.1.1") as one, Sender(address, "127.0.1.2") as two, Sender(address, "127.0.1.3") as three:
        until(lambda: min(one.sent, two.sent, three.sent) > 300)
    sent = one.sent + two.sent + three.sent
    with closing(open_source(bus, tmp_path)) as source:
        until(lambda: sum(header.flow_count for header, _ in read_all(source, 0.2)) >= sent)
        parent.send_signal(signal.SIGTERM)
        _, errors = parent.communicate(timeout=40)
        assert parent.returncode == 0, errors
        entries = read_all(source, 1.0)
    assert {header.collector for header, _ in entries} == {"c.0", "c.1"}
    assert sum(header.flow_count for header, _ in entries) == sent
    by_exporter: dict[bytes, set[str]] = {}
    for header, flows in entries:
        if header.flow_count:
            for exporter in flows["exporter_addr"].dictionary.to_pylist():
                by_exporter.setdefault(exporter, set()).add(header.collector)
    assert [len(collectors) for collectors in by_exporter.values()] == [1, 1, 1]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["process-0", "process-1"]


def test_sighup_with_a_bad_file_keeps_the_last_good_configuration(tmp_path: Path) -> None:
    config = tmp_path / "nephrite.yaml"
    config.write_text("ingest: {location: first}\n")
    path = os.pathsep.join((str(ROOT), str(ROOT / "proto")))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "ingest", "-c", str(config), "-d", str(tmp_path / "data"), "--listen", "127.0.0.1:0"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        port = ready_port(process)
        said = []
        for text in ("ingest: {location: [}", "ingest: {locations: x, batch_flows: 0}", "ingest: {location: second, codec: zstd}"):
            config.write_text(text)
            process.send_signal(signal.SIGHUP)
            said.append(process.stderr.readline())
            if text.startswith("ingest: {locations"):
                said.append(process.stderr.readline())
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                udp.sendto(v5(1, len(said)), ("127.0.0.1", port))
        process.terminate()
        assert process.wait(20) == 0
    assert said[0].startswith(f"configuration not reloaded: {config}: not YAML")
    assert sorted(line.split(": ", 2)[2] for line in said[1:3]) == [
        "ingest.batch_flows: input should be greater than or equal to 1 (got 0)\n",
        "ingest.locations: no such setting\n",
    ]
    assert said[3] == "configuration reloaded; in force after a restart: ingest.codec\n"
    with closing(open_source(Bus(), tmp_path / "data")) as source:
        places = [flows["location"][0].as_py() for header, flows in read_all(source) if header.flow_count]
    assert (places[0], places[-1]) == ("first", "second")


def service_in(folder: Path, bus: Bus, clock: Callable[[], int] = wall_clock, **ingest: object) -> tuple[IngestService, Producer]:
    listener = Listener(host="127.0.0.1", port=0)
    settings = Settings(data_dir=str(folder), ingest=Ingest(collector="c", listeners=(listener,), **ingest), bus=bus)
    producer = open_producer(bus, folder)
    return IngestService(settings, producer, clock), producer


def test_a_full_spool_stops_the_input_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    bus = Bus(lanes=1, spool_bytes=1 << 20, segment_bytes=1 << 16, fsync=False)
    service, producer = service_in(tmp_path, bus, outbox_bytes=1 << 20, queue_bytes=1 << 20)
    service.start()
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, closing(open_source(bus, tmp_path)) as source:
        while not service.status().queue_drops:
            for number in range(200):
                udp.sendto(v5(24, (sent + number) * 24), service.addresses[0])
            sent += 200
            until(lambda sent=sent: service.status().received + service.status().socket_drops >= sent)  # type: ignore[misc]
        until(lambda: "spool full" in service.status().bus_error)
        flows = position = 0
        stopping = threading.Thread(target=service.stop)
        stopping.start()
        while stopping.is_alive() or position < source.end(0):
            for entry in source.read(0, position, 1 << 18, 0.05):
                flows += decode(entry.value)[0].flow_count
                position = entry.offset + 1
            source.release(0, position)
        stopping.join()
    producer.close()
    counters = service.counters
    taken = counters.sum("ingest_datagrams_total")
    assert taken + counters.sum("ingest_socket_drops_total") + counters.sum("ingest_datagrams_dropped_total") == sent
    assert flows == taken * 24
    assert counters.sum("ingest_batches_lost_total") == 0


def test_a_clock_that_jumps_stops_nothing(tmp_path: Path) -> None:
    now, bus = [1_700_000_000_000], Bus(url="memory:jump", lanes=2)
    service, producer = service_in(tmp_path, bus, lambda: now[0])
    service.start()

    def goes_on(count: int, before: int) -> bool:
        """Flows come, every lane has another heartbeat, and exporters are reported again."""
        now[0] += 250
        entries = read_all(source)
        later = [header for header, _ in entries if header.seq > before]
        reported = any(header.reports for header in later)
        return len(numbers(entries)) == count and {header.lane for header in later} == {0, 1} and reported

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, closing(open_source(bus, tmp_path)) as source:
        for number, jump_ms in enumerate((250, -3_600_000, 250, 7_200_000, 250)):
            before = max((header.seq for header, _ in read_all(source)), default=-1)
            now[0] += jump_ms
            udp.sendto(v5(1, number), service.addresses[0])
            until(lambda number=number, before=before: goes_on(number + 1, before))  # type: ignore[misc]
        service.stop()
        entries = read_all(source)
    producer.close()
    assert numbers(entries) == Counter(range(5))
    for lane in range(2):
        marks = [header.mark_ms for header, _ in entries if header.lane == lane]
        assert marks == sorted(marks)


def test_five_thousand_exporters_are_all_reported(tmp_path: Path) -> None:
    bus = Bus(url="memory:many", lanes=16)
    service, producer = service_in(tmp_path, bus)
    service.start()
    for number in range(5_000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((f"127.1.{number // 250}.{number % 250 + 1}", 0))
            udp.sendto(v5(2), service.addresses[0])
    until(lambda: service.status().received == 5_000)
    service.stop()
    producer.close()
    with closing(open_source(bus, tmp_path)) as source:
        entries = read_all(source)
    reports = [report for header, _ in entries for report in header.reports]
    assert len({report.exporter for report in reports}) == 5_000
    assert sum(report.records for report in reports) == sum(header.flow_count for header, _ in entries) == 10_000
    assert len(service.exporters()) == 5_000


def test_a_storm_of_templates_and_spoofed_sources_stays_in_bounds(tmp_path: Path) -> None:
    """Through all of it an exporter that sends steadily keeps its place and its template."""
    service, producer = service_in(tmp_path, Bus(url="memory:storm", lanes=1), exporters=50, templates_per_exporter=20)
    service.start()
    template = v9_template()
    sent = 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as steady:
        steady.connect(service.addresses[0])
        steady.send(template)
        for number in range(200):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                udp.bind((f"127.2.0.{number + 1}", 0))
                for domain in range(5):
                    udp.sendto(v9_template(0, domain), service.addresses[0])
                udp.sendto(v5(1), service.addresses[0])
            steady.send(v9_flows(1, number))
            sent += 7
            until(lambda sent=sent: service.status().received == sent)  # type: ignore[misc]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.2.0.200", 0))
            for number in range(256, 456):
                udp.sendto(template[:24] + number.to_bytes(2, "big") + template[26:], service.addresses[0])
        until(lambda: service.status().received == sent + 200)
    service.stop()
    producer.close()
    counters = service.counters
    assert counters.value("ingest_flows_total", protocol="netflow5") == 200
    assert counters.value("ingest_flows_total", protocol="netflow9") == 200
    assert counters.value("ingest_problems_total", reason="template_missing") == 0
    assert counters.value("ingest_problems_total", reason="exporter_evicted") == 151
    assert counters.value("ingest_problems_total", reason="template_evicted") >= 180
    exporters = load(load_state(tmp_path / "ingest-state.bin").snapshot)
    assert len(exporters) == 50
    assert max(sum(len(templates) for _, templates, _ in exporter.domains) for exporter in exporters) == 20
    restored, other = service_in(tmp_path, Bus(url="memory:storm", lanes=1), exporters=50)
    restored.start()
    restored.stop()
    other.close()
    assert (tmp_path / "ingest-state.bin").stat().st_size < 1 << 20
