"""Nodes and their interfaces as a source tells them, and sources merged by precedence.

In: the nodes of each source, most trusted source first. Out: one list of nodes. Refuses to know sources, files and flows.
"""

import ipaddress
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, TypeVar

from common.addresses import pack_address

INTERNAL: Final = "internal"
EXTERNAL: Final = "external"
SIDES: Final = (INTERNAL, EXTERNAL)


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface of a node; None is not known. `speed` is in bit/s, `side` one of SIDES."""

    index: int
    name: str | None = None
    alias: str | None = None
    speed: int | None = None
    side: str | None = None


@dataclass(frozen=True, slots=True)
class Vrf:
    """One table of routes of a node, by the id that its flows carry."""

    index: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One device. `addresses` are text; with `location` None it is the same node at every location."""

    foreign_source: str | None = None
    foreign_id: str | None = None
    node_id: int | None = None
    label: str | None = None
    location: str | None = None
    vendor: str | None = None
    categories: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    vrfs: tuple[Vrf, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something of a source that could not be used: the place in it, and one sentence."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a source gave, and what of it could not be used."""

    nodes: tuple[Node, ...]
    problems: tuple[Problem, ...] = ()


_JOINED: Final = ("categories", "addresses", "interfaces", "vrfs")
T = TypeVar("T", Node, Interface, Vrf)
N = TypeVar("N", Interface, Vrf)


def merge(sources: Iterable[Iterable[Node]]) -> list[Node]:
    """The nodes of all sources. Two are one device if they have the same foreign source and id, or an address and a location.

    What a more trusted source says holds; a less trusted one fills what is left open, and adds categories, addresses and
    interfaces. A node without a location is found by its address whatever the location of the other one.
    """
    merged: list[Node] = []
    places: dict[Hashable, int] = {}
    for nodes in sources:
        for node in nodes:
            known = (places[key] for key in _sought(node) if key in places)
            place = next((place for place in known if _may_be_one(merged[place], node)), len(merged))
            if place == len(merged):
                merged.append(node)
            else:
                merged[place] = _joined(merged[place], node)
            for key in _found_by(merged[place]):
                places.setdefault(key, place)
    return merged


def canonical(address: str) -> str:
    """One spelling per address: 16 octets as hexadecimal digits; raises ValueError."""
    return pack_address(address).hex()


def is_address(text: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _sought(node: Node) -> Iterator[Hashable]:
    """Where the same device may be already, the surest first."""
    if node.foreign_source is not None and node.foreign_id is not None:
        yield node.foreign_source, node.foreign_id, "id"
    for address in map(canonical, node.addresses):
        if node.location is None:
            yield address, "anywhere"
        else:
            yield address, node.location, "at"
            yield address, None, "at"


def _found_by(node: Node) -> Iterator[Hashable]:
    if node.foreign_source is not None and node.foreign_id is not None:
        yield node.foreign_source, node.foreign_id, "id"
    for address in map(canonical, node.addresses):
        yield address, "anywhere"
        yield address, node.location, "at"


def _may_be_one(known: Node, node: Node) -> bool:
    """One source does not tell of one device under two ids; an address that two of its nodes have stays with the first."""
    return known.foreign_source != node.foreign_source or known.foreign_source is None or known.foreign_id == node.foreign_id


def _joined(trusted: Node, other: Node) -> Node:
    categories = dict.fromkeys((*trusted.categories, *other.categories))
    addresses = dict.fromkeys((*trusted.addresses, *other.addresses))
    return replace(
        _filled(trusted, other),
        categories=tuple(categories),
        addresses=tuple(addresses),
        interfaces=_numbered(trusted.interfaces, other.interfaces),
        vrfs=_numbered(trusted.vrfs, other.vrfs),
    )


def _numbered(trusted: Sequence[N], other: Sequence[N]) -> tuple[N, ...]:
    by_index = {each.index: each for each in trusted}
    for each in other:
        known = by_index.get(each.index)
        by_index[each.index] = each if known is None else _filled(known, each)
    return tuple(by_index[index] for index in sorted(by_index))


def _filled(trusted: T, other: T) -> T:
    """`trusted`, with what it leaves open from `other`."""
    names = (field.name for field in fields(trusted) if field.name not in _JOINED)
    return replace(trusted, **{name: getattr(other, name) for name in names if getattr(trusted, name) is None})
