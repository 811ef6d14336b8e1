"""What the inventory knows of the exporter, the interfaces and both ends of each flow.

In: a batch of flows and a snapshot. Out: the columns of FLOW that name nodes, interfaces, labels, systems and countries; a column
is left out where nothing is known of any flow. Refuses to know where the snapshot comes from. Everything is looked up once per
distinct value.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from columns.dictionaries import places
from columns.live import Live, follow
from columns.ranges import NOWHERE, halves
from columns.rules.exporters import Exporter
from columns.snapshot import ANYWHERE, LABELS, Snapshot, open_snapshot

Rows = NDArray[np.int64]
Columns = dict[str, pa.Array]
Found = dict[str, pa.Array | None]
"""Columns; None where nothing is known of any flow."""

_NODE_TEXTS: Final = ("foreign_source", "foreign_id", "label", "categories")
_ENDS: Final = ("src", "dst")
_MOST_DESCRIBED: Final = 65_536


@dataclass(frozen=True, slots=True)
class Picked:
    """Rows of a table, one per flow: the distinct ones (-1 is none), and which of them each flow has."""

    rows: Rows
    place: NDArray[np.integer]

    def text(self, table: pa.DictionaryArray) -> pa.DictionaryArray | None:
        """The texts of these rows as a column, each text once in its dictionary; None if there are none."""
        known = np.flatnonzero(self.rows >= 0)
        taken = table.indices.take(pa.array(self.rows[known]))
        texts, place = distinct(_filled(taken, NOWHERE).astype(np.int64))
        is_text = texts >= 0
        code = np.full(len(self.rows), NOWHERE, np.int32)
        code[known] = np.where(is_text, np.cumsum(is_text) - 1, NOWHERE)[place]
        of_flow = code[self.place]
        null = of_flow < 0
        if null.all():
            return None
        dictionary = table.dictionary.take(pa.array(texts[is_text]))
        return pa.DictionaryArray.from_arrays(pa.array(of_flow, mask=null if null.any() else None), dictionary)

    def numbers(self, table: pa.Array) -> pa.Array | None:
        """The numbers of these rows as a column; None if there are none."""
        known = self.rows >= 0
        taken = table.take(pa.array(self.rows[known]))
        filled = _filled(taken, 0)
        value, null = np.zeros(len(self.rows), filled.dtype), ~known
        value[known] = filled
        null[known] = taken.is_null().to_numpy(zero_copy_only=False)
        null = null[self.place]
        return None if null.all() else pa.array(value[self.place], table.type, mask=null if null.any() else None)


@dataclass(slots=True)
class Inventory:
    """A snapshot with what was asked of it about exporters (`columns.classify.Exporters`)."""

    snapshot: Snapshot
    described: dict[tuple[bytes, str | None], Exporter] = field(default_factory=dict)

    def describe(self, address: bytes, location: str | None) -> Exporter:
        """All that is known of the exporter with this address (16 bytes) at this location."""
        key = (address, location)
        if key not in self.described:
            if len(self.described) >= _MOST_DESCRIBED:
                self.described.clear()
            self.described[key] = _described(self.snapshot, address, location)
        return self.described[key]

    def knows(self, address: bytes, location: str | None) -> bool:
        """Whether there is a node with this address (16 bytes) at this location."""
        return _row(self.snapshot, address, location) >= 0


@lru_cache(maxsize=4)
def process_inventory(path: str) -> Live[Inventory]:
    """The snapshot of a file, shared by everything in this process; raises ConfigError if there is none that can be used."""
    return follow(lambda: Inventory(open_snapshot(Path(path))), lambda: (Path(path),))


def inventory_columns(flows: pa.RecordBatch, inventory: Snapshot, database_first: bool = False) -> Columns:
    """The columns in which anything is known.

    `src_as` and `dst_as` are filled where the exporter gave none, with `database_first` wherever the database has one.
    """
    columns: Found = {}
    locations = _Locations.of(flows, inventory)
    nodes = inventory.tables["nodes"]
    if exporters := locations.nodes(flows, "exporter_addr", inventory):
        columns |= _node_columns("exporter", exporters, nodes)
        columns["exporter_vendor"] = exporters.text(nodes.field("vendor"))
        for name in ("in_if", "out_if"):
            if name in flows.schema.names:
                columns |= _interface_columns(flows, name, exporters, inventory)
        for name in ("vrf_in", "vrf_out"):
            if name in flows.schema.names:
                columns[f"{name}_name"] = _vrf_names(flows, name, exporters, inventory)
    for end in _ENDS:
        if picked := locations.nodes(flows, f"{end}_addr", inventory):
            columns |= _node_columns(end, picked, nodes)
            columns |= _address_columns(flows, end, inventory, database_first)
    version = pa.DictionaryArray.from_arrays(pa.array(np.zeros(flows.num_rows, np.int32)), pa.array([inventory.version]))
    return {name: column for name, column in columns.items() if column is not None} | {"inventory_version": version}


@dataclass(frozen=True, slots=True)
class _Locations:
    """The location of each flow, and the id in the inventory of each distinct one, the last for null."""

    place: NDArray[np.integer]
    ids: NDArray[np.int32]

    @classmethod
    def of(cls, flows: pa.RecordBatch, inventory: Snapshot) -> "_Locations":
        if "location" not in flows.schema.names:
            return cls(np.zeros(flows.num_rows, np.int32), np.array([ANYWHERE], np.int32))
        column = flows.column("location")
        ids = [inventory.location_ids.get(name, ANYWHERE) for name in column.dictionary.to_pylist()]
        return cls(places(column), np.array([*ids, ANYWHERE], np.int32))

    def nodes(self, flows: pa.RecordBatch, name: str, inventory: Snapshot) -> Picked | None:
        """Nodes of an address column, as seen from the location of each flow; None if the column is absent."""
        if name not in flows.schema.names:
            return None
        column = flows.column(name)
        addresses, place = column.dictionary, places(column)
        if len(self.ids) == 1 or (self.place == self.place[:1]).all():
            location = self.ids[self.place[0]] if len(self.place) else ANYWHERE
            found = inventory.nodes_at(halves(addresses), np.full(len(addresses), location, np.int32))
            return Picked(np.append(found, NOWHERE).astype(np.int64), place)
        return self._mixed(addresses, place, inventory)

    def _mixed(self, addresses: pa.Array, place: NDArray[np.integer], inventory: Snapshot) -> Picked:
        """Nodes per pair of address and location, where a batch has flows of several locations."""
        pairs, pair = distinct(place.astype(np.int64) * len(self.ids) + self.place)
        address, location = np.divmod(pairs, len(self.ids))
        known = address < len(addresses)
        found = np.full(len(pairs), NOWHERE, np.int64)
        chosen = addresses.take(pa.array(address[known]))
        found[known] = inventory.nodes_at(halves(chosen), self.ids[location[known]])
        return Picked(found, pair)


def distinct(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The distinct codes in the order of their coming, and the place of each row among them."""
    encoded = pa.array(codes).dictionary_encode()
    return encoded.dictionary.to_numpy(zero_copy_only=False), encoded.indices.to_numpy(zero_copy_only=False)


def _row(snapshot: Snapshot, address: bytes, location: str | None) -> int:
    place = ANYWHERE if location is None else snapshot.location_ids.get(location, ANYWHERE)
    return int(snapshot.nodes_at(halves(pa.array([address], pa.binary(16))), np.array([place], np.int32))[0])


def _described(snapshot: Snapshot, address: bytes, location: str | None) -> Exporter:
    number, row = int.from_bytes(address, "big"), _row(snapshot, address, location)
    if row < 0:
        return Exporter(number, location)
    node = snapshot.tables["nodes"][row].as_py()
    categories = frozenset(node["categories"].split(",") if node["categories"] else ())
    return Exporter(number, location, node["node_id"], node["foreign_source"], node["foreign_id"], node["label"], categories)


def _node_columns(prefix: str, picked: Picked, nodes: pa.StructArray) -> Found:
    if not (picked.rows >= 0).any():
        return {}
    columns = {f"{prefix}_{name}": picked.text(nodes.field(name)) for name in _NODE_TEXTS}
    return columns | {f"{prefix}_node_id": picked.numbers(nodes.field("node_id"))}


def _interface_columns(flows: pa.RecordBatch, name: str, exporters: Picked, inventory: Snapshot) -> Found:
    nodes, indexes, pair = _numbers_of(flows, name, exporters)
    picked = Picked(inventory.interfaces_of(nodes, indexes), pair)
    table = inventory.tables["interfaces"]
    return {
        f"{name}_name": picked.text(table.field("name")),
        f"{name}_alias": picked.text(table.field("alias")),
        f"{name}_speed": picked.numbers(table.field("speed")),
        f"{name}_side": picked.text(table.field("side")),
    }


def _vrf_names(flows: pa.RecordBatch, name: str, exporters: Picked, inventory: Snapshot) -> pa.Array | None:
    nodes, ids, pair = _numbers_of(flows, name, exporters)
    rows = np.append(inventory.vrfs_of(nodes, ids), NOWHERE)
    is_known = flows.column(name).is_valid().to_numpy(zero_copy_only=False)
    return Picked(rows, np.where(is_known, pair, len(rows) - 1)).text(inventory.tables["vrfs"].field("name"))


def _numbers_of(
    flows: pa.RecordBatch, name: str, exporters: Picked
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.integer]]:
    """Distinct pairs of the exporter's node and a number of the flow, null as 0; and which of them each flow has."""
    numbers = _filled(flows.column(name), 0).astype(np.int64)
    pairs, pair = distinct(exporters.place.astype(np.int64) << 32 | numbers)
    return exporters.rows[pairs >> 32].astype(np.int32), pairs & 0xFFFF_FFFF, pair


def _address_columns(flows: pa.RecordBatch, end: str, inventory: Snapshot, database_first: bool) -> Found:
    column = flows.column(f"{end}_addr")
    addresses, place = halves(column.dictionary), places(column)
    labels, systems, countries = (
        _fewer(np.append(inventory.ranges[name].look_up(addresses), NOWHERE), place) for name in ("labels", "systems", "countries")
    )
    columns = {f"{end}_{name}": labels.text(inventory.tables["labels"].field(name)) for name in LABELS}
    columns[f"{end}_country"] = countries.text(inventory.tables["countries"].field("code"))
    return columns | dict(_system_columns(flows, end, systems, inventory, database_first))


def _system_columns(
    flows: pa.RecordBatch, end: str, systems: Picked, inventory: Snapshot, database_first: bool
) -> Iterator[tuple[str, pa.Array | None]]:
    """The AS number that holds, and its name. An exporter's 0 is no number (RFC 7607)."""
    table = inventory.tables["systems"]
    number = systems.numbers(table.field("number"))
    if f"{end}_as" in flows.schema.names:
        exported = flows.column(f"{end}_as")
        if number is None or database_first:
            number = exported if number is None else pc.coalesce(number, exported)
        else:
            missing = pc.fill_null(pc.equal(exported, 0), True)
            number = pc.if_else(missing, pc.coalesce(number, exported), exported)
    if number is not None:
        numbers, place = distinct(_filled(number, 0).astype(np.int64))
        yield f"{end}_as", number
        yield f"{end}_as_name", Picked(inventory.systems_of(numbers), place).text(table.field("name"))


def _fewer(rows: NDArray[np.integer], place: NDArray[np.integer]) -> Picked:
    """Rows per distinct address as distinct rows: many addresses share a network."""
    fewer, row = distinct(rows.astype(np.int64))
    return Picked(fewer, row[place])


def _filled(values: pa.Array, null: int) -> NDArray[np.integer]:
    found: NDArray[np.integer] = (pc.fill_null(values, null) if values.null_count else values).to_numpy(zero_copy_only=False)
    return found
