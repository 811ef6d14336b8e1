"""Other collectors before the same paced sender as ingest: goflow2, nfcapd and sfcapd, nfacctd and sfacctd.

In: a protocol, a rate and seconds. Out: CPU seconds per million flows that the collector took from its socket, and the share of the
datagrams that it took; nothing where it is not installed. What they do differs: goflow2 writes protobuf to /dev/null, nfcapd its
own files, nfacctd sums up by address, port, protocol and TOS in memory.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.paced_sender import RECORDS, Sender

_SETTLE_S: Final = 1.5
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PMACCT: Final = """daemonize: false
{name}_ip: 127.0.0.1
{name}_port: {port}
plugins: print
aggregate: src_host, dst_host, src_port, dst_port, proto, tos
print_output_file: /dev/null
print_refresh_time: 3600
print_cache_entries: 999983
plugin_pipe_size: 102400000
plugin_buffer_size: 102400
"""

Command = Callable[[str, int, Path], Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class PeerRun:
    """One run of a peer."""

    peer: str
    flows_per_second: float
    cpu_seconds_per_million_flows: float
    sent_datagrams: int
    dropped_datagrams: int


def _goflow2(protocol: str, port: int, _folder: Path) -> Sequence[str] | None:
    scheme = "sflow" if protocol == "sflow" else "netflow"
    options = ["-listen", f"{scheme}://127.0.0.1:{port}", "-format", "bin", "-transport.file", "/dev/null", "-addr", ""]
    return _installed("goflow2", options)


def _nfcapd(protocol: str, port: int, folder: Path) -> Sequence[str] | None:
    options = ["-p", str(port), "-b", "127.0.0.1", "-w", str(folder), "-t", "3600", "-B", "8000000"]
    return _installed("sfcapd" if protocol == "sflow" else "nfcapd", options)


def _pmacct(protocol: str, port: int, folder: Path) -> Sequence[str] | None:
    name = "sfacctd" if protocol == "sflow" else "nfacctd"
    settings = folder / "pmacct.conf"
    settings.write_text(_PMACCT.format(name=name, port=port), encoding="utf-8")
    return _installed(name, ["-f", str(settings)])


def _installed(program: str, options: list[str]) -> Sequence[str] | None:
    path = shutil.which(program)
    return None if path is None else [path, *options]


PEERS: Final[dict[str, Command]] = {"goflow2": _goflow2, "nfcapd": _nfcapd, "pmacct": _pmacct}


class Peer:
    """One collector that runs; leaving it ends it."""

    def __init__(self, name: str, command: Sequence[str], port: int) -> None:
        quiet = subprocess.DEVNULL
        self.name = name
        self._port = port
        self._process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        time.sleep(_SETTLE_S)

    @classmethod
    def start(cls, name: str, protocol: str, folder: Path) -> "Peer | None":
        """Start it, with its files in `folder`; None where it is not installed."""
        port = _free_port()
        command = PEERS[name](protocol, port, folder)
        return None if command is None else cls(name, command, port)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # nfacctd does not end by SIGTERM
        self._process.wait()

    def run(self, sender: Sender, flows_per_s: float, seconds: float) -> PeerRun:
        """One run at this rate."""
        spent, dropped = _cpu_s(self._process.pid), _drops(self._port)
        sent, elapsed_s = sender.send(flows_per_s, seconds, self._port)
        time.sleep(_SETTLE_S)
        spent, dropped = _cpu_s(self._process.pid) - spent, _drops(self._port) - dropped
        records = RECORDS[sender.protocol]
        taken = max(sent - dropped, 1) * records
        return PeerRun(self.name, round(sent * records / elapsed_s), round(spent / taken * 1e6, 3), sent, dropped)


def _cpu_s(session: int) -> float:
    """User and system time of all processes of a session."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[3]) == session:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def _drops(port: int) -> int:
    """What the kernel dropped on the UDP sockets of a port."""
    lines = [line.split() for name in ("udp", "udp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return sum(int(fields[-1]) for fields in lines if int(fields[1].rpartition(":")[2], 16) == port)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        return int(udp.getsockname()[1])
