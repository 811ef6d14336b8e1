"""Datagrams that are looked at together by the state of now: of which kind each is, and which can be taken in with the others.

In: datagrams as columns, the state of exporters. Out: the same in the order of domains, with the state that they belong to. Changes
nothing. Refuses to know what becomes of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.exporters import Domain, Exporter
from ingest.fixed_templates import FIXED
from ingest.heads import VERSIONS, Arrived
from ingest.intake import WIRE, Intake
from ingest.protocols.message import Longs
from ingest.templates import Template

Bools = NDArray[np.bool_]
_EXPORTER_BIT, _VERSION_BIT, _DOMAIN_BIT = 50, 48, 16
_VERSION_MASK, _DOMAIN_MASK, _SET_MASK = 3, 0xFFFFFFFF, 0xFFFF


@dataclass(frozen=True, slots=True)
class Kind:
    """Datagrams of one domain and structure; `template` is None for sFlow."""

    exporter: Exporter
    domain: Domain
    template: Template | None


@dataclass(frozen=True, slots=True)
class Crowd:
    """Datagrams sorted by domain, those of one in the order of arrival. `at` are their places among those that arrived.

    `kind` is the number of each in `kinds`, where None stands for what is not to be taken in bulk; domains are numbered over all
    exporters. `records` are those of the structure, in octets for sFlow.
    """

    at: Longs
    kinds: list[Kind | None]
    kind: Longs
    exporter: Longs
    domain: Longs
    records: Longs

    def only(self, chosen: Bools) -> "Crowd":
        """Some of the datagrams."""
        parts = (part[chosen] for part in (self.kind, self.exporter, self.domain, self.records))
        return Crowd(self.at[chosen], self.kinds, *parts)

    def template(self, number: int) -> Template | None:
        """The structure of a kind."""
        kind = self.kinds[number]
        return None if kind is None else kind.template

    def groups(self, numbers: Longs) -> tuple[list[Kind], Longs, Longs]:
        """Neighbours that have one number: the kind of the first of each group, where they start and where they stop."""
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        kinds = [kind for number in self.kind[starts].tolist() if (kind := self.kinds[number]) is not None]
        return kinds, starts, np.append(starts, len(numbers))[1:]


def look_at(arrived: Arrived, intake: Intake, left: Longs) -> Crowd:
    """Those datagrams that are `left`, and what they are by now."""
    code = np.searchsorted(VERSIONS, arrived.version[left])
    heads = arrived.heads
    place = arrived.exporter[left] << _EXPORTER_BIT | code << _VERSION_BIT | heads.domain[left] << _DOMAIN_BIT
    keys, kind = np.unique(place | heads.set_id[left], return_inverse=True)
    domains = np.cumsum(np.diff(keys >> _DOMAIN_BIT, prepend=keys[:1] >> _DOMAIN_BIT) != 0)
    kinds = [_kind(arrived, intake, key) for key in keys.tolist()]
    sizes = np.array([1 if each is None or each.template is None else each.template.size for each in kinds], np.int64)
    order = np.argsort(domains.astype(np.uint16)[kind], kind="stable")
    at, kind = left[order], kind[order]
    records = (heads.end[at] - heads.start[at]) // sizes[kind]
    return Crowd(at, kinds, kind, arrived.exporter[at], domains[kind], records)


def plain_of(crowd: Crowd, arrived: Arrived) -> Bools:
    """Which datagrams can be taken in bulk, if all can that came before them."""
    known = np.array([kind is not None for kind in crowd.kinds], bool)
    plain: Bools = (arrived.heads.plain[crowd.at] > 0) & known[crowd.kind] & (crowd.records > 0)
    places = np.flatnonzero(plain)
    chosen = crowd.only(plain)
    marks = marks_of(chosen, arrived)
    kinds, starts, stops = chosen.groups(chosen.domain)
    for kind, start, stop in zip(kinds, starts.tolist(), stops.tolist(), strict=True):
        part = marks[start:stop]
        if can_repeat(kind, arrived) and kind.domain.sequence.has_repeat(part):
            plain[places[start:stop]] = kind.domain.sequence.are_new(part)
    return plain


def marks_of(crowd: Crowd, arrived: Arrived) -> list[int]:
    """Hashes of the octets of each datagram."""
    marks = arrived.marks
    return [marks[number] for number in crowd.at.tolist()]


def can_repeat(kind: Kind, arrived: Arrived) -> bool:
    """Whether a datagram can come twice: not on a connection of its own."""
    return not (arrived.session and kind.domain.version in WIRE)


def _kind(arrived: Arrived, intake: Intake, key: int) -> Kind | None:
    exporter = intake.exporters.get(arrived.addresses[key >> _EXPORTER_BIT])
    if exporter is None:
        return None
    version = VERSIONS[key >> _VERSION_BIT & _VERSION_MASK]
    session = arrived.session if version in WIRE else 0
    domain = exporter.domains.get((session, version, key >> _DOMAIN_BIT & _DOMAIN_MASK))
    if domain is None:
        return None
    if version not in WIRE:
        return Kind(exporter, domain, FIXED.get(version))
    template = domain.templates.get(key & _SET_MASK)
    if template is None or template.gaps or template.is_options or intake.is_mediator(exporter):
        return None
    return Kind(exporter, domain, template)
