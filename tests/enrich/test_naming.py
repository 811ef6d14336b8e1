"""Aggregates say who their exporter is, and by which rules and inventory that was said; numbers stay as they are."""

from pathlib import Path

import pyarrow as pa

from columns.enrich import Enricher
from columns.naming import named
from columns.ranges import network_range
from flowpb.documents import AGGREGATE_SCHEMA, NAMED
from inventory.compile import Content, compile_content
from inventory.maxmind import Located
from inventory.model import Node


def documents(*exporters: str | None) -> pa.Table:
    rows = [{"exporter_addr": exporter, "location": "Berlin", "bytes_total": 7, "slot": 0} for exporter in exporters]
    return pa.Table.from_pylist(rows, schema=AGGREGATE_SCHEMA)


def inventory(folder: Path) -> str:
    node = Node(foreign_source="lab", foreign_id="r1", node_id=42, location="Berlin", addresses=("192.0.2.1",))
    path = folder / "inventory.arrow"
    compile_content(Content(nodes=(node,))).write(path, 1)
    return str(path)


def named_columns(table: pa.Table) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = table.select(list(NAMED)).to_pylist()
    return rows


def test_a_known_exporter_has_its_node_and_an_unknown_one_none(tmp_path: Path) -> None:
    given = documents("192.0.2.1", "2001:db8::1", "192.0.2.1")
    result = named(given, Enricher((), inventory=inventory(tmp_path)))
    version = result["inventory_version"][0].as_py()
    node = {"foreign_source": "lab", "foreign_id": "r1", "node_id": 42}
    known = {**node, "item_name": None, "rules_version": None, "inventory_version": version}
    assert version
    assert named_columns(result) == [known, dict.fromkeys(NAMED) | {"inventory_version": version}, known]
    assert result.drop_columns(list(NAMED)).equals(given.drop_columns(list(NAMED)))
    assert result.schema == AGGREGATE_SCHEMA


def test_what_flows_have_brought_goes_before_the_inventory(tmp_path: Path) -> None:
    brought = [
        {"exporter_addr": address, "location": "Berlin", "slot": 0, "node_id": number}
        for address, number in (("192.0.2.1", 7), ("192.0.2.1", None), ("192.0.2.9", 8), ("192.0.2.9", None))
    ]
    result = named(pa.Table.from_pylist(brought, schema=AGGREGATE_SCHEMA), Enricher((), inventory=inventory(tmp_path)))
    node = [(row["foreign_source"], row["foreign_id"], row["node_id"]) for row in named_columns(result)]
    assert node == [(None, None, 7), ("lab", "r1", 42), (None, None, 8), (None, None, None)]


def test_what_has_no_exporter_has_the_inventory_in_force(tmp_path: Path) -> None:
    result = named(documents(None, "192.0.2.1", None), Enricher((), inventory=inventory(tmp_path)))
    assert result["node_id"].to_pylist() == [None, 42, None]
    version = result["inventory_version"][1].as_py()
    assert version
    assert result["inventory_version"].to_pylist() == [version] * 3
    alone = named(documents(None), Enricher((), inventory=inventory(tmp_path)))
    assert named_columns(alone) == [dict.fromkeys(NAMED) | {"inventory_version": version}]


def test_autonomous_systems_have_their_name_and_nothing_else_has(tmp_path: Path) -> None:
    path = tmp_path / "systems.arrow"
    systems = Located(
        ((64_500, "Example Net"), (64_501, None)), (network_range("192.0.2.0/24", 0), network_range("10.0.0.2/32", 1))
    )
    compile_content(Content(systems=systems)).write(path, 1)
    rows = [
        {"grouped_by": grouped_by, "item": item, "slot": 0}
        for grouped_by in ("EXPORTER_AS", "SYSTEM_PROTOCOL", "EXPORTER_INTERFACE_TOS_AS", "EXPORTER")
        for item in ("64500", "64501", "x", None)
    ]
    result = named(pa.Table.from_pylist(rows, schema=AGGREGATE_SCHEMA), Enricher((), inventory=str(path)))
    names = ["Example Net", None, None, None]
    assert result["item_name"].to_pylist() == [*names, *[None] * 4, *names, *[None] * 4]


def test_the_rules_in_force_are_named(tmp_path: Path) -> None:
    rules = tmp_path / "rules.csv"
    rules.write_text(
        "name;protocol;srcAddress;srcPort;dstAddress;dstPort;exporterFilter;omnidirectional\nbackup;tcp;;;;873;;true\n"
    )
    enricher = Enricher((), rules=str(rules))
    assert named(documents("192.0.2.1"), enricher)["rules_version"].to_pylist() == [enricher.rules_version()]
    assert enricher.rules_version()


def test_without_rules_and_inventory_nothing_changes() -> None:
    given = documents("192.0.2.1")
    assert named(given, Enricher.default()).equals(given)


def test_no_documents_stay_none(tmp_path: Path) -> None:
    assert named(AGGREGATE_SCHEMA.empty_table(), Enricher((), inventory=inventory(tmp_path))).num_rows == 0
