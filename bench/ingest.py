"""How much ingest takes over loopback: a paced sender in a process of its own -> UDP -> the service -> a bus.

In: a protocol, a rate, a bus URL. Out: `flows_per_second` and `cpu_seconds_per_million_flows` of the ingest process alone (user and
system), and where each datagram went: sent = taken + dropped, or the run is not valid.
"""

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.ingest_peers import PEERS, Peer, PeerRun
from bench.paced_sender import RECORDS, Sender
from bus.open import open_producer
from common.config import Bus, Ingest, Listener, Settings
from ingest.service import IngestService

_STEPS: Final = 1.25


@dataclass(frozen=True, slots=True)
class Result:
    """One run; rates are what the sender reached. `backlog_bytes` had not been decoded when it ended."""

    protocol: str
    flows_per_second: float
    cpu_seconds_per_million_flows: float
    sent_datagrams: int
    taken_datagrams: int
    dropped_datagrams: int
    flows: int
    octets_per_flow: float
    peak_rss_mb: int
    backlog_bytes: int

    @property
    def is_lossless(self) -> bool:
        """Whether every datagram was decoded."""
        return self.taken_datagrams == self.sent_datagrams


def measure(protocol: str, flows_per_s: float, seconds: float, url: str = "spool:", sender: Sender | None = None) -> Result:
    """One run of `seconds` at this rate; the service runs in this process, the sender in another."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as closing:
        chosen = sender or closing.enter_context(Sender(protocol))
        bus = Bus(url=url)
        settings = Settings(data_dir=folder, ingest=Ingest(listeners=(Listener(host="127.0.0.1", port=0),)), bus=bus)
        producer = open_producer(bus, Path(folder))
        closing.callback(producer.close)
        service = IngestService(settings, producer)
        service.start()
        started = time.process_time()
        sent, elapsed_s = chosen.send(flows_per_s, seconds, service.addresses[0][1])
        backlog = service.status().queue_bytes
        service.stop()
        cpu_s = time.process_time() - started
        return _result(protocol, service, sent, elapsed_s, cpu_s, backlog)


def peers(protocol: str, flows_per_s: float, seconds: float) -> list[PeerRun]:
    """Other collectors that are installed, before the same sender."""
    runs = []
    with Sender(protocol) as sender:
        for name in PEERS:
            with tempfile.TemporaryDirectory() as folder:
                peer = Peer.start(name, protocol, Path(folder))
                if peer is not None:
                    with peer:
                        runs.append(peer.run(sender, flows_per_s, seconds))
    return runs


def highest(protocol: str, seconds: float, url: str = "spool:", first: float = 100_000) -> Result:
    """The last of ever faster runs in which nothing was lost."""
    with Sender(protocol) as sender:
        best = measure(protocol, first, seconds, url, sender)
        rate = first
        while best.is_lossless:
            rate *= _STEPS
            following = measure(protocol, rate, seconds, url, sender)
            if not following.is_lossless or following.flows_per_second < rate * 0.95:
                break
            best = following
        return best


def _result(protocol: str, service: IngestService, sent: int, elapsed_s: float, cpu_s: float, backlog: int) -> Result:
    counters = service.counters
    flows = counters.sum("ingest_flows_total")
    taken = counters.sum("ingest_datagrams_total")
    peak_kb = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return Result(
        protocol,
        round(sent * RECORDS[protocol] / elapsed_s),
        round(cpu_s / max(flows, 1) * 1e6, 3),
        sent,
        taken,
        counters.sum("ingest_socket_drops_total") + counters.sum("ingest_datagrams_dropped_total"),
        flows,
        round(counters.sum("ingest_batch_bytes_total") / max(flows, 1), 1),
        int(peak_kb) >> 10,
        backlog,
    )
