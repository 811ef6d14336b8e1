"""A capture on the wire once more: the payloads of its datagrams to one UDP address.

In: datagrams of a capture, a target, a pace. Out: datagrams in the same order, and an account. A collector on this machine sees
exporters of 127.0.0.0/8 at their own addresses; all others share the address of the sender, since none can be borrowed. Octets are
sent as they are: times in them stay those of the capture. Refuses to know protocols and files.
"""

import errno
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from common.addresses import format_address
from common.errors import UsageError
from ingest.decoder import Datagram
from ingest.loadgen.outputs import Pace

MOST_SOCKETS: Final = 512
"""Sockets open at once; the one that was idle longest is closed for the next."""
_SOURCES_TOLD: Final = 65_536
_MAPPED: Final = bytes(10) + b"\xff\xff"
_LOOPBACK: Final = ipaddress.ip_network("127.0.0.0/8")


@dataclass(frozen=True, slots=True)
class Target:
    """Where datagrams go; `host` is an address."""

    family: socket.AddressFamily
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether exporters can show their own loopback addresses there."""
        return self.family == socket.AF_INET and ipaddress.ip_address(self.host) in _LOOPBACK

    def __str__(self) -> str:
        return f"udp://[{self.host}]:{self.port}" if self.family == socket.AF_INET6 else f"udp://{self.host}:{self.port}"


@dataclass(slots=True)
class Account:
    """What was sent. `sources` are exporters in the capture, of which `shown` have sent from their own addresses; `too_long` counts
    payloads that no datagram to this target can hold."""

    datagrams: int = 0
    octets: int = 0
    too_long: int = 0
    sources: set[bytes] = field(default_factory=set)
    shown: set[bytes] = field(default_factory=set)


def find_target(host: str, port: int) -> Target:
    """The target of a name or address (IPv6 in brackets), IPv4 before IPv6; raises UsageError."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise UsageError(f"udp://{host}:{port}: no address of that name: {error.strerror}") from error
    family, *_, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return Target(family, str(address[0]), port)


class Sources:
    """Sockets to send from: one for each loopback exporter where the target is loopback, and one for all others."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._own: OrderedDict[bytes, socket.socket] = OrderedDict()
        self._common = socket.socket(target.family, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for opened in (*self._own.values(), self._common):
            opened.close()

    def shows(self, exporter: bytes) -> bool:
        """Whether it sends from its own address."""
        return self._target.is_loopback and exporter[:12] == _MAPPED and exporter[12] == 127

    def socket_of(self, exporter: bytes) -> socket.socket:
        """The socket of an exporter; raises UsageError where the system gives none."""
        if not self.shows(exporter):
            return self._common
        known = self._own.get(exporter)
        if known is None:
            if len(self._own) >= MOST_SOCKETS:
                self._own.popitem(last=False)[1].close()
            known = self._own[exporter] = _bound(format_address(exporter))
        self._own.move_to_end(exporter)
        return known


def resend(
    datagrams: Iterable[Datagram], target: Target, pace_from: Callable[[int], Pace], note: Callable[[int, Account], None]
) -> Account:
    """Send until the end or until the pace says to stop. `pace_from` gets the time of the first datagram, `note` the time of each
    and the account so far; raises UsageError for what cannot be sent to."""
    account, pace = Account(), None
    with Sources(target) as sources:
        for datagram in datagrams:
            pace = pace or pace_from(datagram.received_ms)
            if not pace(datagram.received_ms):
                break
            _send(datagram, target, sources, account)
            note(datagram.received_ms, account)
    return account


def _send(datagram: Datagram, target: Target, sources: Sources, account: Account) -> None:
    try:
        sources.socket_of(datagram.exporter).sendto(datagram.payload, (target.host, target.port))
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise UsageError(f"{target}: cannot be sent to: {error.strerror}") from error
        account.too_long += 1
        return
    account.datagrams += 1
    account.octets += len(datagram.payload)
    if len(account.sources) < _SOURCES_TOLD:
        account.sources.add(datagram.exporter)
        if sources.shows(datagram.exporter):
            account.shown.add(datagram.exporter)


def _bound(address: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.bind((address, 0))
    except OSError as error:
        opened.close()
        raise UsageError(f"udp: no socket for exporter {address}: {error.strerror}") from error
    return opened
