"""Memory of `nephrite up` and its services under flows over UDP; at the end all windows are closed, and sums compared.

In: minutes and flows a second. Out: a Soak. The sender is `nephrite generate`, a process of its own whose memory is not in it.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.soak import RATE, Show, Soak, Watched, silent, watch
from bench.written import Sums, Written
from bus.spool import SpoolProducer
from common.clock import wall_clock
from common.config import Settings
from flink.process import children, command_line, resident_bytes
from flowpb.codec import Header, encode
from flowpb.groupings import FINAL_DELAY_MS, HORIZON_MS
from pipelines.embedded import open_embedded
from stores.parquet.manifest import Manifest

SERVICES: Final = ("ingest", "pipeline", "serve")
_PATIENCE_S: Final = 120.0
_AHEAD_MS: Final = HORIZON_MS + FINAL_DELAY_MS + 5 * 60_000
_MB: Final = 1e6


def up(minutes: float, rate: int = RATE, show: Show = silent) -> Soak:
    """`up` on this machine, for so long; raises TimeoutError when its services do not come up."""
    with tempfile.TemporaryDirectory(prefix="nephrite-soak-") as folder:
        data_dir = Path(folder, "data")
        load, sent = _under_load(data_dir, minutes, rate, show)
        _close_windows(data_dir)
        written = Written()
        raw = written.take_store(data_dir)
        return Soak(load, sent, written.sums, {"raw flows stored": raw, "documents": written.documents})


def _under_load(data_dir: Path, minutes: float, rate: int, show: Show) -> tuple[Watched, Sums]:
    with _up(data_dir) as (process, port):
        _wait(lambda: all(_services(process.pid).values()), "services", process)
        seconds = str(round(minutes * 60 + _PATIENCE_S))
        sending = ["generate", "bench", "--to", f"udp://127.0.0.1:{port}", "--rate", str(rate), "--duration", seconds]
        sender = subprocess.Popen([sys.executable, "-m", "nephrite", *sending], stdout=subprocess.PIPE, text=True)
        try:
            load = watch(minutes, lambda: _services(process.pid), lambda: _state(data_dir), lambda: None, show)
            sender.terminate()  # it tells what it has sent so far, however far behind its time it is on a busy machine
            said = sender.communicate(timeout=_PATIENCE_S)[0]
        finally:
            sender.kill()
            sender.wait()
        sent = Sums(_count(said, "flows sent"), _count(said, "bytes delivered"))
        _wait(lambda: _raw(data_dir) >= sent.flows, f"{sent.flows} flows", process, fails=False)
    return load, sent


def _count(said: str, name: str) -> int:
    found = re.search(rf"{name}\s+([\d,]+)", said)
    if not found:
        raise ValueError(f"the sender did not say {name!r}: {said[-300:]}")
    return int(found[1].replace(",", ""))


@contextmanager
def _up(data_dir: Path) -> "Iterator[tuple[subprocess.Popen[bytes], int]]":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = ["up", "--data-dir", str(data_dir), "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen([sys.executable, "-m", "nephrite", *command], env={**os.environ, "NEPHRITE_QUERY__PORT": "0"})
    try:
        yield process, port
    finally:
        process.terminate()
        process.wait()


def _wait(reached: Callable[[], bool], what: str, process: "subprocess.Popen[bytes]", fails: bool = True) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not reached():
        if process.poll() is not None:
            raise ChildProcessError(f"nephrite up ended with code {process.returncode} before {what} were there")
        if time.monotonic() > until:
            if not fails:
                return
            raise TimeoutError(f"nephrite up: no {what} within {_PATIENCE_S:.0f} s")
        time.sleep(0.5)


def _services(parent: int) -> dict[str, int]:
    words = {pid: command_line(pid).split(b"\0") for pid in children(parent)}
    return {name: sum(resident_bytes(pid) for pid, found in words.items() if name.encode() in found) for name in SERVICES}


def _state(data_dir: Path) -> dict[str, float]:
    with Manifest.open(data_dir, writer=False) as manifest:
        status = manifest.status()
    rows = {level.level: level.rows for level in status.levels}
    return {
        "state_mb": round(status.carried_bytes / _MB, 2),
        "spool_mb": round(_size(data_dir / "spool") / _MB, 2),
        "raw flows": rows.get("raw", 0),
        "documents": sum(count for level, count in rows.items() if level not in ("raw", "ledger")),
    }


def _raw(data_dir: Path) -> int:
    return int(_state(data_dir)["raw flows"])


def _size(folder: Path) -> int:
    sizes = 0
    for path in folder.rglob("*"):
        try:
            sizes += path.stat().st_size
        except FileNotFoundError:
            continue  # read and deleted just now
    return sizes


def _close_windows(data_dir: Path) -> None:
    """Marks so far ahead, on a bus whose clock is too, that every window gets its last documents."""
    settings = Settings(data_dir=str(data_dir))
    ahead_ms = wall_clock() + _AHEAD_MS
    producer = SpoolProducer(data_dir / "spool", settings.bus.lanes, clock=lambda: ahead_ms)
    for lane in range(settings.bus.lanes):
        producer.send(lane, encode(Header("end of the soak", 1, lane, 0, ahead_ms, settings.bus.lanes), None))
    producer.close()
    with open_embedded(settings) as embedded:
        embedded.driver.drain()
