"""Nodes from a file: YAML, or CSV with one line per interface.

In: the path of a file. Out: its nodes; a file that cannot be read raises ConfigError, a record that cannot be used is a problem.

    - label: core-1                     # YAML: a list of nodes, fields as in inventory.records
      addresses: [10.0.0.1, 2001:db8::1]
      categories: [Routers]
      interfaces: [{index: 1, name: xe-0/0/0, alias: uplink, speed: 10000000000}]

    foreign_source;foreign_id;node_id;label;location;vendor;categories;addresses;if_index;if_name;if_alias;if_speed;if_side

Columns of a CSV file can be left out and in any order; lines with the same foreign source and id, or else the same addresses,
are one node.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from common.errors import ConfigError
from inventory.model import Gathered, Node, Problem, merge
from inventory.records import NODE_FIELDS, Json, is_record, node_of

_INTERFACE_COLUMNS: Final = {"if_index": "index", "if_name": "name", "if_alias": "alias", "if_speed": "speed", "if_side": "side"}
_CSV_COLUMNS: Final = (*NODE_FIELDS[:-2], *_INTERFACE_COLUMNS)


def read_nodes(path: Path) -> Gathered:
    """The nodes of a YAML or CSV file, in its order."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    return _from_csv(text, str(path)) if path.suffix.lower() == ".csv" else _from_yaml(text, str(path))


def _from_yaml(text: str, where: str) -> Gathered:
    try:
        tree: Any = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ConfigError([f"{where}: not YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(tree, list):
        raise ConfigError([f"{where}: the top level must be a list of nodes"])
    problems: list[Problem] = []
    nodes: list[Node] = []
    for number, record in enumerate(tree):
        place = f"{where}: [{number}]"
        if not is_record(record):
            problems.append(Problem(place, "must be a mapping"))
        elif node := node_of(record, place, problems):
            nodes.append(node)
    return Gathered(tuple(nodes), tuple(problems))


def _from_csv(text: str, where: str) -> Gathered:
    reader = csv.DictReader(io.StringIO(text), delimiter=";")
    unknown = [name for name in reader.fieldnames or () if name not in _CSV_COLUMNS]
    if unknown or not reader.fieldnames:
        raise ConfigError([f"{where}: line 1: no column '{name}'; there are {', '.join(_CSV_COLUMNS)}" for name in unknown or [""]])
    problems: list[Problem] = []
    nodes: list[Node] = []
    for row in reader:
        node = node_of(_record(row), f"{where}: line {reader.line_num}", problems)
        nodes += [node] if node else []
    return Gathered(tuple(merge([nodes])), tuple(problems))


def _record(row: Mapping[str, str | None]) -> Mapping[str, Json]:
    record: dict[str, Json] = {name: row[name] for name in row if name in NODE_FIELDS[:-2] and row[name]}
    interface = {key: row.get(name) for name, key in _INTERFACE_COLUMNS.items()}
    if interface["index"]:
        record["interfaces"] = [interface]
    return record
