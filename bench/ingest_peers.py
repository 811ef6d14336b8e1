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
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
Send = Callable[[int], int]
"""Sends to a port of loopback, in real time; how many datagrams."""


@dataclass(frozen=True, slots=True)
class PeerRun:
    """One run of a peer."""

    peer: str
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


def measure_peers(protocol: str, records: int, send: Send) -> list[PeerRun]:
    """All installed peers, one after the other; `records` is flows per datagram."""
    runs = []
    for name, command_of in PEERS.items():
        with tempfile.TemporaryDirectory() as folder:
            port = _free_port()
            command = command_of(protocol, port, Path(folder))
            if command is not None:
                runs.append(_measure(name, command, port, records, send))
    return runs


def _measure(name: str, command: Sequence[str], port: int, records: int, send: Send) -> PeerRun:
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True) as process:
        time.sleep(_SETTLE_S)
        before = _cpu_s(process.pid)
        sent = send(port)
        time.sleep(_SETTLE_S)
        spent, dropped = _cpu_s(process.pid) - before, _drops(port)
        os.killpg(process.pid, signal.SIGKILL)  # nfacctd does not end by SIGTERM
    taken = max(sent - dropped, 1) * records
    return PeerRun(name, round(spent / taken * 1e6, 3), sent, dropped)


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
