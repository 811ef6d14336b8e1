"""Information elements by number: name and abstract data type (RFC 7012; IANA registry, vendors' lists, RFC 5610 at run time).

In: the tables in `registries/` and what exporters or the operator add. Out: an Element for (pen, id). Refuses to know columns.
An element that no table has is still decoded: as octets.
"""

import csv
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

REVERSE_PEN: Final = 29305
"""RFC 5103 section 6.1: an element of this enterprise is the IANA one, counted in the other direction."""
SCOPE_PEN: Final = 0xFFFFFFFF
"""NetFlow v9 scope types (RFC 3954 section 6.1) live in a number space of their own; here it is this one."""

SCOPE_NAMES: Final = {1: "system", 2: "interface", 3: "lineCard", 4: "cache", 5: "template"}

TYPES: Final = (
    "octetArray",
    "unsigned8",
    "unsigned16",
    "unsigned32",
    "unsigned64",
    "signed8",
    "signed16",
    "signed32",
    "signed64",
    "float32",
    "float64",
    "boolean",
    "macAddress",
    "string",
    "dateTimeSeconds",
    "dateTimeMilliseconds",
    "dateTimeMicroseconds",
    "dateTimeNanoseconds",
    "ipv4Address",
    "ipv6Address",
    "basicList",
    "subTemplateList",
    "subTemplateMultiList",
    "unsigned256",
)
"""Abstract data types; the index is the value of informationElementDataType (RFC 5610 section 3.1; 23 from RFC 9740)."""


class Element(NamedTuple):
    """One information element; `type` is one of TYPES."""

    pen: int
    id: int
    name: str
    type: str
    semantics: str = ""


@cache
def shipped() -> dict[tuple[int, int], Element]:
    """All elements of the shipped tables by (pen, id)."""
    table: dict[tuple[int, int], Element] = {}
    for name in ("netflow9-vendor-types.csv", "vendor-elements.csv", "ipfix-elements.csv"):
        text = files("ingest").joinpath("registries", name).read_text(encoding="utf-8")
        for row in csv.DictReader(text.splitlines()):
            element = Element(int(row.get("pen", 0)), int(row["id"]), row["name"], row["type"], row.get("semantics", ""))
            table[element.pen, element.id] = element
    table.update({(SCOPE_PEN, number): Element(SCOPE_PEN, number, name, "octetArray") for number, name in SCOPE_NAMES.items()})
    return table


def element_of(pen: int, number: int, added: dict[tuple[int, int], Element] | None = None) -> Element:
    """The element of (pen, id): an added one first, then a shipped one, else octets named by their numbers."""
    found = (added or {}).get((pen, number)) or shipped().get((pen, number))
    if found is None and pen == REVERSE_PEN and (iana := shipped().get((0, number))) is not None:
        found = iana._replace(pen=pen, name=f"reverse{iana.name[:1].upper()}{iana.name[1:]}")
    return found or Element(pen, number, f"{pen}.{number}", "octetArray")


def is_known(pen: int, number: int, added: dict[tuple[int, int], Element]) -> bool:
    """Whether any table has the element, or the IANA one that it reverses."""
    return (pen, number) in added or (pen, number) in shipped() or (pen == REVERSE_PEN and (0, number) in shipped())
