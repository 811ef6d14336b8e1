"""Which application is a flow?

In: columns of a batch, and what is known of its exporters. Out: the column `application`: the name of the first rule that fits,
null where none does. Refuses to know where rules come from.

A rule that asks for nothing but protocol and one port becomes an entry of a table (`columns.rules.ports`), all others become
tuples of classes (`columns.rules.tuples`); of the two answers the better ranked one holds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from columns.dictionaries import as_text, integers, places
from columns.exported import exported_applications
from columns.rules.exporters import Exporter
from columns.rules.model import Conditions, Rule, RuleBook
from columns.rules.ports import NO_PORT, NO_PROTOCOL, PortEntry, PortTable, Ranks, build_port_table
from columns.rules.predefined import default_book
from columns.rules.tuples import AddressColumn, FlowColumns, TupleTable, build_tuple_table

_NO_RULE: Final = -1
_ANY_PORT: Final = ((0, NO_PORT),)
_NO_ADDRESSES: Final = pa.array([], pa.binary(16))


class Exporters(Protocol):
    """What is known of exporters."""

    def describe(self, address: bytes, location: str | None) -> Exporter:
        """All that is known of the exporter with this address (16 bytes) at this location."""


@dataclass(frozen=True, slots=True)
class UnknownExporters:
    """Knows the address and the location of an exporter, no more."""

    def describe(self, address: bytes, location: str | None) -> Exporter:
        """See `Exporters`."""
        return Exporter(int.from_bytes(address, "big"), location)


NOTHING_KNOWN: Final = UnknownExporters()


@dataclass(frozen=True, slots=True)
class Classifier:
    """A rule book, compiled. `rules` are in the order in which they are asked; a rank is a place among them.

    `rank_of_tuple` and `name_of_rank` have one entry more than there are tuples and ranks, for no rule.
    """

    book: RuleBook
    rules: tuple[Rule, ...]
    ports: PortTable
    tuples: TupleTable | None
    rank_of_tuple: NDArray[np.uint32]
    name_of_rank: NDArray[np.int32]
    names: pa.StringArray

    def ranks(self, flows: pa.RecordBatch, exporters: Exporters) -> Ranks:
        """Rank of the first rule that fits each flow, `len(rules)` where none does; absent columns count as null."""
        protocol = integers(flows, "protocol", NO_PROTOCOL)
        src_port = integers(flows, "src_port", NO_PORT)
        dst_port = integers(flows, "dst_port", NO_PORT)
        ranks = self.ports.look_up(protocol, src_port, dst_port)
        if self.tuples is None:
            return ranks
        ends = _addresses(flows, "src_addr"), _addresses(flows, "dst_addr")
        columns = FlowColumns(protocol, src_port, dst_port, *ends, _exporter_classes(flows, self.tuples, exporters))
        best: Ranks = np.minimum(ranks, self.rank_of_tuple[self.tuples.look_up(columns)])
        return best

    def applications(self, flows: pa.RecordBatch, exporters: Exporters = NOTHING_KNOWN) -> pa.DictionaryArray:
        """The column `application` of these flows; its dictionary has only names in use."""
        found = self.name_of_rank[self.ranks(flows, exporters)]
        exported = None if self.book.exported == "never" else exported_applications(flows)
        if exported is None:
            return as_text(found, self.names)
        names, theirs = _joined(self.names, exported)
        first, second = (theirs, found) if self.book.exported == "first" else (found, theirs)
        return as_text(np.where(first != _NO_RULE, first, second), names)


def compile_book(book: RuleBook) -> Classifier:
    """The classifier of a rule book."""
    rules = tuple(rule for _, rule in book.ranked())
    entries: list[PortEntry] = []
    tuples: list[tuple[int, Conditions]] = []
    for rank, rule in enumerate(rules):
        for conditions in rule.directions():
            if _needs_tuple(conditions):
                tuples.append((rank, conditions))
            else:
                entries += _entries(rank, conditions)
    distinct = {name: place for place, name in enumerate(dict.fromkeys(rule.name for rule in rules))}
    return Classifier(
        book,
        rules,
        build_port_table(entries, len(rules)),
        build_tuple_table(conditions for _, conditions in tuples) if tuples else None,
        np.array([*(rank for rank, _ in tuples), len(rules)], np.uint32),
        np.array([*(distinct[rule.name] for rule in rules), _NO_RULE], np.int32),
        pa.array(list(distinct), pa.string()),
    )


@cache
def default_classifier() -> Classifier:
    """The pre-defined rules alone; of two that fit the ends of a flow the first in the registry wins."""
    return compile_book(default_book())


def _needs_tuple(conditions: Conditions) -> bool:
    ends = (conditions.src_addresses, conditions.dst_addresses, conditions.exporter)
    return any(each is not None for each in ends) or None not in (conditions.src_ports, conditions.dst_ports)


def _entries(rank: int, conditions: Conditions) -> Iterator[PortEntry]:
    side: Final = "dst" if conditions.src_ports is None else "src"
    asked = conditions.dst_ports if side == "dst" else conditions.src_ports
    for low, high in _ANY_PORT if asked is None else asked:
        yield PortEntry(rank, conditions.protocols, side, low, high)


def _addresses(flows: pa.RecordBatch, name: str) -> AddressColumn:
    if name not in flows.schema.names:
        return AddressColumn(_NO_ADDRESSES, np.zeros(flows.num_rows, np.int32))
    column = flows.column(name)
    return AddressColumn(column.dictionary, places(column))


def _exporter_classes(flows: pa.RecordBatch, table: TupleTable, exporters: Exporters) -> NDArray[np.int64]:
    """Class of each flow's exporter, found once per distinct pair of address and location."""
    if "exporter_addr" not in flows.schema.names or not table.asks_exporter:
        return np.zeros(flows.num_rows, np.int64)
    address, location = flows.column("exporter_addr"), _location(flows)
    addresses, locations = [*address.dictionary.to_pylist(), None], [*location.dictionary.to_pylist(), None]
    pairs = places(address).astype(np.int64) * len(locations) + places(location)
    distinct = np.flatnonzero(np.bincount(pairs, minlength=len(addresses) * len(locations)))
    classes = np.zeros(len(addresses) * len(locations), np.int64)
    for pair in distinct.tolist():
        where = addresses[pair // len(locations)]
        if where is not None:
            classes[pair] = table.exporter_class(exporters.describe(where, locations[pair % len(locations)]))
    return classes[pairs]


def _location(flows: pa.RecordBatch) -> pa.DictionaryArray:
    if "location" in flows.schema.names:
        return flows.column("location")
    return pa.DictionaryArray.from_arrays(pa.nulls(flows.num_rows, pa.int32()), pa.array([], pa.string()))


def _joined(names: pa.StringArray, column: pa.DictionaryArray) -> tuple[pa.StringArray, NDArray[np.int32]]:
    """The names with those of the column that are not among them appended, and the place of each flow's name, -1 for null."""
    distinct = column.dictionary
    known = pc.index_in(distinct, names)
    fresh = pc.and_(known.is_null(), distinct.is_valid())
    all_names = pa.concat_arrays([names, distinct.filter(fresh)])
    of_distinct = np.append(pc.fill_null(pc.index_in(distinct, all_names), _NO_RULE).to_numpy(zero_copy_only=False), _NO_RULE)
    return all_names, of_distinct[places(column)].astype(np.int32)
