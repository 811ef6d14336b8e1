"""Datagrams that are looked at together by the state of now: whose each is, and which can be taken in with the others.

In: datagrams as columns, the state of exporters. Out: the same in the order of domains, with the state that they belong to. Changes
nothing. Refuses to know what becomes of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.blocks import measure
from ingest.exporters import Domain, Exporter
from ingest.fixed_templates import FIXED
from ingest.heads import VERSIONS, Arrived
from ingest.intake import WIRE, Intake, is_cut
from ingest.protocols import sflow
from ingest.protocols.message import Longs
from ingest.templates import Template

Bools = NDArray[np.bool_]
_EXPORTER_BIT, _VERSION_BIT, _SET_BITS = 34, 32, 16
_VERSION_MASK, _DOMAIN_MASK, _SET_MASK = 3, 0xFFFFFFFF, 0xFFFF


@dataclass(frozen=True, slots=True)
class Owner:
    """The domain of some datagrams, and its exporter."""

    exporter: Exporter
    domain: Domain


@dataclass(frozen=True, slots=True)
class Part:
    """Sets of a crowd, by their places among those that arrived: the number of each one's structure in `templates`.

    A template is None for sFlow, and for what cannot be taken in. `records` are 0 where there are none, or what is there is cut.
    """

    sets: Longs
    templates: list[Template | None]
    kind: Longs
    records: Longs
    stop: Longs

    def only(self, chosen: Bools | Longs) -> "Part":
        """Some of the sets."""
        return Part(self.sets[chosen], self.templates, self.kind[chosen], self.records[chosen], self.stop[chosen])


@dataclass(frozen=True, slots=True)
class Crowd:
    """Datagrams sorted by domain, those of one in the order of arrival. `at` are their places among those that arrived.

    `domain` is the number of each one's domain in `owners`, where None stands for one that has yet to be known. `records` are
    those of all sets, for sFlow octets. What is `plain` can be taken in, as far as its octets and its templates go.
    """

    arrived: Arrived
    at: Longs
    owners: list[Owner | None]
    domain: Longs
    records: Longs
    plain: Bools
    part: Part

    @property
    def exporter(self) -> Longs:
        """The number of each one's exporter."""
        return self.arrived.exporter[self.at]

    def only(self, chosen: Bools) -> "Crowd":
        """Some of the datagrams."""
        kept = np.zeros(len(self.arrived.payloads), bool)
        kept[self.at[chosen]] = True
        part = self.part.only(kept[self.arrived.sets.owner[self.part.sets]])
        domain, records, plain = self.domain[chosen], self.records[chosen], self.plain[chosen]
        return Crowd(self.arrived, self.at[chosen], self.owners, domain, records, plain, part)

    def groups(self, numbers: Longs) -> tuple[list[Owner], Longs, Longs]:
        """Neighbours that have one number: the owner of the first of each group, where they start and where they stop."""
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        owners = [owner for number in self.domain[starts].tolist() if (owner := self.owners[number]) is not None]
        return owners, starts, np.append(starts, len(numbers))[1:]

    def marks(self) -> list[int]:
        """Hashes of the octets of each datagram."""
        marks = self.arrived.marks
        return [marks[number] for number in self.at.tolist()]

    def can_repeat(self, owner: Owner) -> bool:
        """Whether a datagram can come twice: not on a connection of its own."""
        return not (self.arrived.session and owner.domain.version in WIRE)


def look_at(arrived: Arrived, intake: Intake, left: Longs) -> Crowd:
    """Those datagrams that are `left`, and what they are by now."""
    code = np.searchsorted(VERSIONS, arrived.version[left]) & _VERSION_MASK
    keys, domain = np.unique(
        arrived.exporter[left] << _EXPORTER_BIT | code << _VERSION_BIT | arrived.heads.domain[left], return_inverse=True
    )
    owners = [_owner(arrived, intake, key) for key in keys.tolist()]
    number = np.full(len(arrived.payloads), -1)
    number[left] = domain
    part = _part_of(arrived, owners, number)
    of_set = arrived.sets.owner[part.sets]
    records = np.bincount(of_set, part.records, len(number)).astype(np.int64)
    plain = arrived.plain & (np.bincount(of_set, part.records == 0, len(number)) == 0)
    order = np.argsort(domain.astype(np.uint16), kind="stable")
    at = left[order]
    known = np.array([owner is not None for owner in owners], bool)
    return Crowd(arrived, at, owners, domain[order], records[at], plain[at] & known[domain[order]], part)


def plain_of(crowd: Crowd) -> Bools:
    """Which datagrams can be taken in, if all can that came before them: not those that came before."""
    plain = crowd.plain.copy()
    places = np.flatnonzero(plain)
    chosen = crowd.only(plain)
    marks = chosen.marks()
    owners, starts, stops = chosen.groups(chosen.domain)
    for owner, start, stop in zip(owners, starts.tolist(), stops.tolist(), strict=True):
        part = marks[start:stop]
        if chosen.can_repeat(owner) and owner.domain.sequence.has_repeat(part):
            plain[places[start:stop]] = owner.domain.sequence.are_new(part)
    return plain


def _owner(arrived: Arrived, intake: Intake, key: int) -> Owner | None:
    exporter = intake.exporters.get(arrived.addresses[key >> _EXPORTER_BIT])
    version = VERSIONS[key >> _VERSION_BIT & _VERSION_MASK]
    if exporter is None or (version in WIRE and intake.is_mediator(exporter)):
        return None
    session = arrived.session if version in WIRE else 0
    domain = exporter.domains.get((session, version, key & _DOMAIN_MASK))
    return None if domain is None else Owner(exporter, domain)


def _part_of(arrived: Arrived, owners: list[Owner | None], number: Longs) -> Part:
    """Sets of the datagrams that have a number, which is that of their owner."""
    sets = arrived.sets
    chosen = np.flatnonzero(number[sets.owner] >= 0)
    keys, kind = np.unique(number[sets.owner[chosen]] << _SET_BITS | sets.set_id[chosen], return_inverse=True)
    of_kind = [(owners[key >> _SET_BITS], key & _SET_MASK) for key in keys.tolist()]
    templates = [_template(owner, set_id) for owner, set_id in of_kind]
    sampled = [owner is not None and owner.domain.version == sflow.VERSION for owner, _ in of_kind]
    sizes: Longs = np.array([template.size if template else 1 for template in templates], np.int64)[kind]
    known = np.array([template is not None for template in templates], bool) | np.array(sampled, bool)
    start = sets.start[chosen]
    records: Longs = np.where(known[kind], (sets.stop[chosen] - start) // sizes, 0)
    part = Part(chosen, templates, kind, records, start + records * sizes)
    for one, template in enumerate(templates):
        if template is not None and template.gaps:
            _measure(arrived, part, template, np.flatnonzero(kind == one))
    return part


def _template(owner: Owner | None, set_id: int) -> Template | None:
    if owner is None:
        return None
    if owner.domain.version not in WIRE:
        return FIXED.get(owner.domain.version)
    template = owner.domain.templates.get(set_id)
    return None if template is None or template.is_options else template


def _measure(arrived: Arrived, part: Part, template: Template, places: Longs) -> None:
    """Count the records of sets with fields of variable length."""
    sets = arrived.sets
    for place, number in zip(places.tolist(), part.sets[places].tolist(), strict=True):
        start = int(sets.start[number])
        octets = arrived.payloads[int(sets.owner[number])][start : int(sets.stop[number])]
        records, taken = measure(octets, template.gaps)
        part.records[place] = 0 if is_cut(template, octets, records, taken) else records
        part.stop[place] = start + taken
