"""Rules as text: the CSV format of OpenNMS, read and written.

In: lines `name;protocol;srcAddress;srcPort;dstAddress;dstPort;exporterFilter;omnidirectional`, or the older
`name;ipAddress;port;protocol`, whose address and port are those of the destination; columns `position` and `id` may be added. Out:
rules in the order of the lines, or every fault of the file at once, each with line and column. Refuses to know groups and files.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from columns.registries import protocol_numbers
from columns.rules.exporters import parse_filter
from columns.rules.model import Conditions, Rule, RuleText
from columns.rules.spans import parse_addresses, parse_ports
from common.errors import ConfigError

T = TypeVar("T")

HEADER: Final = ("name", "protocol", "srcAddress", "srcPort", "dstAddress", "dstPort", "exporterFilter", "omnidirectional")
_OLDER_HEADER: Final = ("name", "ipAddress", "port", "protocol")
_ADDED: Final = ("position", "id")
_SAME_AS: Final = {"ipAddress": "dstAddress", "port": "dstPort"}
_TRUTHS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in one place: the line of the file, the column, and one sentence."""

    line: int
    column: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}: {self.message}"


class RuleFileError(ConfigError):
    """A rule file that cannot be used; `faults` holds everything that is wrong with it."""

    def __init__(self, where: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__([f"{where}: {fault}" for fault in faults])


def read_rules(text: str, where: str = "rules", has_header: bool | None = None) -> tuple[Rule, ...]:
    """The rules of a file, positions as the lines go; raises RuleFileError with every fault.

    `has_header` None looks whether the first line is one. Empty lines and lines that begin with # are passed over.
    """
    faults: list[Fault] = []
    rules: list[Rule] = []
    header: Sequence[str] | None = None
    for line, cells in _lines(text, faults):
        if header is None:
            header, is_rule = _layout(cells, has_header)
            if not is_rule:
                faults += _header_faults(line, header)
                continue
        if len(cells) != len(header):
            faults.append(Fault(line, "line", f"{len(cells)} fields, expected {len(header)}: {';'.join(header)}"))
            continue
        rule = _rule(line, len(rules), dict(zip(header, cells, strict=True)), faults)
        rules += [rule] if rule else []
    if faults:
        raise RuleFileError(where, sorted(faults, key=lambda fault: fault.line))
    return tuple(rules)


def write_rules(rules: Iterable[Rule], numbered: bool = False) -> str:
    """The rules in today's layout, with a header, in the order given; `numbered` adds position and id."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\n")
    writer.writerow((*HEADER, *_ADDED) if numbered else HEADER)
    for rule in rules:
        text = rule.text
        ends = (text.src_address, text.src_port, text.dst_address, text.dst_port)
        added = [rule.position, rule.number] if numbered else []
        writer.writerow([text.name, text.protocol, *ends, text.exporter_filter, str(text.omnidirectional).lower(), *added])
    return out.getvalue()


def parse_rule(text: RuleText, position: int = 0, line: int = 0) -> Rule:
    """One rule from its fields; raises RuleFileError with every fault."""
    faults: list[Fault] = []
    conditions = _conditions(line, text, faults)
    if faults:
        raise RuleFileError("rule", faults)
    return Rule(text, conditions, position, line)


def _lines(text: str, faults: list[Fault]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";", strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and not cells[0].lstrip().startswith("#"):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        faults.append(Fault(reader.line_num, "line", f"not CSV: {error}"))


def _layout(first: Sequence[str], has_header: bool | None) -> tuple[Sequence[str], bool]:
    """The names of the columns, and whether the first line is a rule already."""
    known = {name.lower(): name for name in (*HEADER, *_ADDED, *_OLDER_HEADER)}
    if has_header is None:
        has_header = "name" in (cells := [cell.lower() for cell in first]) and len(known.keys() & cells) > 1
    if has_header:
        return [known.get(cell.lower(), cell) for cell in first], False
    return (_OLDER_HEADER if len(first) == len(_OLDER_HEADER) else HEADER), True


def _header_faults(line: int, header: Sequence[str]) -> Iterator[Fault]:
    for name in header:
        if name not in (*HEADER, *_ADDED, *_OLDER_HEADER):
            yield Fault(line, "header", f"no column '{name}'; there are {', '.join(HEADER)}")
        elif header.count(name) > 1:
            yield Fault(line, "header", f"column '{name}' is there twice")
    if "name" not in header:
        yield Fault(line, "header", "column 'name' is missing")


def _rule(line: int, position: int, cells: Mapping[str, str], faults: list[Fault]) -> Rule | None:
    cells = {_SAME_AS.get(name, name): cell for name, cell in cells.items()}
    before = len(faults)
    both_ways = cells.get("omnidirectional", "").lower()
    if both_ways not in _TRUTHS:
        faults.append(Fault(line, "omnidirectional", f"'{both_ways}' is neither true nor false"))
    name, protocol, src_address, src_port, dst_address, dst_port, exporter = (cells.get(each, "") for each in HEADER[:-1])
    omnidirectional = _TRUTHS.get(both_ways, False)
    text = RuleText(name, protocol, src_address, src_port, dst_address, dst_port, exporter, omnidirectional)
    conditions = _conditions(line, text, faults)
    position, number = _whole(line, "position", cells, position, faults), _whole(line, "id", cells, 0, faults)
    return Rule(text, conditions, position, line, number) if len(faults) == before else None


def _whole(line: int, column: str, cells: Mapping[str, str], default: int, faults: list[Fault]) -> int:
    cell = cells.get(column, "")
    if cell and not (cell.isascii() and cell.isdecimal()):
        faults.append(Fault(line, column, f"'{cell}' is no whole number"))
        return default
    return int(cell) if cell else default


def _conditions(line: int, text: RuleText, faults: list[Fault]) -> Conditions:
    def parsed(column: str, cell: str, parse: Callable[[str], T]) -> T | None:
        try:
            return parse(cell) if cell else None
        except ValueError as error:
            faults.append(Fault(line, column, str(error)))
            return None

    if not text.name:
        faults.append(Fault(line, "name", "a rule needs a name"))
    if not any((text.protocol, text.src_address, text.src_port, text.dst_address, text.dst_port, text.exporter_filter)):
        faults.append(Fault(line, "line", "a rule needs at least one condition"))
    return Conditions(
        parsed("protocol", text.protocol, _parse_protocols),
        parsed("srcAddress", text.src_address, parse_addresses),
        parsed("srcPort", text.src_port, parse_ports),
        parsed("dstAddress", text.dst_address, parse_addresses),
        parsed("dstPort", text.dst_port, parse_ports),
        parsed("exporterFilter", text.exporter_filter, parse_filter),
    )


def _parse_protocols(text: str) -> frozenset[int]:
    return frozenset(parse_protocol(part.strip()) for part in text.split(","))


def parse_protocol(text: str) -> int:
    """IANA protocol number of a keyword or number; raises ValueError if there is none."""
    number = protocol_numbers().get(text.lower())
    if number is None:
        if not text.isdecimal() or int(text) > 255:
            raise ValueError(f"'{text}' is no IANA protocol keyword or number")
        number = int(text)
    return number
