"""Interfaces and VRFs as exporters name them in options data (IANA elements 10, 82 and 83; 234 to 236).

In: a file of NDJSON, one record per line: exporter, location, index, name, alias; or the names page of a collector, a JSON list of
exporter, kind, id, name, description. Out: a node per exporter, known by its address only. Later records hold over earlier ones:
exporters repeat themselves.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import InputError
from inventory.http import HttpAccess, SourceError
from inventory.model import Gathered, Interface, Node, Problem, Vrf, canonical
from inventory.records import Json, is_record


@dataclass(frozen=True, slots=True)
class Named:
    """What one options record says of an interface or VRF; `exporter` is an address as text."""

    exporter: str
    location: str | None
    item: Interface | Vrf


@dataclass(frozen=True, slots=True)
class OptionsFile:
    """A file of options records."""

    path: Path

    def gather(self) -> Gathered:
        """Its exporters; raises InputError if it cannot be read."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path}: cannot be read: {error}") from error
        problems: list[Problem] = []
        return Gathered(nodes_of(_records(lines, str(self.path), problems)), tuple(problems))


@dataclass(frozen=True, slots=True)
class OptionsPage:
    """The names that a collector has from its exporters; all of them are at one location."""

    url: str
    access: HttpAccess
    location: str | None = None

    def gather(self) -> Gathered:
        """Its exporters; raises SourceError if the page cannot be had."""
        page = self.access.get(self.url)
        if isinstance(page, str) or not isinstance(page, Sequence):
            raise SourceError(f"{self.url}: answer is no list")
        problems: list[Problem] = []
        named: list[Named] = []
        for number, row in enumerate(page):
            try:
                named += [_named(row, self.location)] if is_record(row) and row.get("kind") in ("interface", "vrf") else []
            except ValueError as error:
                problems.append(Problem(f"{self.url}: [{number}]", str(error)))
        return Gathered(nodes_of(named), tuple(problems))


def nodes_of(records: Iterable[Named]) -> tuple[Node, ...]:
    """One node per exporter and location, in the order of their coming."""
    found: dict[tuple[str, str | None], dict[tuple[type, int], Interface | Vrf]] = {}
    for record in records:
        found.setdefault((record.exporter, record.location), {})[type(record.item), record.item.index] = record.item
    return tuple(_node(exporter, location, items.values()) for (exporter, location), items in found.items())


def _node(exporter: str, location: str | None, items: Iterable[Interface | Vrf]) -> Node:
    ordered = sorted(items, key=lambda each: each.index)
    return Node(
        location=location,
        addresses=(exporter,),
        interfaces=tuple(each for each in ordered if isinstance(each, Interface)),
        vrfs=tuple(each for each in ordered if isinstance(each, Vrf)),
    )


def _records(lines: Iterable[str], where: str, problems: list[Problem]) -> Iterator[Named]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value: Any = json.loads(line)
            if not is_record(value):
                raise ValueError("must be an object")
            yield _record(value)
        except ValueError as error:
            problems.append(Problem(f"{where}: line {number}", str(error)))


def _named(row: Mapping[str, Json], location: str | None) -> Named:
    identifier, texts = row.get("id"), {"name": row.get("name"), "alias": row.get("description") or None}
    index = int(identifier) if isinstance(identifier, str) and identifier.isdecimal() else None
    named = _record({"exporter": row.get("exporter"), "location": location, "index": index, **texts})
    return named if row.get("kind") == "interface" else replace(named, item=Vrf(named.item.index, named.item.name))


def _record(value: Mapping[str, Json]) -> Named:
    exporter, index, location = value.get("exporter"), value.get("index"), value.get("location")
    if not isinstance(exporter, str) or not isinstance(index, int) or not 0 <= index < 1 << 32:
        raise ValueError("needs an exporter's address and an index")
    canonical(exporter)
    name, alias = value.get("name"), value.get("alias")
    interface = Interface(index, name if isinstance(name, str) else None, alias if isinstance(alias, str) else None)
    return Named(exporter, location if isinstance(location, str) else None, interface)
