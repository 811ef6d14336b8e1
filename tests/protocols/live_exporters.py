"""Real exporters over loopback: they meter a capture that we wrote, and what they send is taken from a socket.

In: the frames of a capture, a command. Out: datagrams as they were received. The traffic is known flow by flow.
"""

import os
import shutil
import socket
import struct
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.protocols.sflow_wire import ethernet

FlowKey = tuple[str, str, int, int, int]
_PATHS: Final = "/usr/sbin:/usr/local/sbin:/usr/bin"
_START_S: Final = 1_700_000_000
_QUIET_S: Final = 0.5
_PATIENCE: Final = 120
"""Quiet turns after which an exporter is given up, however slow the machine is."""
_FLOWS: Final = 40


@dataclass(frozen=True, slots=True)
class Traffic:
    """A capture, and the octets of IP and packets of each flow in it."""

    capture: Path
    octets: dict[FlowKey, int]
    packets: dict[FlowKey, int]


def write_traffic(folder: Path) -> Traffic:
    """A capture of TCP and UDP flows of some packets each."""
    octets: Counter[FlowKey] = Counter()
    packets: Counter[FlowKey] = Counter()
    frames: list[tuple[float, bytes]] = []
    for turn in range(6):
        for number in range(_FLOWS):
            if turn <= number % 6:
                key, packet = _packet(number, 20 + (number * 37 + turn * 101) % 1200)
                octets[key] += len(packet)
                packets[key] += 1
                frames.append((len(frames) * 0.01, ethernet(packet)))
    capture = folder / "traffic.pcap"
    capture.write_bytes(_pcap(frames))
    return Traffic(capture, dict(octets), dict(packets))


def find_program(name: str) -> str | None:
    """Where a program is, also outside of a user's PATH."""
    return shutil.which(name) or shutil.which(name, path=os.environ.get("NEPHRITE_EXPORTERS", _PATHS))


def run_exporter(
    command: Sequence[str], collector: socket.socket, folder: Path, is_all: Callable[[list[bytes]], bool]
) -> list[bytes]:
    """Datagrams that a command, started in this folder, sends to the socket until they are all and nothing more comes."""
    received: list[bytes] = []
    collector.settimeout(_QUIET_S)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder) as process:
        try:
            _receive(collector, received, is_all)
        finally:
            process.kill()
    return received


def _receive(collector: socket.socket, received: list[bytes], is_all: Callable[[list[bytes]], bool]) -> None:
    """Not until the command has ended: its children may still have something to send, or it may never end."""
    quiet = 0
    while quiet < _PATIENCE:
        try:
            received.append(collector.recv(65535))
            quiet = 0
        except TimeoutError:
            quiet += 1
            if is_all(received):
                return


def _packet(number: int, payload: int) -> tuple[FlowKey, bytes]:
    source, target = f"10.1.{number % 4}.{number}", f"10.2.{number % 3}.{number + 50}"
    sport, dport, protocol = 20_000 + number, (443, 80, 53)[number % 3], 17 if number % 3 == 2 else 6
    body = bytes(payload)
    if protocol == 6:
        head = struct.pack(">HHIIHHHH", sport, dport, 1, 1, 0x5010, 65535, 0, 0)
    else:
        head = struct.pack(">HHHH", sport, dport, 8 + payload, 0)
    length = 20 + len(head) + len(body)
    ip = struct.pack(">BBHHHBBH", 0x45, 0, length, number, 0, 64, protocol, 0) + socket.inet_aton(source) + socket.inet_aton(target)
    return (source, target, sport, dport, protocol), ip + head + body


def _pcap(frames: list[tuple[float, bytes]]) -> bytes:
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for seconds, frame in frames:
        parts += [struct.pack("<IIII", _START_S + int(seconds), int(seconds % 1 * 1_000_000), len(frame), len(frame)), frame]
    return b"".join(parts)
