"""What the inventory says of flows, against a look-up in plain Python."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from columns.inventory import inventory_columns
from columns.ranges import network_range
from columns.snapshot import Snapshot, open_snapshot, write_snapshot
from common.addresses import pack_address
from common.errors import ConfigError
from flowpb.schema import ADDRESS, BY_NAME, TEXT
from inventory.compile import Content, compile_content
from inventory.labels import parse_labels
from inventory.maxmind import Located
from inventory.model import SIDES, Interface, Node, Vrf

_HOSTS = ("10.0.0.1", "10.0.0.2", "192.0.2.1", "2001:db8::1", "2001:db8:1::1")
_PLACES = ("Berlin", "Rome", "Oslo")
_INTERFACE = st.builds(
    Interface,
    st.integers(0, 3),
    st.none() | st.just("if"),
    st.none(),
    st.none() | st.integers(0, 9),
    st.sampled_from([None, *SIDES]),
)
_VRF = st.builds(Vrf, st.integers(0, 3), st.sampled_from([None, "red", "blue"]))
_NODE = st.builds(
    Node,
    foreign_source=st.sampled_from([None, "lab"]),
    foreign_id=st.sampled_from([None, "r1", "r2"]),
    node_id=st.none() | st.integers(0, 3),
    label=st.none() | st.sampled_from("abc"),
    location=st.sampled_from([None, *_PLACES[:2]]),
    vendor=st.sampled_from([None, "Cisco"]),
    categories=st.sampled_from([(), ("A",), ("A", "B")]),
    addresses=st.lists(st.sampled_from(_HOSTS), max_size=2, unique=True).map(tuple),
    interfaces=st.lists(_INTERFACE, max_size=3, unique_by=lambda each: each.index).map(tuple),
    vrfs=st.lists(_VRF, max_size=2, unique_by=lambda each: each.index).map(tuple),
)
_FLOW = st.tuples(
    st.sampled_from([None, *_HOSTS]),
    st.sampled_from([None, *_PLACES]),
    st.none() | st.integers(0, 4),
    st.sampled_from([None, *_HOSTS]),
)
Row = tuple[str | None, str | None, int | None, str | None]


def _addresses(texts: Sequence[str | None]) -> pa.DictionaryArray:
    return (
        pa.array([None if text is None else pack_address(text) for text in texts], pa.binary(16)).dictionary_encode().cast(ADDRESS)
    )


def _flows(rows: Sequence[Row]) -> pa.RecordBatch:
    exporters, places, indexes, sources = zip(*rows, strict=True)
    columns = {
        "exporter_addr": _addresses(exporters),
        "location": pa.array(places, pa.string()).dictionary_encode().cast(TEXT),
        "src_addr": _addresses(sources),
        "in_if": pa.array(indexes, pa.uint32()),
        "vrf_in": pa.array(indexes, pa.uint32()),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _snapshot(folder: Path, content: Content) -> Snapshot:
    compile_content(content).write(folder / "inventory.arrow", 1)
    return open_snapshot(folder / "inventory.arrow")


def _node(nodes: Sequence[Node], address: str | None, place: str | None) -> Node | None:
    """The first with the address at that very place, else the first with it and no place."""
    found = [node for wanted in (place, None) for node in nodes if address in node.addresses and node.location == wanted]
    return found[0] if found else None


def _plain(nodes: Sequence[Node], row: Row) -> dict[str, object]:
    exporter, source = _node(nodes, row[0], row[1]), _node(nodes, row[3], row[1])
    interfaces = exporter.interfaces if exporter else ()
    interface = next((each for each in interfaces if each.index == (row[2] or 0)), Interface(0))
    vrf = next((each for each in (exporter.vrfs if exporter else ()) if each.index == row[2]), Vrf(0))
    return {
        "exporter_foreign_source": exporter and exporter.foreign_source,
        "exporter_foreign_id": exporter and exporter.foreign_id,
        "exporter_node_id": exporter.node_id if exporter else None,
        "exporter_label": exporter and exporter.label,
        "exporter_categories": ",".join(exporter.categories) or None if exporter else None,
        "exporter_vendor": exporter and exporter.vendor,
        "in_if_name": interface.name,
        "in_if_alias": interface.alias,
        "in_if_speed": interface.speed,
        "in_if_side": interface.side,
        "vrf_in_name": vrf.name,
        "src_label": source and source.label,
        "src_node_id": source.node_id if source else None,
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(nodes=st.lists(_NODE, max_size=6), rows=st.lists(_FLOW, min_size=1, max_size=12))
def test_nodes_and_interfaces_equal_a_plain_look_up(tmp_path: Path, nodes: list[Node], rows: list[Row]) -> None:
    columns = inventory_columns(_flows(rows), _snapshot(tmp_path, Content(nodes)))
    expected = [_plain(nodes, row) for row in rows]
    for name in expected[0]:
        found = columns[name].to_pylist() if name in columns else [None] * len(rows)
        assert found == [row[name] for row in expected], name
        if name in columns and columns[name].type == TEXT:
            assert len(set(columns[name].dictionary.to_pylist())) == len(columns[name].dictionary)


def _networks(folder: Path) -> Snapshot:
    labels = parse_labels("network;site;role\n10.0.0.0/8;ten;\n10.0.0.0/24;;servers\n2001:db8::/32;six;\n", "labels.csv")
    systems = Located(
        ((64_500, "Example"), (64_501, None), (7, "Seven")),
        (network_range("192.0.2.0/24", 0), network_range("10.0.0.2/32", 1), network_range("203.0.113.0/24", 2)),
    )
    countries = Located(("DE",), (network_range("192.0.2.0/24", 0),))
    return _snapshot(folder, Content((), labels, systems, countries))


def test_networks(tmp_path: Path) -> None:
    flows = _flows([(None, None, None, source) for source in ("10.0.0.2", "10.9.0.1", "192.0.2.1", "2001:db8::1", None)])
    columns = inventory_columns(flows, _networks(tmp_path))
    assert "src_tenant" not in columns
    assert {name: columns[f"src_{name}"].to_pylist() for name in ("site", "role", "country", "as", "as_name")} == {
        "site": ["ten", "ten", None, "six", None],
        "role": ["servers", None, None, None, None],
        "country": [None, None, "DE", None, None],
        "as": [64_501, None, 64_500, None, None],
        "as_name": [None, None, "Example", None, None],
    }


@pytest.mark.parametrize(
    ("database_first", "numbers", "names"),
    [
        (False, [64_500, 64_500, 7, 9, 0], ["Example", "Example", "Seven", None, None]),
        (True, [64_500, 64_500, 64_500, 64_500, 0], ["Example"] * 4 + [None]),
    ],
)
def test_whose_as_number_holds(tmp_path: Path, database_first: bool, numbers: list[int], names: list[str | None]) -> None:
    addresses = ["192.0.2.1"] * 4 + ["10.200.0.1"]
    flows = _flows([(None, None, None, address) for address in addresses])
    flows = flows.append_column("src_as", pa.array([None, 0, 7, 9, 0], pa.uint32()))
    columns = inventory_columns(flows, _networks(tmp_path), database_first)
    assert columns["src_as"].type == BY_NAME["src_as"].type
    assert (columns["src_as"].to_pylist(), columns["src_as_name"].to_pylist()) == (numbers, names)


def test_empty_flows_and_an_empty_inventory(tmp_path: Path) -> None:
    snapshot = _snapshot(tmp_path, Content())
    assert set(inventory_columns(pa.RecordBatch.from_arrays([], names=[]), snapshot)) == {"inventory_version"}
    for flows in (_flows([("10.0.0.1", "Berlin", 1, "10.0.0.2")]), _flows([("10.0.0.1", "Berlin", 1, None)]).slice(0, 0)):
        assert set(inventory_columns(flows, snapshot)) == {"inventory_version"}


@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0garbage", b"x" * 200])
def test_what_is_no_snapshot(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "inventory.arrow"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read as an inventory"):
        open_snapshot(path)
    with pytest.raises(ConfigError, match="cannot be read as an inventory"):
        open_snapshot(tmp_path / "missing")


def test_an_arrow_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "inventory.arrow"
    batch = pa.record_batch({"a": [1]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(ConfigError, match="is no inventory of this program"):
        open_snapshot(path)


def test_a_snapshot_that_points_nowhere(tmp_path: Path) -> None:
    compiled = compile_content(
        Content([Node(addresses=("10.0.0.1",))], parse_labels("network;site\n10.0.0.0/8;ten\n", "labels.csv"))
    )
    tables = compiled.tables | {"nodes": compiled.tables["nodes"][:0], "labels": compiled.tables["labels"][:0]}
    write_snapshot(tmp_path / "inventory.arrow", tables, "x", 1)
    with pytest.raises(ConfigError, match="it points to nodes, labels that it does not have"):
        open_snapshot(tmp_path / "inventory.arrow")


def test_a_mapped_snapshot_outlives_its_replacement(tmp_path: Path) -> None:
    before = _snapshot(tmp_path, Content([Node(label="before", addresses=("10.0.0.1",))]))
    after = _snapshot(tmp_path, Content([Node(label="after", addresses=("10.0.0.1",))]))
    flows = _flows([("10.0.0.1", None, None, None)])
    assert [inventory_columns(flows, each)["exporter_label"].to_pylist() for each in (before, after)] == [["before"], ["after"]]
