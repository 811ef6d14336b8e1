"""How much ingest takes over loopback: a paced sender in a process of its own -> UDP -> the service -> a bus.

In: a protocol, a rate, a bus URL. Out: JSON with `flows_per_second` and `cpu_seconds_per_million_flows` of the ingest process alone
(user and system), and where each datagram went: sent = taken + dropped, or the run is not valid.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.ingest_peers import PeerRun, measure_peers
from bench.packets import Mix, make_packets, make_sflow
from bus.open import open_producer
from common.config import Bus, Ingest, Listener, Settings
from ingest.service import IngestService

_EXPORTERS: Final = 50
_RECORDS: Final = {"v5": 24, "v9": 24, "ipfix": 24, "sflow": 7}
_PACKETS: Final = 20_000
_STEP_S: Final = 0.002
_STEPS: Final = 1.25


@dataclass(frozen=True, slots=True)
class Result:
    """One run; rates are what the sender reached."""

    protocol: str
    flows_per_second: float
    cpu_seconds_per_million_flows: float
    sent_datagrams: int
    taken_datagrams: int
    dropped_datagrams: int
    flows: int
    octets_per_flow: float
    peak_rss_mb: int

    @property
    def is_lossless(self) -> bool:
        """Whether every datagram was decoded."""
        return self.taken_datagrams == self.sent_datagrams


def measure(protocol: str, flows_per_s: float, seconds: float, url: str = "spool:") -> Result:
    """One run of `seconds` at this rate; the service runs in this process, the sender in another."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as closing:
        bus = Bus(url=url)
        settings = Settings(data_dir=folder, ingest=Ingest(listeners=(Listener(host="127.0.0.1", port=0),)), bus=bus)
        producer = open_producer(bus, Path(folder))
        closing.callback(producer.close)
        service = IngestService(settings, producer)
        service.start()
        sender = _sender(protocol, flows_per_s, seconds, service.addresses[0][1])
        started = time.process_time()
        sent, elapsed_s = json.loads(sender.communicate()[0])
        service.stop()
        cpu_s = time.process_time() - started
        return _result(protocol, service, sent, elapsed_s, cpu_s)


def _sender(protocol: str, flows_per_s: float, seconds: float, port: int) -> "subprocess.Popen[str]":
    """The sender in a process of its own, its packets made; what it prints at its end are datagrams and seconds."""
    command = [sys.executable, "-m", "bench.ingest", "--send", protocol, str(flows_per_s), str(seconds), str(port)]
    path = os.pathsep.join(filter(None, sys.path))
    sender = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
    assert sender.stdout is not None
    sender.stdout.readline()
    return sender


def peers(protocol: str, flows_per_s: float, seconds: float) -> list[PeerRun]:
    """Other collectors that are installed, before the same sender."""

    def send(port: int) -> int:
        sent, _ = json.loads(_sender(protocol, flows_per_s, seconds, port).communicate()[0])
        return int(sent)

    return measure_peers(protocol, _RECORDS[protocol], send)


def highest(protocol: str, seconds: float, url: str = "spool:", first: float = 100_000) -> Result:
    """The last of ever faster runs in which nothing was lost."""
    best = measure(protocol, first, seconds, url)
    rate = first
    while best.is_lossless:
        rate *= _STEPS
        following = measure(protocol, rate, seconds, url)
        if not following.is_lossless or following.flows_per_second < rate * 0.95:
            break
        best = following
    return best


def _result(protocol: str, service: IngestService, sent: int, elapsed_s: float, cpu_s: float) -> Result:
    counters = service.counters
    flows = counters.sum("ingest_flows_total")
    taken = counters.sum("ingest_datagrams_total")
    peak_kb = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return Result(
        protocol,
        round(sent * _RECORDS[protocol] / elapsed_s),
        round(cpu_s / max(flows, 1) * 1e6, 3),
        sent,
        taken,
        counters.sum("ingest_socket_drops_total") + counters.sum("ingest_datagrams_dropped_total"),
        flows,
        round(counters.sum("ingest_batch_bytes_total") / max(flows, 1), 1),
        int(peak_kb) >> 10,
    )


def _send(protocol: str, flows_per_s: float, seconds: float, port: int) -> None:
    """The sender: one socket and one loopback address per exporter, paced in steps."""
    templates, data = _packets(protocol)
    places = {exporter: number for number, exporter in enumerate(dict.fromkeys(exporter for exporter, _ in data))}
    sockets = []
    for number in range(len(places)):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((f"127.0.{1 + number // 250}.{1 + number % 250}", 0))
        udp.connect(("127.0.0.1", port))
        sockets.append(udp)
    for exporter, payload in templates:
        sockets[places[exporter]].send(payload)
    ready = [(sockets[places[exporter]], payload) for exporter, payload in data]
    print("ready", flush=True)
    rate, sent, started = flows_per_s / _RECORDS[protocol], 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - started) < seconds:
        for number in range(sent, int(elapsed_s * rate)):
            udp, payload = ready[number % len(ready)]
            udp.send(payload)
        sent = max(sent, int(elapsed_s * rate))
        time.sleep(_STEP_S)
    print(json.dumps([sent + len(templates), elapsed_s]))


def _packets(protocol: str) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    records = _RECORDS[protocol]
    if protocol == "sflow":
        return [], make_sflow(_PACKETS, records, _EXPORTERS)
    return make_packets(Mix(protocol, _PACKETS, records, exporters=_EXPORTERS))


def main(arguments: list[str]) -> int:
    """Measure the given protocols at one rate, or find the highest rate without loss."""
    if arguments[:1] == ["--send"]:
        _send(arguments[1], float(arguments[2]), float(arguments[3]), int(arguments[4]))
        return 0
    parser = argparse.ArgumentParser(prog="bench.ingest", description=main.__doc__)
    parser.add_argument("protocols", nargs="*", choices=[*_RECORDS, []], default=[])
    parser.add_argument("--rate", type=float, default=90_000, help="flows a second")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--bus", default="spool:")
    parser.add_argument("--highest", action="store_true", help="raise the rate until something is lost")
    parser.add_argument("--peers", action="store_true", help="other collectors before the same sender, where they are installed")
    chosen = parser.parse_args(arguments)
    for protocol in chosen.protocols or list(_RECORDS):
        run = (
            highest(protocol, chosen.seconds, chosen.bus)
            if chosen.highest
            else measure(protocol, chosen.rate, chosen.seconds, chosen.bus)
        )
        print(json.dumps(asdict(run)))
        for peer in peers(protocol, chosen.rate, chosen.seconds) if chosen.peers else ():
            print(json.dumps(asdict(peer)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
