"""A steady load on ingest, ingest as a process of its own, and what of the load its readers see in the end."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bus.contract import Source
from columns.log import LaneLog, advance
from flowpb.codec import Header, decode
from tests.ingest.packets import v5

ROOT = Path(__file__).parent.parent.parent
PROGRAM = "import typer, ingest.commands as c; app = typer.Typer(); c.app_commands(app); app()"
PACE_S = 0.001


class Sender:
    """One exporter that sends numbered v5 packets at a steady pace until it is told to end: `burst` of them each millisecond."""

    def __init__(self, address: tuple[str, int], source: str = "127.0.0.1", flows: int = 1, burst: int = 1) -> None:
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((source, 0))
        self._address = address
        self._burst = burst
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._times: list[float] = []
        self.flows = flows
        self.sent = 0

    def __enter__(self) -> "Sender":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._udp.close()

    def sent_by(self, moment: float) -> int:
        """How many packets were sent before a moment of the monotonic clock."""
        return bisect_right(self._times, moment) * self._burst

    def _run(self) -> None:
        while not self._ending.wait(PACE_S):
            for _ in range(self._burst):
                self._udp.sendto(v5(self.flows, self.sent * self.flows), self._address)
                self.sent += 1
            self._times.append(time.monotonic())


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
    """Wait until it is ready; what it said before is no concern of this."""
    assert process.stderr is not None
    line = next((line for line in process.stderr if line.startswith("ingest ready")), "nothing")
    found = re.fullmatch(r"ingest ready: udp://127\.0\.0\.1:(\d+)\n", line)
    assert found, line
    return int(found[1])


class Reader:
    """Reads a bus from its beginning, as the pipeline does: repeats are dropped, holes in the numbers counted."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._offsets = [source.begin(partition) for partition in range(source.partitions)]
        self._logs: dict[int, LaneLog] = {}
        self.repeats = 0
        self.holes = 0

    def more(self, wait_s: float = 0.0) -> Iterator[tuple[Header, pa.RecordBatch]]:
        """What has come since the last call."""
        for partition in range(self._source.partitions):
            while entries := self._source.read(partition, self._offsets[partition], 1 << 24, wait_s):
                for entry in entries:
                    header, flows = decode(entry.value)
                    log = self._logs.get(header.lane, LaneLog())
                    self._logs[header.lane], verdict = advance(log, header, entry.append_ms)
                    self.repeats += not verdict.accepted
                    self.holes += verdict.missing
                    if verdict.accepted:
                        yield header, flows
                self._offsets[partition] = entries[-1].offset + 1


class Tally:
    """How many flows of each packet of a sender have come; of a packet at the end of a batch only a part may have."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._counts: NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, reader: Reader, wait_s: float = 0.0) -> None:
        for header, flows in reader.more(wait_s):
            if header.flow_count:
                found = np.bincount(flows["flow_seq_num"].to_numpy(zero_copy_only=False) // self._sender.flows)
                longer = np.zeros(max(len(found), len(self._counts)), np.int64)
                longer[: len(found)] = found
                longer[: len(self._counts)] += self._counts
                self._counts = longer

    @property
    def doubled(self) -> list[int]:
        """Packets of which more flows came than were sent."""
        return np.flatnonzero(self._counts > self._sender.flows).tolist()

    def missing(self, first: int = 0, end: int | None = None) -> list[int]:
        """The packets from `first` to before `end` that did not come, or not wholly."""
        counts = np.zeros(self._sender.sent if end is None else end, np.int64)
        counts[: len(self._counts)] = self._counts[: len(counts)]
        return (first + np.flatnonzero(counts[first:] < self._sender.flows)).tolist()


def read_all(source: Source, wait_s: float = 0.0) -> list[tuple[Header, pa.RecordBatch]]:
    """All entries, repeats dropped as readers drop them."""
    return list(Reader(source).more(wait_s))


def numbers(entries: list[tuple[Header, pa.RecordBatch]]) -> Counter[int]:
    """How often each packet's number came."""
    return Counter(number for header, flows in entries if header.flow_count for number in flows["flow_seq_num"].to_pylist())
