"""Templates: their layout in octets, and a bounded store of one exporter's.

In: normalised field specifiers of a template set. Out: for a template id of a domain, the layout of its records. Refuses to know
how a template looks on the wire (`protocols/`) and what its fields mean (`canonical`).

Templates with the same fields share one layout whoever sent them, so that their records are decoded together. Expiry is by last
use or declaration (RFC 7011 section 8.4); what exceeds a bound pushes out the longest unused.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

VARIABLE: Final = 65535
"""Field length that stands for a length in each record (RFC 7011 section 7)."""
MAX_RECORD: Final = 65535
SPECIFIER: Final = struct.Struct(">IHH")
_SECOND_CHANCES: Final = 8
_SPEC_OCTETS_PER_TEMPLATE: Final = 256


class Field(NamedTuple):
    """One field specifier: enterprise (0: IANA), element id, length in octets or VARIABLE."""

    pen: int
    id: int
    length: int


@dataclass(slots=True)
class Template:
    """One template in force. `spec` holds its fields as packed SPECIFIERs; `size` is a record's least length in octets.

    `gaps` are the octets of fixed fields before each field of variable length and after the last; empty if there is none.
    """

    id: int
    spec: bytes
    is_options: bool
    scope_count: int
    size: int
    gaps: tuple[int, ...]
    declared_ms: int
    used_ms: int

    def fields(self) -> tuple[Field, ...]:
        """Its fields in order of the record."""
        return tuple(Field(*specifier) for specifier in SPECIFIER.iter_unpack(self.spec))


def make_template(number: int, fields: list[Field], scope_count: int | None, now_ms: int) -> Template | None:
    """A template of these fields, or None if its records would take no octets or more than a message has.

    `scope_count` is the number of leading scope fields of an options template, None for a template of flows.
    """
    size = sum(1 if item.length == VARIABLE else item.length for item in fields)
    if not 0 < size <= MAX_RECORD:
        return None
    gaps = [0]
    for item in fields:
        if item.length == VARIABLE:
            gaps.append(0)
        else:
            gaps[-1] += item.length
    spec = b"".join(SPECIFIER.pack(*item) for item in fields)
    return Template(
        number, spec, scope_count is not None, scope_count or 0, size, tuple(gaps) if len(gaps) > 1 else (), now_ms, now_ms
    )


@dataclass(slots=True)
class TemplateStore:
    """Templates of one exporter, session, protocol and observation domain, by id, oldest declaration first."""

    limit: int
    by_id: dict[int, Template] = field(default_factory=dict)
    octets: int = 0

    def get(self, number: int) -> Template | None:
        """The template in force under this id."""
        return self.by_id.get(number)

    def put(self, template: Template) -> int:
        """Bring a template into force; how many others were pushed out for it."""
        self.remove(template.id)
        self.by_id[template.id] = template
        self.octets += len(template.spec)
        pushed_out = 0
        while len(self.by_id) > self.limit or self.octets > self.limit * _SPEC_OCTETS_PER_TEMPLATE:
            if len(self.by_id) == 1:
                break
            self.push_out()
            pushed_out += 1
        return pushed_out

    def push_out(self) -> None:
        """Withdraw a template that has long not been used."""
        self.remove(self._longest_unused())

    def remove(self, number: int) -> bool:
        """Withdraw one template; whether it was there."""
        template = self.by_id.pop(number, None)
        if template is not None:
            self.octets -= len(template.spec)
        return template is not None

    def remove_kind(self, options: bool) -> int:
        """Withdraw all templates, or all options templates, of the domain (RFC 7011 section 8.1)."""
        numbers = [number for number, template in self.by_id.items() if template.is_options is options]
        for number in numbers:
            self.remove(number)
        return len(numbers)

    def expire(self, before_ms: int) -> int:
        """Withdraw what was neither declared nor used since; how many."""
        old = [number for number, item in self.by_id.items() if max(item.used_ms, item.declared_ms) < before_ms]
        for number in old:
            self.remove(number)
        return len(old)

    def __iter__(self) -> Iterator[Template]:
        return iter(self.by_id.values())

    def __len__(self) -> int:
        return len(self.by_id)

    def _longest_unused(self) -> int:
        candidates = [item for item, _ in zip(self.by_id.values(), range(_SECOND_CHANCES), strict=False)]
        unused = min(candidates, key=lambda item: max(item.used_ms, item.declared_ms)).id
        for item in candidates:
            if item.id != unused:
                self.by_id[item.id] = self.by_id.pop(item.id)
        return unused


def plain_sets(
    templates: dict[int, Template], payload: bytes, spans: Sequence[tuple[int, int, int]], received_ms: int
) -> list[tuple[bytes, bytes, int]] | None:
    """Fields, octets and records of each set if all are flows of fixed layout with their template in force: the common case."""
    sets = []
    for number, start, stop in spans:
        template = templates.get(number)
        if template is None or template.gaps or template.is_options:
            return None
        records = (stop - start) // template.size
        if not records:
            return None
        template.used_ms = received_ms
        sets.append((template.spec, payload[start : start + records * template.size], records))
    return sets or None
