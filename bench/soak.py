"""Whether memory stays flat: a job on Flink, or `nephrite up`, under a constant load for as long as asked.

In: minutes and a load. Out: per process the memory at the end and its slope over the second half, in MB an hour. The first half
fills what is bounded: caches, heaps, windows that are still open (17 minutes of them). A job on Flink is fed four times as fast as
its time goes by, and first watched while it has nothing to do, since the old runner leaks a little by itself.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from bench import on_flink
from bench.cases import CASES, Entries, endless
from common.config import Pipeline, Settings
from flink.process import children, command_line, resident_bytes

RATE: Final = 5_000
PACE: Final = 4
_SAMPLE_S: Final = 5.0
_MB: Final = 1e6


@dataclass(slots=True)
class Memory:
    """Samples of resident memory by process."""

    seen: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def sample(self, resident: Mapping[str, int]) -> None:
        """Of now."""
        for name, octets in resident.items():
            self.seen.setdefault(name, []).append((time.monotonic(), octets))

    def figures(self) -> dict[str, dict[str, float]]:
        """MB at the end, and MB an hour over the second half, by least squares."""
        return {name: {"mb": round(samples[-1][1] / _MB, 1), "mb_per_hour": slope(samples)} for name, samples in self.seen.items()}


def slope(samples: list[tuple[float, int]]) -> float:
    """MB an hour over the second half of the samples; 0 where there are too few."""
    later = np.array(samples[len(samples) // 2 :], float)
    if len(later) < 3:
        return 0.0
    hours, megabytes = (later[:, 0] - later[0, 0]) / 3_600, later[:, 1] / _MB
    return round(float(np.polyfit(hours, megabytes, 1)[0]), 1)


def flink(minutes: float, idle_minutes: float, rate: int = RATE) -> dict[str, dict[str, dict[str, float]]]:
    """Memory of an idle job, then of the same job under load."""
    due = endless(CASES[1], rate, 5, {})
    with on_flink.running(Settings(pipeline=Pipeline())) as line:
        line.give(next(due))
        line.settle()
        idle = _watched(line.resident, idle_minutes, lambda: None)
        load = _watched(line.resident, minutes, lambda: _feed(line, next(due)))
        written = {"documents": float(line.documents()), "restarts": float(line.rest.checkpoints(line.job).restored)}
    return {"idle": idle, "load": load, "job": {"whole": written}}


def _feed(line: on_flink.Line, part: Entries) -> None:
    line.give(part)


def _watched(resident: Callable[[], Mapping[str, int]], minutes: float, give: Callable[[], None]) -> dict[str, dict[str, float]]:
    """Memory over so many minutes, with the next second of traffic `PACE` times a second."""
    memory, started, given, sampled = Memory(), time.monotonic(), 0, 0
    while (passed := time.monotonic() - started) < minutes * 60:
        if passed * PACE > given:
            give()
            given += 1
        if passed > sampled * _SAMPLE_S:
            memory.sample(resident())
            sampled += 1
        time.sleep(0.02)
    return memory.figures()


def up(minutes: float, rate: int = RATE) -> dict[str, dict[str, dict[str, float]]]:
    """Memory of `nephrite up` and its services, under as many flows a second over UDP."""
    with tempfile.TemporaryDirectory(prefix="nephrite-soak-") as folder, _up(Path(folder)) as (process, port):
        seconds = str(int(minutes * 60) + 60)
        sending = ["generate", "bench", "--to", f"udp://127.0.0.1:{port}", "--rate", str(rate), "--duration", seconds]
        sender = subprocess.Popen([sys.executable, "-m", "nephrite", *sending], stdout=subprocess.DEVNULL)
        try:
            return {"load": _watched(lambda: _services(process.pid), minutes, lambda: None)}
        finally:
            sender.terminate()
            sender.wait()


@contextmanager
def _up(folder: Path) -> "Iterator[tuple[subprocess.Popen[bytes], int]]":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = ["up", "--data-dir", str(folder), "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen([sys.executable, "-m", "nephrite", *command], env=os.environ)
    try:
        yield process, port
    finally:
        process.terminate()
        process.wait()


def _services(parent: int) -> dict[str, int]:
    words = {pid: command_line(pid).split(b"\0") for pid in children(parent)}
    return {
        name: sum(resident_bytes(pid) for pid, found in words.items() if name.encode() in found) for name in ("ingest", "pipeline")
    }
