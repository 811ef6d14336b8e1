"""Sides of interfaces, by names or as a source says."""

from pathlib import Path

import pytest

from inventory.files import read_nodes
from inventory.gather import Gatherer
from inventory.model import Interface, Node, Vrf, merge
from inventory.settings import InventorySettings
from inventory.sides import SidePatterns
from inventory.sources import sources_of


@pytest.mark.parametrize(
    ("interface", "side"),
    [
        (Interface(1, "xe-0", "TRANSIT: example"), "external"),
        (Interface(1, "ge-3", None), "internal"),
        (Interface(1, "ge-3", "Transit: both fit"), "external"),
        (Interface(1, "ge-3", "transit: told", side="internal"), "internal"),
        (Interface(1, "lo0", "my transit: not at the begin"), None),
        (Interface(1), None),
    ],
)
def test_patterns(interface: Interface, side: str | None) -> None:
    (node,) = SidePatterns(["transit: *"], ["ge-?", "irb.*"]).apply([Node(interfaces=(interface,))])
    assert node.interfaces[0].side == side


def test_without_patterns_nothing_changes() -> None:
    nodes = [Node(label="a", interfaces=(Interface(1, "x"),))]
    assert SidePatterns([], []).apply(nodes) == nodes


def test_files_say_sides_and_vrfs(tmp_path: Path) -> None:
    path = tmp_path / "nodes.yaml"
    path.write_text(
        "- {addresses: 10.0.0.1, interfaces: [{index: 1, side: external}, {index: 2, side: left}],"
        " vrfs: [{index: 7, name: red}, {index: -1}]}\n"
    )
    gathered = read_nodes(path)
    assert gathered.nodes == (
        Node(addresses=("10.0.0.1",), interfaces=(Interface(1, side="external"), Interface(2)), vrfs=(Vrf(7, "red"),)),
    )
    assert [str(problem).removeprefix(f"{path}: [0].") for problem in gathered.problems] == [
        "interfaces[1].side: must be internal or external, not 'left'",
        "vrfs[1].index: must be a whole number, not -1",
        "vrfs[1]: needs an index below 2^32",
    ]
    table = tmp_path / "nodes.csv"
    table.write_text("addresses;if_index;if_side\n10.0.0.1;3;internal\n")
    assert read_nodes(table).nodes[0].interfaces == (Interface(3, side="internal"),)


def test_sources_add_up() -> None:
    trusted = Node(addresses=("10.0.0.1",), interfaces=(Interface(1, "a", side="internal"),), vrfs=(Vrf(1),))
    other = Node(addresses=("10.0.0.1",), interfaces=(Interface(1, "b", side="external"),), vrfs=(Vrf(1, "red"), Vrf(2, "blue")))
    assert merge([[trusted], [other]]) == [
        Node(
            addresses=("10.0.0.1",), interfaces=(Interface(1, "a", side="internal"),), vrfs=(Vrf(1, "red"), Vrf(2, "blue"))
        )
    ]  # fmt: skip


def test_a_snapshot_and_the_memory_of_a_source_have_them(tmp_path: Path) -> None:
    nodes = tmp_path / "nodes.yaml"
    nodes.write_text("- {addresses: 10.0.0.1, interfaces: [{index: 1, name: transit}], vrfs: [{index: 7, name: red}]}\n")
    settings = InventorySettings.model_validate(
        {"sources": [{"type": "file", "path": "nodes.yaml"}], "external_interfaces": ["transit*"]}
    )
    assert Gatherer(settings, tmp_path, sources_of(settings, tmp_path)).refresh()
    nodes.unlink()
    later = Gatherer(settings, tmp_path, sources_of(settings, tmp_path))
    assert not later.refresh(), "the last good answer makes the same snapshot"
    assert later.states["file nodes.yaml"].failed
    assert later.states["file nodes.yaml"].nodes[0].vrfs == (Vrf(7, "red"),)
