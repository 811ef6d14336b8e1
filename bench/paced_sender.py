"""The paced sender of the ingest benchmarks: a process of its own that plays exporters over loopback, in real time.

In: a protocol; then rates, seconds and a port as often as one likes. Out: how many datagrams were sent, and in what time. Each
exporter has a socket and a loopback address of its own; the packets are made once and come round.

    PYTHONPATH=.:proto python -m bench.paced_sender PROTOCOL     (asked and answered in lines of JSON)
"""

import json
import os
import socket
import subprocess
import sys
import time
from typing import Final

from bench.packets import Mix, make_packets, make_sflow

RECORDS: Final = {"v5": 24, "v9": 24, "ipfix": 24, "sflow": 7}
"""Flows per datagram."""
_EXPORTERS: Final = 50
_PACKETS: Final = 20_000
_STEP_S: Final = 0.002

Packets = list[tuple[bytes, bytes]]


class Sender:
    """The process; its packets are made when the constructor returns."""

    def __init__(self, protocol: str) -> None:
        command = [sys.executable, "-m", "bench.paced_sender", protocol]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.protocol = protocol
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self._answer()

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def send(self, flows_per_s: float, seconds: float, port: int) -> tuple[int, float]:
        """Send to a port of loopback; datagrams, and seconds that it took."""
        assert self._process.stdin is not None
        print(json.dumps([flows_per_s, seconds, port]), file=self._process.stdin, flush=True)
        sent, elapsed_s = json.loads(self._answer())
        return int(sent), float(elapsed_s)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def packets_of(protocol: str) -> tuple[Packets, Packets]:
    """Templates and data, each with its exporter."""
    if protocol == "sflow":
        return [], make_sflow(_PACKETS, RECORDS[protocol], _EXPORTERS)
    return make_packets(Mix(protocol, _PACKETS, RECORDS[protocol], exporters=_EXPORTERS))


def _send(templates: Packets, data: Packets, packets_per_s: float, seconds: float, port: int) -> tuple[int, float]:
    places = {exporter: number for number, exporter in enumerate(dict.fromkeys(exporter for exporter, _ in data))}
    sockets = []
    for number in range(len(places)):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((f"127.0.{1 + number // 250}.{1 + number % 250}", 0))
        udp.connect(("127.0.0.1", port))
        sockets.append(udp)
    for exporter, payload in templates:
        sockets[places[exporter]].send(payload)
    ready = [(sockets[places[exporter]], payload) for exporter, payload in data]
    sent, started = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - started) < seconds:
        for number in range(sent, int(elapsed_s * packets_per_s)):
            udp, payload = ready[number % len(ready)]
            udp.send(payload)
        sent = max(sent, int(elapsed_s * packets_per_s))
        time.sleep(_STEP_S)
    for udp in sockets:
        udp.close()
    return sent + len(templates), elapsed_s


def main(protocol: str) -> None:
    """Answer until the input ends."""
    templates, data = packets_of(protocol)
    print("ready", flush=True)
    for line in sys.stdin:
        flows_per_s, seconds, port = json.loads(line)
        answer = _send(templates, data, flows_per_s / RECORDS[protocol], seconds, int(port))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
