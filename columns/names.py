"""Names: the dictionaries that make a part or base self-contained, and how several of them become one.

In: the dictionaries of many parts, each with its own codes. Out: one set of dictionaries and for each part the new code of each old
one. All are sorted, so that codes compare as what they stand for. Refuses to know rows and sums.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from columns.arrays import Ints, Mask, Words
from columns.distinct import distinct_addresses, distinct_numbers, distinct_pairs, distinct_texts, renumbering
from columns.nodes import unified
from columns.packing import Numbers, pack_texts, unpack_texts, widen


@dataclass(frozen=True, slots=True)
class ValueNames:
    """The values of a kind (`flowpb.groupings.Values.key`): code 0 means null, code i the element i - 1, in order.

    `columns` is how many columns of a row have one.
    """

    key: str
    columns: int
    values: Ints | tuple[str, ...]

    def pack(self) -> list[Numbers]:
        """As arrays."""
        is_text = isinstance(self.values, tuple)
        head = [*pack_texts([self.key]), np.array([self.columns, is_text])]
        return [*head, *(pack_texts(self.values) if isinstance(self.values, tuple) else [self.values])]

    @staticmethod
    def unpack(arrays: Iterator[Numbers]) -> "ValueNames":
        """What `pack` gave."""
        [key] = unpack_texts(next(arrays), next(arrays))
        columns, is_text = next(arrays).tolist()
        return ValueNames(key, columns, unpack_texts(next(arrays), next(arrays)) if is_text else widen(next(arrays)))

    def kept(self, used: Mask) -> "ValueNames":
        """Only the values whose codes are used."""
        if isinstance(self.values, tuple):
            return replace(self, values=_kept_texts(self.values, used))
        return replace(self, values=self.values[used[1:]])

    def texts(self, codes: Ints) -> list[str]:
        """Values of codes above 0, as text."""
        if isinstance(self.values, tuple):
            return [self.values[code - 1] for code in codes.tolist()]
        return [str(value) for value in self.values[codes - 1].tolist()]


@dataclass(frozen=True, slots=True)
class Names:
    """Code 0 of locations, applications and addresses means null, code i their element i - 1; other codes count from 0.

    addresses (n, 2): big-endian halves; exporters (n, 2): location, address; ports (n, 2): exporter, ifIndex;
    values: of each kind that is kept besides the fixed ones, in the order of tables.
    nodes: what flows said of each exporter (columns/nodes.py), none at all where nothing was said;
    services (n, 3): location, application, protocol + 1 (0: null). Their location is 0 where the groups of a conversation tell it.
    """

    locations: tuple[str, ...]
    applications: tuple[str, ...]
    addresses: Words
    exporters: Ints
    ports: Ints
    services: Ints
    values: tuple[ValueNames, ...] = ()
    nodes: tuple[str, ...] = ()

    def pack(self) -> list[Numbers]:
        """As arrays."""
        pairs = [pair.ravel() for pair in (self.addresses, self.exporters, self.ports, self.services)]
        values = [array for kind in self.values for array in kind.pack()]
        counts, nodes = ([len(self.values), 1], pack_texts(self.nodes)) if self.nodes else ([len(self.values)], [])
        return [*pack_texts(self.locations), *pack_texts(self.applications), *pairs, np.array(counts), *values, *nodes]

    @staticmethod
    def unpack(arrays: Iterator[Numbers]) -> "Names":
        """What `pack` gave; takes no more arrays than that."""
        locations, applications = (unpack_texts(next(arrays), next(arrays)) for _ in range(2))
        addresses = next(arrays).astype(np.uint64).reshape(-1, 2)
        exporters, ports = (widen(next(arrays)).reshape(-1, 2) for _ in range(2))
        services = widen(next(arrays)).reshape(-1, 3)
        kinds, *with_nodes = next(arrays).tolist()
        values = tuple(ValueNames.unpack(arrays) for _ in range(kinds))
        nodes = unpack_texts(next(arrays), next(arrays)) if with_nodes else ()
        return Names(locations, applications, addresses, exporters, ports, services, values, nodes)


_NO_PAIRS: Final = np.empty((0, 2), np.int64)
NO_NAMES: Final = Names((), (), np.empty((0, 2), np.uint64), _NO_PAIRS, _NO_PAIRS, np.empty((0, 3), np.int64))


@dataclass(frozen=True, slots=True)
class Recoding:
    """New codes by old codes."""

    values: tuple[Ints, ...]
    locations: Ints
    applications: Ints
    addresses: Ints
    exporters: Ints
    ports: Ints
    services: Ints

    @staticmethod
    def identity(names: Names) -> "Recoding":
        """Every code stays."""
        nullable = len(names.locations) + 1, len(names.applications) + 1, len(names.addresses) + 1
        values = tuple(np.arange(len(kind.values) + 1) for kind in names.values)
        lengths = (*nullable, len(names.exporters), len(names.ports), len(names.services))
        return Recoding(values, *(np.arange(n) for n in lengths))


@dataclass(frozen=True, slots=True)
class Used:
    """Which codes are needed; what only other names need (an exporter's address) need not be marked. Lengths as codes go."""

    values: tuple[Mask, ...]
    locations: Mask
    applications: Mask
    addresses: Mask
    ports: Mask
    services: Mask

    @staticmethod
    def none(names: Names) -> "Used":
        """Nothing marked yet."""
        nullable = len(names.locations) + 1, len(names.applications) + 1, len(names.addresses) + 1
        values = tuple(np.zeros(len(kind.values) + 1, np.bool_) for kind in names.values)
        return Used(values, *(np.zeros(length, np.bool_) for length in (*nullable, len(names.ports), len(names.services))))


def unify(sources: Sequence[Names]) -> tuple[Names, list[Recoding]]:
    """One set of names for all, and the recoding of each; all have the same kinds of values."""
    locations, location_codes = _unify_texts([names.locations for names in sources])
    applications, application_codes = _unify_texts([names.applications for names in sources])
    addresses, codes = distinct_addresses(np.concatenate([names.addresses for names in sources]))
    address_codes = [_with_null(part) for part in _split(codes, [names.addresses for names in sources])]
    exporters, exporter_codes = _unify_pairs([names.exporters for names in sources], location_codes, address_codes)
    ports, port_codes = _unify_pairs([names.ports for names in sources], exporter_codes)
    services, service_codes = _unify_services([names.services for names in sources], location_codes, application_codes)
    values, value_codes = _unify_values([names.values for names in sources])
    codes_of = (value_codes, location_codes, application_codes, address_codes, exporter_codes, port_codes, service_codes)
    nodes = unified([names.nodes for names in sources], exporter_codes, len(exporters))
    names = Names(locations, applications, addresses, exporters, ports, services, values, nodes)
    return names, [Recoding(*each) for each in zip(*codes_of, strict=True)]


def restrict(names: Names, used: Used) -> tuple[Names, Recoding]:
    """Only the names that are used, or that used ones need."""
    exporters = np.zeros(len(names.exporters), np.bool_)
    exporters[names.ports[used.ports, 0]] = True
    applications, addresses = used.applications.copy(), used.addresses.copy()
    locations = used.locations.copy()
    locations[names.services[used.services, 0]] = True
    applications[names.services[used.services, 1]] = True
    addresses[names.exporters[exporters, 1]] = True
    locations[names.exporters[exporters, 0]] = True
    values = [mask.copy() for mask in used.values]
    for nullable in (locations, applications, addresses, *values):
        nullable[0] = True
    masks = (locations, applications, addresses, exporters, used.ports, used.services)
    to = Recoding(tuple(renumbering(mask) for mask in values), *(renumbering(mask) for mask in masks))
    kept = Names(
        _kept_texts(names.locations, locations),
        _kept_texts(names.applications, applications),
        names.addresses[addresses[1:]],
        _recoded(names.exporters[exporters], to.locations, to.addresses),
        _recoded(names.ports[used.ports], to.exporters),
        _recoded_services(names.services[used.services], to.locations, to.applications),
        tuple(kind.kept(mask) for kind, mask in zip(names.values, values, strict=True)),
        tuple(names.nodes[code] for code in np.flatnonzero(exporters).tolist()) if names.nodes else (),
    )
    return kept, to


def _unify_texts(sources: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], list[Ints]]:
    texts = distinct_texts(text for source in sources for text in source)
    code = {text: number for number, text in enumerate(texts)}
    return texts, [_with_null(np.array([code[text] for text in source], np.int64)) for source in sources]


def _unify_values(sources: Sequence[tuple[ValueNames, ...]]) -> tuple[tuple[ValueNames, ...], list[tuple[Ints, ...]]]:
    values: list[ValueNames] = []
    codes: list[list[Ints]] = []
    for kinds in zip(*sources, strict=True):
        # A kind of which nothing was ever seen is of numbers, since it has none.
        texts = [kind.values for kind in kinds if isinstance(kind.values, tuple)]
        numbers = [kind.values for kind in kinds if not isinstance(kind.values, tuple)]
        if texts:
            unified, of_kind = _unify_texts([kind.values if isinstance(kind.values, tuple) else () for kind in kinds])
            values.append(ValueNames(kinds[0].key, kinds[0].columns, unified))
        else:
            distinct, joined = distinct_numbers(np.concatenate(numbers))
            of_kind = [_with_null(part) for part in _split(joined, numbers)]
            values.append(ValueNames(kinds[0].key, kinds[0].columns, distinct))
        codes.append(of_kind)
    return tuple(values), [tuple(of_kind[i] for of_kind in codes) for i in range(len(sources))]


def _unify_pairs(sources: Sequence[Ints], major: Sequence[Ints], minor: Sequence[Ints] | None = None) -> tuple[Ints, list[Ints]]:
    recoded = [_recoded(pairs, major[i], minor[i] if minor else None) for i, pairs in enumerate(sources)]
    joined = np.concatenate(recoded)
    distinct, codes = distinct_pairs(joined[:, 0], joined[:, 1])
    return distinct, _split(codes, recoded)


def _unify_services(sources: Sequence[Ints], locations: Sequence[Ints], applications: Sequence[Ints]) -> tuple[Ints, list[Ints]]:
    recoded = [_recoded_services(*each) for each in zip(sources, locations, applications, strict=True)]
    distinct, codes = distinct_services(np.concatenate(recoded))
    return distinct, _split(codes, recoded)


def distinct_services(services: Ints) -> tuple[Ints, Ints]:
    """Distinct triples in order and the code of each."""
    pairs, pair = distinct_pairs(services[:, 1], services[:, 2])
    located, codes = distinct_pairs(services[:, 0], pair)
    return np.concatenate([located[:, :1], pairs[located[:, 1]]], axis=1), codes


def _recoded_services(services: Ints, locations: Ints, applications: Ints) -> Ints:
    return np.stack([locations[services[:, 0]], applications[services[:, 1]], services[:, 2]], axis=1)


def _recoded(pairs: Ints, major: Ints, minor: Ints | None = None) -> Ints:
    return np.stack([major[pairs[:, 0]], pairs[:, 1] if minor is None else minor[pairs[:, 1]]], axis=1)


def _split(codes: Ints, sources: Sequence[np.ndarray[Any, Any]]) -> list[Ints]:
    return np.split(codes, np.cumsum([len(source) for source in sources])[:-1])


def _with_null(codes: Ints) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), codes + 1])


def _kept_texts(texts: tuple[str, ...], used: Mask) -> tuple[str, ...]:
    return tuple(texts[code] for code in np.flatnonzero(used[1:]).tolist())
