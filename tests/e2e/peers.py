"""The same packets through nfdump and tshark, and what each of the two makes of them.

Flows, octets and packets are as exported: nfcapd multiplies by a sampling interval only when asked to (-s), tshark never does.
"""

import socket
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dpkt

from tests.e2e.command import free_port, wait_until

COLLECTOR_PORT: Final = 9999


@dataclass(frozen=True, slots=True)
class Seen:
    """One flow as a collector keeps it."""

    exporter: str
    in_if: int
    out_if: int
    octets: int
    packets: int


Seens = Counter[Seen]


def write_capture(path: Path, datagrams: Iterable[tuple[str, int, bytes]], start_s: float = 1_700_000_000.0) -> Path:
    """Payloads with their exporter's address and port, a hundredth of a second apart, as a raw IP capture."""
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, linktype=101)
        for number, (address, port, payload) in enumerate(datagrams):
            segment = struct.pack(">HHHH", port, COLLECTOR_PORT, 8 + len(payload), 0) + payload
            ends = socket.inet_aton(address) + socket.inet_aton("127.0.0.1")
            head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, 17, 0) + ends
            writer.writepkt(head + segment, start_s + number / 100)
    return path


def datagrams_of(capture: Path) -> Iterator[tuple[str, int, bytes]]:
    """Exporter's address and port, and payload."""
    with capture.open("rb") as file:
        reader = dpkt.pcap.Reader(file)
        for _, frame in reader:
            packet = dpkt.ip.IP(frame) if reader.datalink() == 101 else dpkt.ethernet.Ethernet(frame).data
            yield socket.inet_ntoa(packet.src), packet.data.sport, bytes(packet.data.data)


def seen_by_nfdump(capture: Path, folder: Path, nfdump: str) -> Seens:
    """Sends everything to nfcapd over loopback, never more than it has read; exporters have addresses of 127/8."""
    port = free_port()
    nfcapd = [str(Path(nfdump).with_name("nfcapd")), "-b", "127.0.0.1", "-p", str(port), "-w", str(folder), "-t", "86400"]
    with subprocess.Popen(nfcapd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as collector:
        try:
            wait_until(lambda: octets_waiting(port) is not None, "nfcapd listens")
            _send_slowly(datagrams_of(capture), port)
        finally:
            collector.terminate()
    command = [nfdump, "-R", str(folder), "-q", "-N", "-o", "fmt:%ra,%in,%out,%byt,%pkt"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    cells = [[cell.strip() for cell in line.split(",")] for line in lines if line.count(",") == 4]
    return Counter(Seen(exporter, *map(int, numbers)) for exporter, *numbers in cells)


def seen_by_tshark(capture: Path, tshark: str) -> Seens:
    """Values of a datagram come field by field: they are a table where all lists are of one length."""
    fields = ("cflow.inputint", "cflow.outputint", "cflow.octets", "cflow.packets")
    command = [tshark, "-n", "-r", str(capture), "-d", f"udp.port=={COLLECTOR_PORT},cflow", "-T", "fields", "-E", "aggregator=,"]
    for field in ("ip.src", *fields):
        command += ["-e", field]
    seen = Seens()
    for line in subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines():
        exporter, *lists = line.split("\t")
        columns = [[int(value) for value in cell.split(",")] if cell else [] for cell in lists]
        if len(set(map(len, columns))) == 1:
            seen.update(Seen(exporter, *values) for values in zip(*columns, strict=True))
    return seen


def samples_seen_by_tshark(capture: Path, tshark: str) -> tuple[Counter[tuple[str, int, int]], Counter[tuple[str, int]]]:
    """Samples of sFlow by (exporter, in, out), and sampled packets by (exporter, octets); the capture's own packets are IPv4."""
    fields = ("sflow.flow_sample.input_interface", "sflow.flow_sample.output_interface_value", "ip.len", "ipv6.plen")
    command = [tshark, "-n", "-r", str(capture), "-d", f"udp.port=={COLLECTOR_PORT},sflow", "-Y", "sflow", "-T", "fields"]
    for field in ("ip.src", *fields):
        command += ["-e", field]
    interfaces, octets = Counter[tuple[str, int, int]](), Counter[tuple[str, int]]()
    for line in subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines():
        source, *lists = line.split("\t")
        exporter = source.split(",")[0]
        ins, outs, lengths, payloads = ([int(value) for value in cell.split(",")] if cell else [] for cell in lists)
        interfaces.update((exporter, *pair) for pair in zip(ins, outs, strict=True))
        octets.update((exporter, length) for length in (*lengths[1:], *(length + 40 for length in payloads)))
    return interfaces, octets


def _send_slowly(datagrams: Iterable[tuple[str, int, bytes]], port: int) -> None:
    sockets: dict[str, socket.socket] = {}
    try:
        for address, _, payload in datagrams:
            if address not in sockets:
                sockets[address] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sockets[address].bind((address, 0))
            sockets[address].sendto(payload, ("127.0.0.1", port))
            _wait_until_read(port)
    finally:
        for each in sockets.values():
            each.close()


def _wait_until_read(port: int) -> None:
    until = time.monotonic() + 20
    while octets_waiting(port):
        assert time.monotonic() < until
        time.sleep(0.0005)


def octets_waiting(port: int) -> int | None:
    """Octets that wait in the UDP socket of a port, None where there is no socket."""
    for line in Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == port:
            return int(fields[4].partition(":")[2], 16)
    return None
