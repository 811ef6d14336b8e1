"""Nodes from YAML, CSV and options records: what is read, and what costs itself."""

from pathlib import Path

import pytest

from common.errors import ConfigError, InputError
from inventory.files import read_nodes
from inventory.model import Interface, Node
from inventory.options import OptionsFile
from inventory.records import NODE_FIELDS


def test_yaml(tmp_path: Path) -> None:
    path = tmp_path / "nodes.yaml"
    path.write_text(
        "- {label: core-1, foreign_source: lab, foreign_id: 7, node_id: 3, location: Berlin, vendor: Cisco, categories: [A, B],\n"
        "   addresses: [10.0.0.1, '2001:db8::1/64'],\n"
        "   interfaces: [{index: 1, name: xe-0, alias: up, speed: 10000000000}, {index: 2}]}\n"
    )
    gathered = read_nodes(path)
    assert gathered.problems == ()
    assert gathered.nodes == (
        Node(
            "lab", "7", 3, "core-1", "Berlin", "Cisco", ("A", "B"), ("10.0.0.1", "2001:db8::1"),
            (Interface(1, "xe-0", "up", 10_000_000_000), Interface(2)),
        ),
    )  # fmt: skip


def test_csv_has_a_line_per_interface(tmp_path: Path) -> None:
    path = tmp_path / "nodes.csv"
    path.write_text(
        "label;addresses;categories;if_index;if_name;if_speed\n"
        "a;10.0.0.1,10.0.0.2;X;1;one;1000\na;10.0.0.1;;2;two;\nb;10.0.0.9;;;;\n"
    )
    assert read_nodes(path).nodes == (
        Node(
            label="a", addresses=("10.0.0.1", "10.0.0.2"), categories=("X",),
            interfaces=(Interface(1, "one", None, 1000), Interface(2, "two")),
        ),
        Node(label="b", addresses=("10.0.0.9",)),
    )  # fmt: skip


def test_a_bad_record_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "nodes.yaml"
    path.write_text(
        "- {label: a, addresses: [10.0.0.300, 10.0.0.1], colour: red, node_id: -1}\n- 7\n- {label: no address}\n"
        "- {addresses: 10.0.0.2, interfaces: [{name: x}, 3, {index: 5, speed: fast}], label: [x]}\n"
        "- {addresses: 10.0.0.3, interfaces: 5, categories: {a: b}}\n- {addresses: [[1]], foreign_id: x}\n"
    )
    gathered = read_nodes(path)
    assert [(node.addresses, len(node.interfaces)) for node in gathered.nodes] == [
        (("10.0.0.1",), 0),
        (("10.0.0.2",), 1),
        (("10.0.0.3",), 0),
        ((), 0),
    ]
    assert [str(problem).removeprefix(f"{path}: ") for problem in gathered.problems] == [
        f"[0]: no field 'colour'; there are {', '.join(NODE_FIELDS)}",
        "[0].addresses: '10.0.0.300' is no address",
        "[0].node_id: must be a whole number, not -1",
        "[1]: must be a mapping",
        "[2]: a node needs an address or a foreign id",
        "[3].label: must be a text, not list",
        "[3].interfaces[0]: needs an index below 2^32",
        "[3].interfaces[1]: must be a mapping",
        "[3].interfaces[2].speed: must be a whole number, not 'fast'",
        "[4].categories: must be a list",
        "[4].interfaces: must be a list",
        "[5].addresses: must hold texts, not list",
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "a: [", "not YAML"),
        ("a.yaml", "a: b", "must be a list of nodes"),
        ("a.csv", "", "line 1: no column ''"),
        ("a.csv", "label;colour\n", "line 1: no column 'colour'"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_nodes(tmp_path / name)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_nodes(tmp_path / "missing.yaml")


def test_options_records(tmp_path: Path) -> None:
    path = tmp_path / "options.ndjson"
    path.write_text(
        '{"exporter": "10.0.0.1", "location": "Berlin", "index": 2, "name": "old"}\n'
        '{"exporter": "10.0.0.1", "location": "Berlin", "index": 1, "name": "one", "alias": "up"}\n\n'
        '{"exporter": "10.0.0.1", "location": "Berlin", "index": 2, "name": "new"}\n'
        '{"exporter": "x", "index": 1}\n[]\n{"index": 1}\n{'
    )
    gathered = OptionsFile(path).gather()
    assert gathered.nodes == (
        Node(location="Berlin", addresses=("10.0.0.1",), interfaces=(Interface(1, "one", "up"), Interface(2, "new"))),
    )
    assert [problem.place for problem in gathered.problems] == [f"{path}: line {line}" for line in (5, 6, 7, 8)]
    with pytest.raises(InputError, match="cannot be read"):
        OptionsFile(tmp_path / "missing").gather()
