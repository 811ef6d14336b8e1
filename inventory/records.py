"""Nodes from loosely typed records, as files and HTTP services give them.

In: a mapping of names to JSON values, and the place that it came from. Out: a node, or the problems with it; what is not understood
costs itself, never the other records. Refuses to know how the record was fetched.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeGuard

from inventory.model import SIDES, Interface, Node, Problem, Vrf, is_address

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

NODE_FIELDS: Final = (
    "foreign_source", "foreign_id", "node_id", "label", "location", "vendor", "categories", "addresses", "interfaces", "vrfs"
)  # fmt: skip
INTERFACE_FIELDS: Final = ("index", "name", "alias", "speed", "side")


def node_of(record: Mapping[str, Json], place: str, problems: list[Problem]) -> Node | None:
    """The node of a record with NODE_FIELDS; None if it has neither an address nor an id."""
    for name in record.keys() - set(NODE_FIELDS):
        problems.append(Problem(place, f"no field '{name}'; there are {', '.join(NODE_FIELDS)}"))
    addresses = tuple(_addresses(record.get("addresses"), place, problems))
    node = Node(
        foreign_source=_text(record, "foreign_source", place, problems),
        foreign_id=_text(record, "foreign_id", place, problems),
        node_id=_number(record, "node_id", place, problems),
        label=_text(record, "label", place, problems),
        location=_text(record, "location", place, problems),
        vendor=_text(record, "vendor", place, problems),
        categories=tuple(_texts(record.get("categories"), f"{place}.categories", problems)),
        addresses=addresses,
        interfaces=tuple(_interfaces(record.get("interfaces"), place, problems)),
        vrfs=tuple(_vrfs(record.get("vrfs"), place, problems)),
    )
    if not node.addresses and node.foreign_id is None:
        problems.append(Problem(place, "a node needs an address or a foreign id"))
        return None
    return node


def is_record(value: object) -> TypeGuard[Mapping[str, Json]]:
    """Whether a value is a mapping of names."""
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _addresses(value: Json, place: str, problems: list[Problem]) -> Iterator[str]:
    for text in _texts(value, f"{place}.addresses", problems):
        address = text.partition("/")[0]
        if is_address(address):
            yield address
        else:
            problems.append(Problem(f"{place}.addresses", f"'{text}' is no address"))


def _interfaces(value: Json, place: str, problems: list[Problem]) -> Iterator[Interface]:
    for index, record, where in _numbered(value, f"{place}.interfaces", problems):
        name, alias = (_text(record, each, where, problems) for each in ("name", "alias"))
        yield Interface(index, name, alias, _number(record, "speed", where, problems), _side(record, where, problems))


def _vrfs(value: Json, place: str, problems: list[Problem]) -> Iterator[Vrf]:
    for index, record, where in _numbered(value, f"{place}.vrfs", problems):
        yield Vrf(index, _text(record, "name", where, problems))


def _numbered(value: Json, place: str, problems: list[Problem]) -> Iterator[tuple[int, Mapping[str, Json], str]]:
    """Index, record and place of each of a list of mappings."""
    if value is None:
        return
    if isinstance(value, str) or not isinstance(value, Sequence):
        problems.append(Problem(place, "must be a list"))
        return
    for number, record in enumerate(value):
        where = f"{place}[{number}]"
        if not is_record(record):
            problems.append(Problem(where, "must be a mapping"))
            continue
        index = _number(record, "index", where, problems)
        if index is None or index >= 1 << 32:
            problems.append(Problem(where, "needs an index below 2^32"))
            continue
        yield index, record, where


def _side(record: Mapping[str, Json], place: str, problems: list[Problem]) -> str | None:
    side = _text(record, "side", place, problems)
    if side is None or side in SIDES:
        return side
    problems.append(Problem(f"{place}.side", f"must be {' or '.join(SIDES)}, not '{side}'"))
    return None


def _text(record: Mapping[str, Json], name: str, place: str, problems: list[Problem]) -> str | None:
    value = record.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    problems.append(Problem(f"{place}.{name}", f"must be a text, not {type(value).__name__}"))
    return None


def _number(record: Mapping[str, Json], name: str, place: str, problems: list[Problem]) -> int | None:
    value = record.get(name)
    if value is None or value == "":
        return None
    try:
        number = -1 if isinstance(value, bool) else int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1
    if 0 <= number < 1 << 64:
        return number
    problems.append(Problem(f"{place}.{name}", f"must be a whole number, not {value!r}"))
    return None


def _texts(value: Json, place: str, problems: list[Problem]) -> Iterator[str]:
    """A list of texts; one text is a list with commas between."""
    if value is None:
        return
    if isinstance(value, str):
        yield from (part.strip() for part in value.split(",") if part.strip())
        return
    if not isinstance(value, Sequence):
        problems.append(Problem(place, "must be a list"))
        return
    for item in value:
        if isinstance(item, str | int) and not isinstance(item, bool):
            yield str(item)
        else:
            problems.append(Problem(place, f"must hold texts, not {type(item).__name__}"))
