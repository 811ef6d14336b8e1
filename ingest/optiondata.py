"""Option records: octets per element, and what they say about elements themselves (RFC 5610).

In: an options template and the octets of its data set. Out: one mapping of elements to octets per record. Refuses to know samplers.
Options are few, so this is a plain loop; the values stay octets until someone asks for them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ingest.elements import REVERSE_PEN, SCOPE_PEN, TYPES, Element
from ingest.options import Values, number, text
from ingest.protocols.message import Header
from ingest.templates import VARIABLE, Template

_LONG_FORM: Final = 255
_ELEMENTS_ADDED: Final = 16_384
_DATA_TYPE: Final = (0, 339)
_ELEMENT_ID: Final = (0, 303)
_ELEMENT_NAME: Final = (0, 341)
_SEMANTICS: Final = (0, 344)
_ENTERPRISE: Final = (0, 346)


@dataclass(frozen=True, slots=True)
class OptionRecord:
    """One option record with where it came from."""

    exporter: bytes
    received_ms: int
    header: Header
    template: Template
    values: Values


def read_records(template: Template, octets: bytes) -> Iterator[Values]:
    """Records of a data set that holds whole records only; of an element that comes twice the first."""
    fields = template.fields()
    place = 0
    while place < len(octets):
        values: Values = {}
        for item in fields:
            length = item.length
            if length == VARIABLE:
                length, place = octets[place], place + 1
                if length == _LONG_FORM:
                    length, place = int.from_bytes(octets[place : place + 2]), place + 2
            if length:
                values.setdefault((item.pen, item.id), octets[place : place + length])
            place += length
        yield values


def read_element(values: Values) -> Element | None:
    """The element that a type information record describes (RFC 5610 section 3.9), or None if it is no such record."""
    if _DATA_TYPE not in values or _ELEMENT_ID not in values:
        return None
    kind = number(values, _DATA_TYPE)
    pen, element = number(values, _ENTERPRISE), number(values, _ELEMENT_ID) & 0x7FFF
    name = text(values, _ELEMENT_NAME) or f"{pen}.{element}"
    return Element(pen, element, name, TYPES[kind] if kind < len(TYPES) else "octetArray", str(number(values, _SEMANTICS)))


def teach(elements: dict[tuple[int, int], Element], defined: Mapping[tuple[int, int], Element], values: Values) -> str:
    """Bring the element that a type information record describes into force; why not, if it may not be.

    What the registry or the operator has defined is not for exporters to define anew.
    """
    element = read_element(values)
    if element is None:
        return ""
    key = element.pen, element.id
    if element.pen in (0, REVERSE_PEN, SCOPE_PEN) or key in defined:
        return f"the type of element {element.pen}.{element.id} is not for an exporter to say"
    if len(elements) < _ELEMENTS_ADDED or key in elements:
        elements[key] = element
        return ""
    return f"there are {_ELEMENTS_ADDED} elements already"
