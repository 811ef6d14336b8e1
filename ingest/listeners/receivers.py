"""All listeners of a collector as one: datagrams over UDP, messages over TCP and TLS, into one queue.

In: the settings. Out: chunks, and totals of everything that did not become one.
"""

import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.clock import Clock
from common.config import Listener
from common.errors import ConfigError
from ingest.chunks import ChunkQueue
from ingest.listeners.dispensing import DISPENSED
from ingest.listeners.sources import Identify
from ingest.listeners.tcp import StreamReceiver
from ingest.listeners.udp import UdpReceiver


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one listener listens, its port resolved."""

    transport: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.transport}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class Receivers:
    """Opened and closed together; totals only rise."""

    def __init__(self, listeners: Sequence[Listener], queue: ChunkQueue, clock: Clock, identify: Identify) -> None:
        self._listeners = tuple(listeners)
        self._udp = UdpReceiver([each for each in listeners if each.transport == "udp"], queue, clock, identify)
        streams = [each for each in listeners if each.transport != "udp"]
        self._streams = StreamReceiver(streams, queue, clock, identify) if streams else None
        self._opened = False
        self.taken_drops: Callable[[], Counter[bytes]] = self._udp.taken_drops

    def open(self, inherited: Sequence[int] = ()) -> None:
        """Bind everything; raises ConfigError with every listener that failed, and leaves nothing open then.

        `inherited` are descriptors of sockets that a parent process has bound, one per listener, DISPENSED where it did without.
        """
        sockets = [None if number == DISPENSED else socket.socket(fileno=number) for number in inherited]
        for each in sockets:
            if each is not None:
                each.setblocking(False)
        pairs = list(zip(self._listeners, sockets, strict=True)) if sockets else []
        adopted = {kind: [each for listener, each in pairs if (listener.transport == "udp") is kind] for kind in (True, False)}
        faults: list[str] = []
        parts: list[UdpReceiver | StreamReceiver] = [self._udp, *([self._streams] if self._streams else [])]
        opened: list[UdpReceiver | StreamReceiver] = []
        for part in parts:
            try:
                part.open(adopted[part is self._udp])
                opened.append(part)
            except ConfigError as error:
                faults.extend(error.problems)
        if faults:
            for part in opened:
                part.close()
            raise ConfigError(faults)
        self._opened = True

    def start(self) -> None:
        """Begin to receive."""
        self._udp.start()
        if self._streams:
            self._streams.start()

    def stop(self) -> None:
        """Take what has arrived, then close."""
        if self._streams:
            self._streams.stop()
        self._udp.stop()

    def close(self) -> None:
        """Let go of everything, after `open` alone."""
        self._udp.close()
        if self._streams:
            self._streams.close()

    def replace_identify(self, identify: Identify) -> None:
        """Judge sources by other settings from now on."""
        self._udp.replace_identify(identify)
        if self._streams:
            self._streams.replace_identify(identify)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Those that are open, in the order of the settings; none before."""
        if not self._opened:
            return ()
        pairs = list(zip(self._udp.opened, self._udp.addresses, strict=True))
        if self._streams:
            pairs += zip(self._streams.opened, self._streams.addresses, strict=True)
        order = {id(listener): number for number, listener in enumerate(self._listeners)}
        pairs.sort(key=lambda pair: order[id(pair[0])])
        return tuple(Endpoint(listener.transport, *address) for listener, address in pairs)

    @property
    def received(self) -> int:
        """Datagrams and messages taken."""
        return self._udp.received + (self._streams.received if self._streams else 0)

    @property
    def socket_drops(self) -> int:
        """What the kernel dropped."""
        return self._udp.socket_drops

    @property
    def queue_drops(self) -> int:
        """What did not fit into the queue."""
        return self._udp.queue_drops

    @property
    def refused(self) -> int:
        """Datagrams from networks that are not allowed."""
        return self._udp.refused

    @property
    def refused_sources(self) -> dict[bytes, int]:
        """Datagrams of some of those sources, so that an operator finds the exporter that is missing."""
        return dict(self._udp.refused_sources)

    @property
    def errors(self) -> int:
        """Failed receive and accept calls."""
        return self._udp.errors + (self._streams.errors if self._streams else 0)

    @property
    def alive(self) -> bool:
        """Whether all threads run."""
        return self._udp.alive and (self._streams is None or self._streams.alive)

    @property
    def endings(self) -> dict[str, int]:
        """Connections by how they ended."""
        return dict(self._streams.endings) if self._streams else {}
