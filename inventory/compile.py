"""Everything that was gathered, as the tables of one snapshot.

In: nodes, labels, systems and countries. Out: the Arrow tables of `columns.snapshot`, sorted for look-ups, and a version that is
the same whenever they are. Refuses to know sources.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from columns.ranges import AddressRange, Halves, build_range_table
from columns.snapshot import (
    ADDRESS,
    ANYWHERE,
    INTERFACE,
    LABELS,
    NODE,
    SYSTEM,
    TEXT,
    VRF,
    address_key,
    interface_key,
    range_columns,
    write_snapshot,
)
from common.addresses import pack_address
from inventory.labels import NO_LABELS, Labels
from inventory.maxmind import NO_COUNTRIES, NO_SYSTEMS, Located, System
from inventory.model import Interface, Node, Vrf

_VERSION_DIGITS: Final = 12
_LOW: Final = (1 << 64) - 1

Tables = dict[str, pa.Array]


@dataclass(frozen=True, slots=True)
class Content:
    """What a snapshot is made of."""

    nodes: Sequence[Node] = ()
    labels: Labels = NO_LABELS
    systems: Located[System] = NO_SYSTEMS
    countries: Located[str] = NO_COUNTRIES


@dataclass(frozen=True, slots=True)
class Compiled:
    """Tables and their version."""

    tables: Tables
    version: str

    def write(self, path: Path, made_ms: int) -> None:
        """Puts the snapshot in place."""
        write_snapshot(path, self.tables, self.version, made_ms)


def compile_content(content: Content) -> Compiled:
    """The tables of a snapshot."""
    locations = list(dict.fromkeys(node.location for node in content.nodes if node.location is not None))
    tables: Tables = {
        "nodes": _nodes(content.nodes),
        "locations": pa.array(locations, pa.string()),
        "addresses": _addresses(content.nodes, {name: place for place, name in enumerate(locations)}),
        "interfaces": _interfaces(content.nodes),
        "vrfs": _vrfs(content.nodes),
        "labels": _struct({name: [labels[place] for labels in content.labels.sets] for place, name in enumerate(LABELS)}),
        **_systems(content.systems),
        "countries": _struct({"code": content.countries.values}),
        **_ranges("labels", content.labels.ranges),
        **_ranges("countries", content.countries.ranges),
    }
    return Compiled(tables, _version(tables))


def _nodes(nodes: Sequence[Node]) -> pa.StructArray:
    columns = {
        "node_id": pa.array([node.node_id for node in nodes], pa.uint32()),
        "foreign_source": _text(node.foreign_source for node in nodes),
        "foreign_id": _text(node.foreign_id for node in nodes),
        "label": _text(node.label for node in nodes),
        "categories": _text(",".join(node.categories) or None for node in nodes),
        "vendor": _text(node.vendor for node in nodes),
    }
    return pa.StructArray.from_arrays([columns[field.name] for field in NODE], fields=list(NODE))


def _addresses(nodes: Sequence[Node], location_ids: Mapping[str, int]) -> pa.StructArray:
    """One row per address and location; an address that two nodes of a location have belongs to the first."""
    rows: dict[tuple[bytes, int], int] = {}
    for number, node in enumerate(nodes):
        location = ANYWHERE if node.location is None else location_ids[node.location]
        for address in node.addresses:
            rows.setdefault((pack_address(address), location), number)
    words = np.frombuffer(b"".join(address for address, _ in rows), ">u8").reshape(-1, 2).astype(np.uint64)
    locations = np.array([location for _, location in rows], np.int32)
    keys = address_key(Halves(words[:, 0], words[:, 1]), locations)
    order = np.argsort(keys, kind="stable")
    columns = (keys, words[:, 0], words[:, 1], locations, np.array(list(rows.values()), np.int32))
    return pa.StructArray.from_arrays([pa.array(column[order]) for column in columns], fields=list(ADDRESS))


def _interfaces(nodes: Sequence[Node]) -> pa.StructArray:
    interfaces = [interface for node in nodes for interface in node.interfaces]
    columns = [
        _keys([node.interfaces for node in nodes]),
        _text(interface.name for interface in interfaces),
        _text(interface.alias for interface in interfaces),
        pa.array([interface.speed for interface in interfaces], pa.uint64()),
        _text(interface.side for interface in interfaces),
    ]
    return _by_key(columns, INTERFACE)


def _vrfs(nodes: Sequence[Node]) -> pa.StructArray:
    columns = [_keys([node.vrfs for node in nodes]), _text(vrf.name for node in nodes for vrf in node.vrfs)]
    return _by_key(columns, VRF)


def _keys(items: Sequence[Sequence[Interface] | Sequence[Vrf]]) -> pa.Array:
    """Key of each item of each node."""
    owners = np.repeat(np.arange(len(items), dtype=np.int32), [len(each) for each in items])
    return pa.array(interface_key(owners, np.array([item.index for each in items for item in each], np.int64)))


def _by_key(columns: Sequence[pa.Array], kind: pa.StructType) -> pa.StructArray:
    """The columns as a table that is sorted by the first of them."""
    order = pa.array(np.argsort(columns[0].to_numpy(), kind="stable"))
    return pa.StructArray.from_arrays([column.take(order) for column in columns], fields=list(kind))


def _systems(located: Located[System]) -> Tables:
    """Systems by number; where one number has several names, the first one that has any holds."""
    names: dict[int, str | None] = {}
    for number, name in located.values:
        names[number] = names.get(number) or name
    rows = {number: row for row, number in enumerate(sorted(names))}
    columns = [pa.array(list(rows), pa.uint32()), _text(names[number] for number in rows)]
    of_value = [rows[number] for number, _ in located.values]
    ranges = [AddressRange(each.first, each.last, of_value[each.value]) for each in located.ranges]
    return {"systems": pa.StructArray.from_arrays(columns, fields=list(SYSTEM)), **_ranges("systems", ranges)}


def _ranges(name: str, ranges: Sequence[AddressRange]) -> Tables:
    ipv4, everything = range_columns(build_range_table(ranges))
    return {f"{name}_ipv4": ipv4, f"{name}_all": everything}


def _struct(columns: Mapping[str, Sequence[str | None]]) -> pa.StructArray:
    arrays = [_text(values) for values in columns.values()]
    return pa.StructArray.from_arrays(arrays, fields=[pa.field(name, TEXT) for name in columns])


def _text(values: Iterable[str | None]) -> pa.DictionaryArray:
    return pa.array(list(values), pa.string()).dictionary_encode()


def _version(tables: Tables) -> str:
    """A digest of the content: the same inventory has the same version wherever it is made."""
    digest = hashlib.sha256()
    for name, table in sorted(tables.items()):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, pa.schema([(name, table.type)])) as writer:
            writer.write_batch(pa.record_batch([table], names=[name]))
        digest.update(sink.getvalue())
    return digest.hexdigest()[:_VERSION_DIGITS]
