"""The inventory as one Arrow file that all processes of a host map into memory.

In: a file written by `write_snapshot`. Out: numpy and Arrow views of it, nothing copied. Refuses to know where nodes come from and
what flows are.

The file is one record batch of one row; each column is a list: nodes, their addresses, interfaces and VRFs, the operator's labels,
autonomous systems and countries, the latter three with the address intervals that they hold for. Version and time of making are in
the schema's metadata. What is searched is sorted in the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columns.arrays import Words
from columns.ranges import Halves, RangeTable
from columns.search import search
from common.errors import ConfigError

FORMAT: Final = "nephrite-inventory-2"
ANYWHERE: Final = -1
"""Location of a node that is the same node at every location."""
LABELS: Final = ("site", "role", "tenant", "region")

TEXT: Final = pa.dictionary(pa.int32(), pa.string())
"""Each distinct text once, so that a look-up handles numbers until its very end."""
NODE: Final = pa.struct(
    [
        ("node_id", pa.uint32()),
        ("foreign_source", TEXT),
        ("foreign_id", TEXT),
        ("label", TEXT),
        ("categories", TEXT),
        ("vendor", TEXT),
    ]
)
ADDRESS: Final = pa.struct(
    [("key", pa.uint64()), ("high", pa.uint64()), ("low", pa.uint64()), ("location", pa.int32()), ("node", pa.int32())]
)
INTERFACE: Final = pa.struct([("key", pa.uint64()), ("name", TEXT), ("alias", TEXT), ("speed", pa.uint64()), ("side", TEXT)])
VRF: Final = pa.struct([("key", pa.uint64()), ("name", TEXT)])
SYSTEM: Final = pa.struct([("number", pa.uint32()), ("name", TEXT)])
_IPV4: Final = pa.struct([("start", pa.uint32()), ("value", pa.int32())])
_ALL: Final = pa.struct([("high", pa.uint64()), ("low", pa.uint64()), ("value", pa.int32())])
RANGES: Final = ("labels", "systems", "countries")

SCHEMA: Final = pa.schema(
    [
        ("nodes", pa.list_(NODE)),
        ("locations", pa.list_(pa.string())),
        ("addresses", pa.list_(ADDRESS)),
        ("interfaces", pa.list_(INTERFACE)),
        ("vrfs", pa.list_(VRF)),
        ("labels", pa.list_(pa.struct([(name, TEXT) for name in LABELS]))),
        ("systems", pa.list_(SYSTEM)),
        ("countries", pa.list_(pa.struct([("code", TEXT)]))),
        *((f"{name}_ipv4", pa.list_(_IPV4)) for name in RANGES),
        *((f"{name}_all", pa.list_(_ALL)) for name in RANGES),
    ]
)

_POINTERS: Final = {
    "nodes": [("addresses", "node")],
    "locations": [("addresses", "location")],
    **{name: [(f"{name}_ipv4", "value"), (f"{name}_all", "value")] for name in RANGES},
}
"""Tables whose rows others point to, and from where."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An inventory, mapped. Each table is an Arrow struct or text array; ranges give rows of labels, systems and countries."""

    version: str
    made_ms: int
    tables: Mapping[str, pa.Array]
    ranges: Mapping[str, RangeTable]
    location_ids: Mapping[str, int]
    has_anywhere: bool

    def nodes_at(self, addresses: Halves, locations: NDArray[np.int32]) -> NDArray[np.int32]:
        """Row of the node with each address, seen from each location (ids; ANYWHERE knows none); -1 where there is none."""
        found = self._nodes(addresses, locations)
        elsewhere = np.flatnonzero((found < 0) & (locations != ANYWHERE)) if self.has_anywhere else found[:0]
        if len(elsewhere):
            sought = Halves(addresses.high[elsewhere], addresses.low[elsewhere])
            found[elsewhere] = self._nodes(sought, np.full(len(elsewhere), ANYWHERE, np.int32))
        return found

    def interfaces_of(self, nodes: NDArray[np.int32], indexes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of the interface with each ifIndex of each node; -1 where there is none."""
        found = _exact(_numbers(self.tables["interfaces"], "key"), interface_key(nodes, indexes))
        return np.where(nodes >= 0, found, -1)

    def vrfs_of(self, nodes: NDArray[np.int32], ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of the VRF with each id of each node; -1 where there is none."""
        found = _exact(_numbers(self.tables["vrfs"], "key"), interface_key(nodes, ids))
        return np.where(nodes >= 0, found, -1)

    def systems_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of each autonomous system; -1 where it is not known."""
        return _exact(_numbers(self.tables["systems"], "number"), numbers.astype(np.uint32))

    def _nodes(self, addresses: Halves, locations: NDArray[np.int32]) -> NDArray[np.int32]:
        table = self.tables["addresses"]
        keys, high, low, location, node = (_numbers(table, name) for name in ("key", "high", "low", "location", "node"))
        wanted = address_key(addresses, locations)
        place = search(keys, wanted)
        found = np.full(len(wanted), -1, np.int32)
        rows = np.flatnonzero(place < len(keys))
        while len(rows := rows[keys[place[rows]] == wanted[rows]]):
            at = place[rows]
            same = (high[at] == addresses.high[rows]) & (low[at] == addresses.low[rows]) & (location[at] == locations[rows])
            found[rows[same]] = node[at[same]]
            rows = rows[~same & (at + 1 < len(keys))]
            place[rows] += 1
        return found


def address_key(addresses: Halves, locations: NDArray[np.int32]) -> Words:
    """A hash to search addresses by; different addresses may share it."""
    key: Words = addresses.low * np.uint64(0x9E3779B97F4A7C15) + addresses.high * np.uint64(0xC2B2AE3D27D4EB4F)
    key += (locations.astype(np.int64) + 1).astype(np.uint64) * np.uint64(0x165667B19E3779F9)
    return key


def interface_key(nodes: NDArray[np.int32], indexes: NDArray[np.int64]) -> Words:
    """What interfaces and VRFs are sorted by."""
    return nodes.astype(np.uint64) << np.uint64(32) | indexes.astype(np.uint64)


def open_snapshot(path: Path) -> Snapshot:
    """The inventory of a file, mapped; raises ConfigError for a file that is none. The file may be replaced, never written to."""
    try:
        with pa.memory_map(str(path)) as mapped:
            batch = pa.ipc.open_file(mapped).get_batch(0)
            batch.validate()
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError([f"{path}: cannot be read as an inventory: {error}"]) from error
    metadata = batch.schema.metadata or {}
    if metadata.get(b"format") != FORMAT.encode() or not batch.schema.equals(SCHEMA) or batch.num_rows != 1:
        raise ConfigError([f"{path}: is no inventory of this program; make it again with `nephrite inventory build`"])
    tables = {name: batch.column(name).values for name in batch.schema.names}
    wrong = [name for name, holders in _POINTERS.items() if not all(_points(tables, name, *holder) for holder in holders)]
    if wrong:
        raise ConfigError([f"{path}: is damaged: it points to {', '.join(wrong)} that it does not have"])
    ranges = {name: _range_table(tables[f"{name}_ipv4"], tables[f"{name}_all"]) for name in RANGES}
    locations = {name: place for place, name in enumerate(tables["locations"].to_pylist())}
    has_anywhere = bool((_numbers(tables["addresses"], "location") == ANYWHERE).any())
    return Snapshot(metadata[b"version"].decode(), int(metadata[b"made_ms"]), tables, ranges, locations, has_anywhere)


def write_snapshot(path: Path, tables: Mapping[str, pa.Array], version: str, made_ms: int) -> None:
    """Puts a file in place, whole; raises OSError. `tables` has an array per column of SCHEMA, sorted by key where there is one."""
    metadata = {"format": FORMAT, "version": version, "made_ms": str(made_ms)}
    columns = [pa.ListArray.from_arrays(pa.array([0, len(tables[field.name])], pa.int32()), tables[field.name]) for field in SCHEMA]
    batch = pa.RecordBatch.from_arrays(columns, schema=SCHEMA.with_metadata(metadata))
    temporary = path.with_name(f".{path.name}.new")
    try:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def range_columns(table: RangeTable) -> tuple[pa.StructArray, pa.StructArray]:
    """The two columns of SCHEMA that hold a range table."""
    ipv4 = pa.StructArray.from_arrays([pa.array(table.starts_ipv4), pa.array(table.values_ipv4)], fields=list(_IPV4))
    halves = (pa.array(table.starts.high), pa.array(table.starts.low))
    return ipv4, pa.StructArray.from_arrays([*halves, pa.array(table.values)], fields=list(_ALL))


def _range_table(ipv4: pa.StructArray, everything: pa.StructArray) -> RangeTable:
    starts = Halves(_numbers(everything, "high"), _numbers(everything, "low"))
    return RangeTable(_numbers(ipv4, "start"), _numbers(ipv4, "value"), starts, _numbers(everything, "value"))


def _points(tables: Mapping[str, pa.Array], pointed: str, holder: str, field: str) -> bool:
    """Whether every row number in a field is one of the table's, or -1; a look-up would fail on a flow otherwise."""
    rows = _numbers(tables[holder], field)
    return not len(rows) or bool(rows.min() >= -1 and rows.max() < len(tables[pointed]))


def _exact(keys: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.int64]:
    """Place of each wanted key among sorted ones, -1 where it is not."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    place = np.minimum(search(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)


def _numbers(table: pa.StructArray, name: str) -> NDArray[Any]:
    values: NDArray[Any] = table.field(name).to_numpy(zero_copy_only=True)
    return values
