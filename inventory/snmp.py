"""Devices asked over SNMP: v2c with several communities, v3; so many at a time, and those that fail ever more rarely.

In: targets and credentials. Out: a node per device that ever answered. A device that fails keeps its last answer and rests, twice
as long each time. Refuses to know what the values mean (`inventory.mib`).
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pysnmp.hlapi.v3arch import asyncio as snmp  # type: ignore[import-untyped]

from common.errors import InputError
from inventory.mib import SCALARS, TABLES, Oid, Value, node_of
from inventory.model import Gathered, Node, Problem, is_address
from inventory.settings import SnmpSource, SnmpUser, secret

PORT: Final = 161
_REPETITIONS: Final = 25
_MOST_VALUES: Final = 500_000
"""A device that never ends a table is cut off here; a chassis with 20,000 interfaces has 140,000 values."""

_AUTH: Final = {
    "none": snmp.USM_AUTH_NONE,
    "md5": snmp.USM_AUTH_HMAC96_MD5,
    "sha": snmp.USM_AUTH_HMAC96_SHA,
    "sha224": snmp.USM_AUTH_HMAC128_SHA224,
    "sha256": snmp.USM_AUTH_HMAC192_SHA256,
    "sha384": snmp.USM_AUTH_HMAC256_SHA384,
    "sha512": snmp.USM_AUTH_HMAC384_SHA512,
}
_PRIVACY: Final = {
    "none": snmp.USM_PRIV_NONE,
    "des": snmp.USM_PRIV_CBC56_DES,
    "aes": snmp.USM_PRIV_CFB128_AES,
    "aes192": snmp.USM_PRIV_CFB192_AES,
    "aes256": snmp.USM_PRIV_CFB256_AES,
}

Credential = Any
"""CommunityData or UsmUserData of pysnmp."""


class SnmpError(InputError):
    """A device that does not answer, or with an error."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a device answers."""

    address: str
    port: int = PORT

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(slots=True)
class Device:
    """How one device fares. `credential` is the one that worked last; it is not asked before `rest_until_s`."""

    target: Target
    location: str | None = None
    node: Node | None = None
    credential: int = 0
    failures: int = 0
    rest_until_s: float = 0.0
    problem: str = ""


@dataclass(slots=True)
class SnmpPoller:
    """All devices of one source; build with `poller_of`."""

    settings: SnmpSource
    devices: list[Device]
    credentials: Sequence[Credential] = field(repr=False)
    clock: Callable[[], float] = time.monotonic

    def follow(self, nodes: Iterable[Node]) -> None:
        """Ask these nodes too, and those of earlier calls no longer, if the settings say so."""
        if not self.settings.nodes:
            return
        wanted = {Target(node.addresses[0]): node.location for node in nodes if node.addresses}
        configured = {parse_target(target) for target in self.settings.targets}
        kept = [device for device in self.devices if device.target in configured or device.target in wanted]
        known = {device.target for device in kept}
        self.devices = kept + [Device(target, location) for target, location in wanted.items() if target not in known]

    def recall(self, nodes: Sequence[Node]) -> None:
        """Take former answers for devices that have none yet."""
        known = {address: node for node in nodes for address in node.addresses[:1]}
        for device in self.devices:
            device.node = device.node or known.get(device.target.address)

    def gather(self) -> Gathered:
        """Ask every device that does not rest. Those that fail are problems; their last answers stay."""
        asyncio.run(self._poll_all())
        problems = tuple(Problem(f"snmp {device.target}", device.problem) for device in self.devices if device.problem)
        return Gathered(tuple(device.node for device in self.devices if device.node), problems)

    async def _poll_all(self) -> None:
        engine, gate = snmp.SnmpEngine(), asyncio.Semaphore(self.settings.concurrency)
        now = self.clock()

        async def poll(device: Device) -> None:
            async with gate:
                await self._poll(engine, device)

        try:
            await asyncio.gather(*(poll(device) for device in self.devices if device.rest_until_s <= now))
        finally:
            engine.close_dispatcher()

    async def _poll(self, engine: Any, device: Device) -> None:
        try:
            values = await self._values(engine, device)
        except SnmpError as error:
            device.failures += 1
            rest_s = min(self.settings.backoff_s * 2.0 ** min(device.failures - 1, 32), self.settings.backoff_most_s)
            device.rest_until_s = self.clock() + rest_s
            device.problem = f"{error}; asked again after {rest_s:.0f} s"
            return
        device.failures, device.problem = 0, ""
        device.node = node_of(device.target.address, device.location, values)

    async def _values(self, engine: Any, device: Device) -> Mapping[Oid, Value]:
        """Everything that the device says, with the first credential that it accepts."""
        transport = await self._transport(device.target)
        values: dict[Oid, Value] = {}
        error = SnmpError("no community or user is configured")
        for turn in range(len(self.credentials)):
            number = (device.credential + turn) % len(self.credentials)
            try:
                values |= await _get(engine, self.credentials[number], transport)
            except SnmpError as refused:
                error = refused
                continue
            device.credential = number
            for table in TABLES:
                await _walk(engine, self.credentials[number], transport, table, values)
            return values
        raise error

    async def _transport(self, target: Target) -> Any:
        kind = snmp.Udp6TransportTarget if ":" in target.address else snmp.UdpTransportTarget
        return await kind.create((target.address, target.port), timeout=self.settings.timeout_s, retries=self.settings.retries)


def poller_of(settings: SnmpSource, clock: Callable[[], float] = time.monotonic) -> SnmpPoller:
    """The poller of a source; raises ConfigError for secrets that are not set, InputError for targets that are no addresses."""
    users = [_user(user) for user in settings.users]
    communities = [snmp.CommunityData(secret(variable), mpModel=1) for variable in settings.communities_env]
    devices = [Device(parse_target(target), settings.location) for target in settings.targets]
    return SnmpPoller(settings, devices, [*users, *communities], clock)


def parse_target(text: str) -> Target:
    """ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT; raises InputError."""
    if is_address(text):
        return Target(text)
    address, _, port = text.rpartition(":")
    address = address.removeprefix("[").removesuffix("]")
    if not is_address(address) or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise InputError(f"'{text}' is no ADDRESS or ADDRESS:PORT to ask over SNMP")
    return Target(address, int(port))


def _user(user: SnmpUser) -> Credential:
    return snmp.UsmUserData(
        user.user,
        secret(user.auth_key_env) or None,
        secret(user.privacy_key_env) or None,
        authProtocol=_AUTH[user.auth],
        privProtocol=_PRIVACY[user.privacy],
    )


async def _get(engine: Any, credential: Credential, transport: Any) -> dict[Oid, Value]:
    asked = [snmp.ObjectType(snmp.ObjectIdentity(oid)) for oid in SCALARS]
    fault, status, _, bound = await snmp.get_cmd(engine, credential, transport, snmp.ContextData(), *asked, lookupMib=False)
    _check(fault, status)
    return dict(_plain(bound))


async def _walk(engine: Any, credential: Credential, transport: Any, table: Oid, values: dict[Oid, Value]) -> None:
    root = snmp.ObjectType(snmp.ObjectIdentity(table))
    walk = snmp.bulk_walk_cmd(
        engine, credential, transport, snmp.ContextData(), 0, _REPETITIONS, root, lookupMib=False, lexicographicMode=False
    )
    async for fault, status, _, bound in walk:
        _check(fault, status)
        values.update(_plain(bound))
        if len(values) > _MOST_VALUES:
            raise SnmpError(f"more than {_MOST_VALUES} values")


def _check(fault: Any, status: Any) -> None:
    if fault or status:
        raise SnmpError(str(fault) if fault else f"error {status.prettyPrint()}")


def _plain(bound: Any) -> list[tuple[Oid, Value]]:
    """Values as octets, numbers and object identifiers; what the device does not have is left out."""
    found: list[tuple[Oid, Value]] = []
    for name, value in bound:
        if isinstance(value, snmp.OctetString | snmp.IpAddress):
            found.append((tuple(name), value.asOctets()))
        elif isinstance(value, snmp.Integer | snmp.Integer32 | snmp.Unsigned32 | snmp.Counter64):
            found.append((tuple(name), int(value)))
        elif hasattr(value, "asTuple"):
            found.append((tuple(name), value.asTuple()))
    return found
