"""What MIB-2 says of a device: names, vendor, interfaces, addresses.

In: values by object identifier, as walked (SNMPv2-MIB, IF-MIB RFC 2863, IP-MIB RFC 4293). Out: a node. Refuses to know how they
were fetched. Values that make no sense are left out.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Final

from inventory.model import Interface, Node

Oid = tuple[int, ...]
Value = bytes | int | Oid

_MIB_2: Final = (1, 3, 6, 1, 2, 1)
SYS_OBJECT_ID: Final = (*_MIB_2, 1, 2, 0)
SYS_NAME: Final = (*_MIB_2, 1, 5, 0)
SCALARS: Final = (SYS_OBJECT_ID, SYS_NAME)

_IF_DESCR: Final = (*_MIB_2, 2, 2, 1, 2)
_IF_SPEED: Final = (*_MIB_2, 2, 2, 1, 5)
_IF_NAME: Final = (*_MIB_2, 31, 1, 1, 1, 1)
_IF_HIGH_SPEED: Final = (*_MIB_2, 31, 1, 1, 1, 15)
_IF_ALIAS: Final = (*_MIB_2, 31, 1, 1, 1, 18)
_IP_AD_ENT_ADDR: Final = (*_MIB_2, 4, 20, 1, 1)
_IP_ADDRESS_IF_INDEX: Final = (*_MIB_2, 4, 34, 1, 3)
_IPV6: Final = (2, 16)
TABLES: Final = (_IF_DESCR, _IF_SPEED, _IF_NAME, _IF_HIGH_SPEED, _IF_ALIAS, _IP_AD_ENT_ADDR, _IP_ADDRESS_IF_INDEX)

_ENTERPRISES: Final = (1, 3, 6, 1, 4, 1)
_MEGABIT: Final = 1_000_000
_SPEED_OVERFLOW: Final = (1 << 32) - 1
"""What ifSpeed says when ifHighSpeed must be asked (RFC 2863)."""

VENDORS: Final = {
    9: "Cisco", 11: "HP", 43: "3Com", 94: "Nokia", 193: "Ericsson", 207: "Allied Telesis", 311: "Microsoft", 343: "Intel",
    674: "Dell", 789: "NetApp", 1588: "Brocade", 1916: "Extreme", 1991: "Foundry",
    2011: "Huawei", 2021: "UCD-SNMP", 2620: "Check Point",
    2636: "Juniper", 3375: "F5", 3902: "ZTE", 4526: "Netgear", 4881: "Ruijie", 5624: "Enterasys", 5951: "Citrix", 6027: "Force10",
    6486: "Alcatel-Lucent Enterprise", 6527: "Nokia", 6876: "VMware", 8072: "Net-SNMP", 8741: "SonicWall", 12356: "Fortinet",
    14179: "Cisco", 14823: "Aruba", 14988: "MikroTik", 17163: "Riverbed", 21839: "Viprinet", 25053: "Ruckus", 25461: "Palo Alto",
    25506: "H3C", 29671: "Meraki", 30065: "Arista", 33049: "Mellanox", 40310: "Cumulus", 41112: "Ubiquiti", 47196: "Aruba",
}  # fmt: skip
"""By private enterprise number, as assigned by IANA."""


def node_of(address: str, location: str | None, values: Mapping[Oid, Value]) -> Node:
    """The device that was asked at `address`."""
    return Node(
        label=_text(values.get(SYS_NAME)),
        location=location,
        vendor=vendor_of(values.get(SYS_OBJECT_ID)),
        addresses=tuple(dict.fromkeys((address, *_addresses(values)))),
        interfaces=tuple(_interfaces(values)),
    )


def vendor_of(object_id: Value | None) -> str | None:
    """The vendor of a sysObjectID; an enterprise that is not in the table is named by its number."""
    depth = len(_ENTERPRISES)
    if not isinstance(object_id, tuple) or object_id[:depth] != _ENTERPRISES or len(object_id) == depth:
        return None
    return VENDORS.get(object_id[depth], f"enterprise {object_id[depth]}")


def _interfaces(values: Mapping[Oid, Value]) -> Iterator[Interface]:
    columns = {column: dict(_column(values, column)) for column in (_IF_DESCR, _IF_SPEED, _IF_NAME, _IF_HIGH_SPEED, _IF_ALIAS)}
    for index in sorted({row[0] for rows in columns.values() for row in rows if len(row) == 1}):
        row = (index,)
        name = _text(columns[_IF_NAME].get(row)) or _text(columns[_IF_DESCR].get(row))
        speed = _speed(columns[_IF_HIGH_SPEED].get(row), columns[_IF_SPEED].get(row))
        yield Interface(index, name, _text(columns[_IF_ALIAS].get(row)), speed)


def _speed(high: Value | None, low: Value | None) -> int | None:
    """Bits per second; 0 means that the device does not say."""
    if isinstance(low, int) and 0 < low < _SPEED_OVERFLOW and not (isinstance(high, int) and high * _MEGABIT > low):
        return low
    return high * _MEGABIT if isinstance(high, int) and high > 0 else None


def _addresses(values: Mapping[Oid, Value]) -> Iterator[str]:
    """Unicast addresses that tell this device from others: no loopback, no link-local ones."""
    for row, _ in _column(values, _IP_AD_ENT_ADDR):
        yield from _usable(row, 4)
    for row, _ in _column(values, _IP_ADDRESS_IF_INDEX):
        if row[:2] == _IPV6:
            yield from _usable(row[2:], 16)


def _usable(octets: Oid, length: int) -> Iterator[str]:
    if len(octets) == length and all(octet < 256 for octet in octets):
        address = ipaddress.ip_address(bytes(octets))
        if not (address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast):
            yield str(address)


def _column(values: Mapping[Oid, Value], column: Oid) -> Iterator[tuple[Oid, Value]]:
    for oid, value in values.items():
        if oid[: len(column)] == column:
            yield oid[len(column) :], value


def _text(value: Value | None) -> str | None:
    """Text of an octet string; devices send ASCII, UTF-8, or what they like."""
    if not isinstance(value, bytes):
        return None
    return value.decode("utf-8", "replace").replace("\0", "").strip() or None
