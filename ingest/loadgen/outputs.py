"""Where generated traffic goes: a capture file, UDP sockets, a bus.

In: arrivals or bus entries. Out: octets elsewhere. Sockets are bound to the exporters' own addresses where these are loopback ones,
so that one machine shows as many exporters as there are; arrivals of collector n go to the n-th target.
"""

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import dpkt

from common.addresses import pack_address
from common.errors import InputError, UsageError
from ingest.loadgen.network import Arrival
from ingest.loadgen.scenario import Scenario

COLLECTOR_PORT: Final = 9999
_SOURCE_PORT: Final = 40_000
_MAC: Final = b"\x02\x00\x00\x00\x00\x01"
_NAP_S: Final = 0.001

Pace = Callable[[int], bool]
"""Waits until the virtual time; False to stop."""


class CaptureFile:
    """Arrivals as Ethernet frames in a pcap file, at their receive times. The file appears whole or not at all."""

    def __init__(self, path: Path, scenario: Scenario) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._sources = [pack_address(exporter.address) for exporter in scenario.fleet()]
        try:
            self._file: IO[bytes] = self._part.open("wb")
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from error
        self._writer = dpkt.pcap.Writer(self._file, linktype=dpkt.pcap.DLT_EN10MB)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)

    def write(self, arrivals: Sequence[Arrival]) -> None:
        """Frames to 127.0.0.(collector + 1), port 9999."""
        try:
            for arrival in arrivals:
                self._writer.writepkt(self._frame(arrival), arrival.received_ms / 1000)
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _frame(self, arrival: Arrival) -> bytes:
        source, payload = self._sources[arrival.datagram.exporter], arrival.datagram.payload
        udp = dpkt.udp.UDP(sport=_SOURCE_PORT, dport=COLLECTOR_PORT, ulen=8 + len(payload), data=payload)
        if source[:12] == pack_address("0.0.0.0")[:12]:
            sink = bytes((127, 0, 0, arrival.collector + 1))
            packet = dpkt.ip.IP(src=source[12:], dst=sink, p=dpkt.ip.IP_PROTO_UDP, ttl=64, len=28 + len(payload), data=udp)
            return bytes(dpkt.ethernet.Ethernet(src=_MAC, dst=_MAC, type=dpkt.ethernet.ETH_TYPE_IP, data=packet))
        sink = bytes(15) + bytes((arrival.collector + 1,))
        packet = dpkt.ip6.IP6(src=source, dst=sink, nxt=dpkt.ip.IP_PROTO_UDP, hlim=64, plen=8 + len(payload), data=udp)
        packet.extension_hdrs = {}
        return bytes(dpkt.ethernet.Ethernet(src=_MAC, dst=_MAC, type=dpkt.ethernet.ETH_TYPE_IP6, data=packet))


class UdpSender:
    """One socket per exporter address."""

    def __init__(self, scenario: Scenario, targets: Sequence[tuple[str, int]]) -> None:
        if len(targets) not in (1, len(scenario.collectors)):
            raise UsageError(f"{len(targets)} targets for {len(scenario.collectors)} collectors: give one, or one for each")
        found = [_resolved(target) for target in targets]
        self._targets = [found[n % len(found)] for n in range(len(scenario.collectors))]
        local = all(host.startswith("127.") for host, _ in found)
        opened: dict[str, socket.socket] = {}
        try:
            for exporter in scenario.fleet():
                if exporter.address not in opened:
                    opened[exporter.address] = _open_socket(exporter.address if local else "")
        except OSError as error:
            raise UsageError(f"udp: no socket for exporter {exporter.address}: {error.strerror}") from error
        finally:
            self._opened = list(opened.values())
        self._sockets = [opened[exporter.address] for exporter in scenario.fleet()]

    def send(self, arrivals: Sequence[Arrival], pace: Pace) -> int:
        """Send each arrival at its time; how many were sent before `pace` said to stop."""
        sockets, targets, done = self._sockets, self._targets, 0
        for arrival in arrivals:
            if not pace(arrival.received_ms):
                break
            try:
                sockets[arrival.datagram.exporter].sendto(arrival.datagram.payload, targets[arrival.collector])
            except OSError as error:
                host, port = targets[arrival.collector]
                raise UsageError(f"udp://{host}:{port}: cannot be sent to: {error.strerror}") from error
            done += 1
        return done

    def close(self) -> None:
        """Close all sockets."""
        for opened in self._opened:
            opened.close()


def _resolved(target: tuple[str, int]) -> tuple[str, int]:
    try:
        return socket.gethostbyname(target[0]), target[1]
    except OSError as error:
        raise UsageError(f"udp://{target[0]}:{target[1]}: no IPv4 address of that name: {error.strerror}") from error


def _open_socket(address: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if address.startswith("127."):
        opened.bind((address, 0))
    return opened


def real_time(start_ms: int, begun_ms: int, stopped: Callable[[], bool]) -> Pace:
    """A pace by the machine's clock: virtual `start_ms` is `begun_ms` of the real one."""
    shift_s = (begun_ms - start_ms) / 1000

    def pace(virtual_ms: int) -> bool:
        due = virtual_ms / 1000 + shift_s
        while not stopped():
            left = due - time.time()
            if left <= 0:
                return True
            time.sleep(min(left, 0.2) if left > _NAP_S else _NAP_S)
        return False

    return pace


def full_speed(stopped: Callable[[], bool]) -> Pace:
    """No waiting."""
    return lambda _virtual_ms: not stopped()
