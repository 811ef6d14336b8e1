"""UDP sockets: what exporters send, copied as fast as it comes and handed on in chunks.

In: the configured listeners. Out: chunks of (source, payload) into the queue of the decoding thread. One thread serves all
sockets and only copies. An exporter is its source address; the port is ignored, since exporters change it with every restart.
Whatever is not handed on is counted: by the kernel (its buffer was full) or here (the queue was full, the source is refused).
"""

import ipaddress
import logging
import selectors
import socket
import struct
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Final

from common.clock import Clock
from common.config import Listener
from common.errors import ConfigError
from common.logs import Limited
from ingest.chunks import Chunk, ChunkQueue
from ingest.listeners.bulk_receive import SLOTS, BulkReceiver, Taken, bulk_receiver
from ingest.listeners.dispensing import dispensable
from ingest.listeners.receiving import Receiving
from ingest.listeners.refusals import refusal
from ingest.listeners.sources import Identify

_IPV4_MAPPED: Final = bytes(10) + b"\xff\xff"
_KNOWN_SOURCES: Final = 1 << 14
_REFUSED_SOURCES: Final = 1_000
_LINGER_S: Final = 0.01
_FILL_BYTES_PER_S: Final = 100 << 20  # a small receive buffer is looked at before this much traffic fills it
_CHECK_S: Final = 0.1
_BUSY: Final = SLOTS // 2  # datagrams per round from which on the thread does not linger
_SO_RCVBUFFORCE: Final = 33  # Linux; needs CAP_NET_ADMIN
_SO_MEMINFO: Final = 55  # Linux 4.12
_MEMINFO: Final = struct.Struct("=9I")
_MEMINFO_DROPS: Final = 8
_log = Limited(logging.getLogger(__name__))


def open_socket(listener: Listener, shared: bool = False) -> socket.socket:
    """A bound, non-blocking UDP socket with the wanted receive buffer; raises ConfigError that names the listener.

    `shared` lets others of this user bind to the same port.
    """
    place = f"ingest.listeners: UDP {listener.host} port {listener.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(
            listener.host, listener.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
        udp = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        raise ConfigError([f"{place}: {error.strerror}"]) from error
    try:
        if family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if listener.host == "::" else 1)
        if shared:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if listener.receive_buffer_bytes:
            _widen(udp, listener.receive_buffer_bytes)
        udp.setblocking(False)
        udp.bind(address)
        if listener.group:
            _join(udp, listener.group)
    except OSError as error:
        udp.close()
        raise ConfigError([f"{place}: {refusal(error)}"]) from error
    return udp


def _join(udp: socket.socket, group: str) -> None:
    """Take part in a multicast group, on the interface that the routing table says."""
    packed = ipaddress.ip_address(group).packed
    if udp.family == socket.AF_INET:
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, packed + bytes(4))
    else:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + bytes(4))


def _widen(udp: socket.socket, octets: int) -> None:
    try:
        udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, octets)
    except OSError:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)
    granted = udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    if granted < octets:
        _log.warning("buffer", f"receive buffer of {granted // 2} octets, {octets} were asked for: raise net.core.rmem_max")


def kernel_drops(udp: socket.socket) -> int:
    """Datagrams that the kernel dropped on this socket since it was opened (32 bits, wraps); 0 where it does not say."""
    try:
        answer = udp.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    except OSError:
        return 0
    return int(_MEMINFO.unpack(answer)[_MEMINFO_DROPS]) if len(answer) == _MEMINFO.size else 0


class UdpReceiver(Receiving):
    """The receiving thread over all UDP sockets. Its totals only rise and are written by that thread alone."""

    def __init__(
        self, listeners: Sequence[Listener], queue: ChunkQueue, clock: Clock, identify: Identify = lambda source: source
    ) -> None:
        super().__init__("nephrite-receive", identify)
        self._listeners = tuple(listeners)
        self._queue = queue
        self._clock = clock
        self._receiver: BulkReceiver = bulk_receiver()
        self._sources: dict[bytes, bytes | None] = {}
        self._selector = selectors.DefaultSelector()
        self._drops_seen: dict[socket.socket, int] = {}
        self.opened: list[Listener] = []
        self.addresses: tuple[tuple[str, int], ...] = ()
        self.received = 0
        self._drops: Counter[bytes] = Counter()
        self._drops_lock = threading.Lock()
        self.queue_drops = 0
        self.refused = 0
        self.refused_sources: Counter[bytes] = Counter()
        self.socket_drops = 0
        self.errors = 0

    def open(self, inherited: Sequence[socket.socket | None] = ()) -> None:
        """Bind all sockets, so that nothing is missed from here on; raises ConfigError with every listener that failed.

        `inherited` are sockets that are bound already, one per listener, None for a listener to do without.
        """
        faults: list[str] = []
        for number, listener in enumerate(self._listeners):
            try:
                udp = inherited[number] if inherited else open_socket(listener)
            except ConfigError as error:
                if dispensable(listener, error):
                    continue
                faults.extend(error.problems)
                continue
            if udp is None:
                continue
            self._selector.register(udp, selectors.EVENT_READ)
            self._drops_seen[udp] = 0
            self.opened.append(listener)
        self.addresses = tuple(udp.getsockname()[:2] for udp in self._drops_seen)
        if faults:
            self.close()
            raise ConfigError(faults)

    def replace_identify(self, identify: Identify) -> None:
        """Judge sources anew from now on, those that are known, too."""
        super().replace_identify(identify)
        self._sources = {}

    def close(self) -> None:
        """Let go of the sockets."""
        self._selector.close()
        for udp in self._drops_seen:
            udp.close()

    def _run(self) -> None:
        granted = min((udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for udp in self._drops_seen), default=0)
        linger_s = min(_LINGER_S, granted / _FILL_BYTES_PER_S)
        while not self._stop_wanted.is_set():
            ready = [key.fileobj for key, _ in self._selector.select(_CHECK_S)]
            taken = sum(self._drain(udp) for udp in ready if isinstance(udp, socket.socket))
            self._count_kernel_drops()
            if 0 < taken < _BUSY:
                self._stop_wanted.wait(linger_s)
        for each in self._drops_seen:
            while self._drain(each):
                pass
        self._count_kernel_drops()

    def _drain(self, udp: socket.socket) -> int:
        """One receive call; how many datagrams it gave. An ICMP error from a former peer is no reason to stop."""
        try:
            taken = self._receiver.receive(udp)
        except OSError:
            self.errors += 1
            return 0
        if taken[0]:
            self._hand_on(taken)
        return len(taken[0])

    def _hand_on(self, taken: Taken) -> None:
        sources, payloads = taken
        self.received += len(sources)
        exporters = [self._canonical(source) for source in sources]
        kept = [exporter for exporter in exporters if exporter is not None]
        if len(kept) < len(exporters):
            self._note_refused([source for source, exporter in zip(sources, exporters, strict=True) if exporter is None])
            payloads = [payload for exporter, payload in zip(exporters, payloads, strict=True) if exporter is not None]
        if kept and not self._queue.put(Chunk(self._clock(), kept, payloads)):
            self.queue_drops += len(kept)
            with self._drops_lock:
                self._drops.update(kept)

    def _note_refused(self, sources: list[bytes]) -> None:
        self.refused += len(sources)
        for source in sources:
            address = source if len(source) == 16 else _IPV4_MAPPED + source
            if address in self.refused_sources or len(self.refused_sources) < _REFUSED_SOURCES:
                self.refused_sources[address] += 1

    def _canonical(self, source: bytes) -> bytes | None:
        """The exporter of a source, None when its network is refused; remembered, in bounded number."""
        known = self._sources
        try:
            return known[source]
        except KeyError:
            address = source if len(source) == 16 else _IPV4_MAPPED + source
            if len(known) >= _KNOWN_SOURCES:
                known.clear()
            return known.setdefault(source, self._identify(address))

    def taken_drops(self) -> Counter[bytes]:
        """By exporter, what did not fit into the queue since the last call."""
        with self._drops_lock:
            drops, self._drops = self._drops, Counter()
        return drops

    def _count_kernel_drops(self) -> None:
        """Add what the kernel dropped since the last call."""
        for udp, seen in self._drops_seen.items():
            now = kernel_drops(udp)
            self.socket_drops += (now - seen) & 0xFFFFFFFF
            self._drops_seen[udp] = now
