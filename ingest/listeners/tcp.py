"""IPFIX over TCP and TLS: connections of exporters, cut into messages and handed on like datagrams.

In: the configured listeners. Out: chunks of whole messages into the queue of the decoding thread, each with the session that it
came on, since templates live and end with their connection (RFC 7011 section 8). One thread serves all connections. A full queue
is no loss here: the connection is simply not read until there is room. Every connection's end is counted with its reason.
"""

import asyncio
import contextlib
import itertools
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from common.addresses import pack_address
from common.clock import Clock
from common.config import Listener
from common.errors import ConfigError
from ingest.chunks import Chunk, ChunkQueue
from ingest.listeners.dispensing import dispensable
from ingest.listeners.ipfix_stream import MessageSplitter
from ingest.listeners.receiving import Receiving
from ingest.listeners.refusals import refusal
from ingest.listeners.sources import Identify

_READ_BYTES: Final = 1 << 16
_BACKLOG: Final = 128
_FULL_PAUSE_S: Final = 0.02
_ACCEPT_PAUSE_S: Final = 0.1
_LAST_READ_S: Final = 0.1
_PROBES: Final = 4
HANDSHAKE_S: Final = 10.0
KEEPALIVE_S: Final = 60
"""A silent peer is asked whether it is still there after this time, and given up after as much again."""
_log = logging.getLogger(__name__)


class Ending(StrEnum):
    """Why a connection ended, or never began: label of `ingest_connections_total`."""

    CLOSED = "closed"
    RESET = "reset"
    MALFORMED = "malformed"
    CUT_OFF = "cut_off"
    REFUSED = "refused"
    TOO_MANY = "too_many"
    HANDSHAKE = "handshake_failed"
    STOPPED = "stopped"


class StreamReceiver(Receiving):
    """All TCP and TLS listeners. Its totals only rise and are written by its thread alone."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        queue: ChunkQueue,
        clock: Clock,
        identify: Identify = lambda source: source,
        handshake_s: float = HANDSHAKE_S,
        keepalive_s: int = KEEPALIVE_S,
    ) -> None:
        super().__init__("nephrite-tcp", identify)
        self._listeners = tuple(listeners)
        self._queue = queue
        self._clock = clock
        self._handshake_s = handshake_s
        self._keepalive_s = keepalive_s
        self._sessions = itertools.count(clock() * 1000 + 1)  # never one of a former process: its templates may be restored
        self._bound: list[tuple[Listener, socket.socket, ssl.SSLContext | None]] = []
        self._open_connections: Counter[int] = Counter()
        self._stopping = asyncio.Event()
        self.addresses: tuple[tuple[str, int], ...] = ()
        self.received = 0
        self.errors = 0
        self.endings: Counter[str] = Counter()

    def open(self, inherited: Sequence[socket.socket | None] = ()) -> None:
        """Bind all sockets and read all certificates; raises ConfigError with every listener that failed.

        `inherited` are sockets that listen already, one per listener, None for a listener to do without.
        """
        faults: list[str] = []
        for number, listener in enumerate(self._listeners):
            try:
                context = tls_context(listener) if listener.transport == "tls" else None
                bound = inherited[number] if inherited else bind_stream(listener)
                if bound is not None:
                    self._bound.append((listener, bound, context))
            except ConfigError as error:
                if not dispensable(listener, error):
                    faults.extend(error.problems)
        self.addresses = tuple(bound.getsockname()[:2] for _, bound, _ in self._bound)
        if faults:
            self.close()
            raise ConfigError(faults)

    @property
    def opened(self) -> list[Listener]:
        """The listeners that are open, in the order of `addresses`."""
        return [listener for listener, _, _ in self._bound]

    def close(self) -> None:
        """Let go of the sockets."""
        for _, bound, _ in self._bound:
            bound.close()

    def _run(self) -> None:
        asyncio.run(self._serve_all())

    async def _serve_all(self) -> None:
        async with asyncio.TaskGroup() as connections:
            accepting = [connections.create_task(self._accept(connections, *bound)) for bound in self._bound]
            await asyncio.to_thread(self._stop_wanted.wait)
            self._stopping.set()
            for task in accepting:
                task.cancel()

    async def _accept(
        self, connections: asyncio.TaskGroup, listener: Listener, bound: socket.socket, context: ssl.SSLContext | None
    ) -> None:
        number, loop = bound.fileno(), asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(bound)
            except OSError:  # out of descriptors, or the peer is gone already: neither may end the listener
                self.errors += 1
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            exporter = self._identify(pack_address(address[0].partition("%")[0]))
            if exporter is None:
                self._turn_away(connection, Ending.REFUSED)
            elif self._open_connections[number] >= listener.connections:
                self._turn_away(connection, Ending.TOO_MANY)
            else:
                self._open_connections[number] += 1
                connections.create_task(self._attend(number, connection, exporter, context))

    def _turn_away(self, connection: socket.socket, why: Ending) -> None:
        self.endings[why] += 1
        connection.close()

    async def _attend(self, number: int, connection: socket.socket, exporter: bytes, context: ssl.SSLContext | None) -> None:
        try:
            ending = await self._serve(connection, exporter, context)
        except OSError:
            ending = Ending.RESET
        self._open_connections[number] -= 1
        self.endings[ending] += 1

    async def _serve(self, connection: socket.socket, exporter: bytes, context: ssl.SSLContext | None) -> Ending:
        _ask_when_silent(connection, self._keepalive_s)
        reader = asyncio.StreamReader(_READ_BYTES)
        handshake_s = self._handshake_s if context else None
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader), connection, ssl=context, ssl_handshake_timeout=handshake_s
            )
        except (OSError, asyncio.IncompleteReadError):  # ssl.SSLError is an OSError
            connection.close()
            return Ending.HANDSHAKE
        session = next(self._sessions)
        try:
            ending = await self._read(reader, exporter, session)
        except (ConnectionError, TimeoutError, ssl.SSLError):
            ending = Ending.RESET
        await self._hand_on(Chunk(self._clock(), [exporter], [], session, ended=True))
        transport.abort() if ending is Ending.MALFORMED else transport.close()
        return ending

    async def _read(self, reader: asyncio.StreamReader, exporter: bytes, session: int) -> Ending:
        """Hand on messages until the stream ends, is no IPFIX, or the service stops."""
        splitter = MessageSplitter()
        while octets := await self._next(reader):
            messages, error = splitter.feed(octets)
            if messages:
                self.received += len(messages)
                await self._hand_on(Chunk(self._clock(), [exporter] * len(messages), messages, session))
            if error is not None:
                return Ending.MALFORMED
        if self._stopping.is_set() and not reader.at_eof():
            return Ending.STOPPED
        return Ending.CUT_OFF if splitter.held else Ending.CLOSED

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        """The next octets; once the service stops only what has arrived already."""
        reading = asyncio.ensure_future(reader.read(_READ_BYTES))
        if not self._stopping.is_set():
            stopping = asyncio.ensure_future(self._stopping.wait())
            await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
        try:
            return await asyncio.wait_for(reading, None if reading.done() else _LAST_READ_S)
        except TimeoutError:
            return b""

    async def _hand_on(self, chunk: Chunk) -> None:
        while not self._queue.put(chunk):
            await asyncio.sleep(_FULL_PAUSE_S)


def _ask_when_silent(connection: socket.socket, seconds: int) -> None:
    """Notice peers that are gone without a word; elsewhere than on Linux in the system's own time, which may be hours."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    times = {"TCP_KEEPIDLE": seconds, "TCP_KEEPINTVL": max(1, seconds // _PROBES), "TCP_KEEPCNT": _PROBES}
    for name, value in times.items():
        if option := getattr(socket, name, 0):
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def tls_context(listener: Listener) -> ssl.SSLContext:
    """Server side with client certificates (RFC 7011 section 11.3 wants both ends authenticated); raises ConfigError."""
    place = f"ingest.listeners: TLS {listener.host} port {listener.port}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(listener.certificate_file, listener.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"{place}: certificate {listener.certificate_file}: {error.strerror or error}"]) from error
    try:
        context.load_verify_locations(listener.client_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"{place}: client_ca_file {listener.client_ca_file}: {error.strerror or error}"]) from error
    return context


def bind_stream(listener: Listener) -> socket.socket:
    """A listening, non-blocking socket; raises ConfigError that names the listener."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            listener.host, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
        with contextlib.ExitStack() as undo:
            bound = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if listener.host == "::" else 1)
            bound.bind(address)
            bound.listen(_BACKLOG)
            bound.setblocking(False)
            undo.pop_all()
            return bound
    except OSError as error:
        where = f"{listener.transport.upper()} {listener.host} port {listener.port}"
        raise ConfigError([f"ingest.listeners: {where}: {refusal(error)}"]) from error
