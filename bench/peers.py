"""Other collectors over the same packets: python `netflow` in memory, nfcapd and goflow2 over loopback.

In: packets. Out: CPU seconds per million flows, and how many of the flows were seen; nothing where a peer is not installed.
Programs are found on the PATH, `netflow` where Python imports from. What they do differs: `netflow` only decodes, nfcapd writes
its own files, goflow2 writes protobuf to /dev/null; receiving from the socket is part of the work of the last two.
"""

import importlib
import importlib.util
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.packets import Mix

Packets = Sequence[tuple[bytes, bytes]]
_PACE: Final = 2
_PAUSE_S: Final = 0.0004
_SETTLE_S: Final = 1.0
_COMPLETE: Final = 0.999
_PACKETS: Final = 4000
"""How many packets programs are sent: at the pace that they can take, more would only take longer. Their start is subtracted."""


@dataclass(frozen=True, slots=True)
class PeerResult:
    """CPU of a peer, and the share of the flows that it saw."""

    cpu_seconds_per_million_flows: float
    seen: float

    @property
    def complete(self) -> bool:
        """Whether it saw all flows, so that the figure is for all of them."""
        return self.seen >= _COMPLETE


@dataclass(frozen=True, slots=True)
class Peer:
    """One other collector."""

    name: str
    measure: Callable[[Mix, Packets, Packets], PeerResult | None]


def _netflow(mix: Mix, templates: Packets, data: Packets) -> PeerResult | None:
    if mix.protocol == "sflow" or importlib.util.find_spec("netflow") is None:
        return None
    parse: Any = importlib.import_module("netflow").parse_packet
    known: dict[bytes, dict[str, Any]] = {exporter: {"netflow": {}, "ipfix": {}} for exporter, _ in data}
    for exporter, payload in templates:
        parse(payload, known[exporter])
    share = data[: max(1, len(data) // 10)]
    started = time.process_time()
    try:
        flows = sum(len(parse(payload, known[exporter]).flows) for exporter, payload in share)
    except Exception:  # noqa: BLE001  it raises what it likes on packets that it cannot read: then there is no figure
        return None
    spent = time.process_time() - started
    return PeerResult(round(spent / flows * 1e6, 2), flows / (len(share) * mix.records))


def _nfcapd(mix: Mix, templates: Packets, data: Packets) -> PeerResult | None:
    program, reader = shutil.which("sfcapd" if mix.protocol == "sflow" else "nfcapd"), shutil.which("nfdump")
    if program is None or reader is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        command = [program, "-p", str(port), "-b", "127.0.0.1", "-w", folder, "-t", "3600", "-B", "8000000"]
        idle, spent = _run(command, port, []), _run(command, port, [*templates, *data[:_PACKETS]])
        listed = subprocess.run([reader, "-R", folder, "-q", "-o", "fmt:%pr"], capture_output=True, check=False)
        return _result(spent - idle, listed.stdout.count(b"\n"), mix)


def _goflow2(mix: Mix, templates: Packets, data: Packets) -> PeerResult | None:
    program = shutil.which("goflow2")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        scheme = "sflow" if mix.protocol == "sflow" else "netflow"
        sink = Path(folder) / "flows"
        command = [program, "-listen", f"{scheme}://127.0.0.1:{port}", "-format", "text", "-transport.file", str(sink), "-addr", ""]
        packets = [*templates, *data[:_PACKETS]]
        _run(command, port, packets)
        seen = sink.read_bytes().count(b"\n")
        measured = [*command[:4], "bin", "-transport.file", "/dev/null", "-addr", ""]
        idle, spent = _run(measured, port, []), _run(measured, port, packets)
        return _result(spent - idle, seen, mix)


def _result(spent: float, seen: int, mix: Mix) -> PeerResult | None:
    flows = min(mix.packets, _PACKETS) * mix.records
    return PeerResult(round(spent / seen * 1e6, 2), seen / flows) if seen else None


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        return int(udp.getsockname()[1])


def _run(command: Sequence[str], port: int, packets: Packets) -> float:
    """CPU seconds of a collector for packets that one address sends, not faster than it can take them."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(_SETTLE_S)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect(("127.0.0.1", port))
            for number, (_, payload) in enumerate(packets):
                udp.send(payload)
                if number % _PACE == 0:
                    time.sleep(_PAUSE_S)
        time.sleep(_SETTLE_S)
        process.terminate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


PEERS: Final = (Peer("python netflow", _netflow), Peer("nfcapd", _nfcapd), Peer("goflow2", _goflow2))
