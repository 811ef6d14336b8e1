"""The operator's labels of networks: site, role, tenant and region, the longest prefix first.

In: a CSV file `network;site;role;tenant;region`, columns after the first in any number and order. Out: distinct sets of labels,
and address ranges that lead to them. A network inherits what it leaves empty from the next larger one that holds it; `-` empties a
label. IPv4 inherits nothing from IPv6, though it lies inside ::/0.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from columns.ranges import AddressRange, network_range
from columns.snapshot import LABELS
from common.errors import ConfigError

_NONE: Final = "-"

LabelSet = tuple[str | None, ...]
"""One value per name in LABELS."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Distinct sets, and the ranges whose value is a place among them; larger networks before those inside them."""

    sets: tuple[LabelSet, ...]
    ranges: tuple[AddressRange, ...]


NO_LABELS: Final = Labels((), ())


def read_labels(path: Path) -> Labels:
    """The labels of a file; raises ConfigError with every fault."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    return parse_labels(text, str(path))


def parse_labels(text: str, where: str) -> Labels:
    """The labels of a text; raises ConfigError with every fault, each with its line."""
    reader = csv.reader(io.StringIO(text), delimiter=";")
    header = [cell.strip() for cell in next(reader, [])]
    _check_header(header, where)
    problems: list[str] = []
    rows: list[tuple[AddressRange, list[str]]] = []
    for cells in reader:
        if not any(cells) or cells[0].startswith("#"):
            continue
        try:
            rows.append((network_range(cells[0].strip()), _cells(header, cells)))
        except ValueError as error:
            problems.append(f"{where}: line {reader.line_num}: {error}")
    if problems:
        raise ConfigError(problems)
    return _inherited(rows)


def _check_header(header: Sequence[str], where: str) -> None:
    if header[:1] != ["network"]:
        raise ConfigError([f"{where}: line 1: the first column must be 'network'"])
    wrong = [name for name in header[1:] if name not in LABELS or header.count(name) > 1]
    if wrong:
        raise ConfigError([f"{where}: line 1: no column '{name}', or twice; there are {', '.join(LABELS)}" for name in wrong])


def _cells(header: Sequence[str], cells: Sequence[str]) -> list[str]:
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} fields, expected {len(header)}")
    given = dict(zip(header, cells, strict=True))
    return [given.get(name, "").strip() for name in LABELS]


def _inherited(rows: list[tuple[AddressRange, list[str]]]) -> Labels:
    """Labels from outer to inner networks; of two lines about one network the later one holds."""
    rows.insert(0, (network_range("::ffff:0:0/96"), [_NONE] * len(LABELS)))
    rows.sort(key=lambda row: (row[0].first, -row[0].last))
    sets: dict[LabelSet, int] = {}
    outer: list[tuple[int, LabelSet]] = []
    ranges: list[AddressRange] = []
    for network, cells in rows:
        while outer and outer[-1][0] < network.first:
            outer.pop()
        above = outer[-1][1] if outer else (None,) * len(LABELS)
        labels = tuple(_label(cell, inherited) for cell, inherited in zip(cells, above, strict=True))
        outer.append((network.last, labels))
        ranges.append(AddressRange(network.first, network.last, sets.setdefault(labels, len(sets))))
    return Labels(tuple(sets), tuple(ranges))


def _label(cell: str, inherited: str | None) -> str | None:
    return None if cell == _NONE else cell or inherited
