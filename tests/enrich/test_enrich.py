"""The columns that a batch gains."""

import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from columns.enrich import Enricher
from common.addresses import pack_address
from common.config import Enrichment
from common.errors import ConfigError
from flowpb.schema import ADDRESS, BY_NAME, FLOW_SCHEMA
from inventory.compile import Content, compile_content
from inventory.model import Node

_ADDED = ["application", "src_locality", "dst_locality", "flow_locality"]


def _addresses(*texts: str | None) -> pa.DictionaryArray:
    return (
        pa.array([None if text is None else pack_address(text) for text in texts], pa.binary(16)).dictionary_encode().cast(ADDRESS)
    )


def _flows(**columns: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def test_appends_in_the_order_of_flow() -> None:
    flows = _flows(
        src_addr=_addresses("10.0.0.1"),
        dst_addr=_addresses("192.0.2.1"),
        src_port=pa.array([50_000], pa.uint16()),
        dst_port=pa.array([443], pa.uint16()),
        protocol=pa.array([6], pa.uint8()),
    )
    found = Enricher.default().enrich(flows)
    assert found.schema.names == [*flows.schema.names, *_ADDED]
    assert all(found.schema.field(name).type == FLOW_SCHEMA.field(name).type for name in found.schema.names)
    assert found.select(_ADDED).to_pylist() == [
        {"application": "https", "src_locality": "private", "dst_locality": "public", "flow_locality": "public"}
    ]


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        ("10.0.0.1", "fd00::1", ("private", "private", "private")),
        ("10.0.0.1", "8.8.8.8", ("private", "public", "public")),
        ("8.8.8.8", "10.0.0.1", ("public", "private", "public")),
        ("8.8.8.8", None, ("public", None, "public")),
        (None, "10.0.0.1", (None, "private", None)),
        (None, None, (None, None, None)),
    ],
)
def test_locality_of_a_flow(source: str | None, destination: str | None, expected: tuple[str | None, ...]) -> None:
    found = Enricher.default().enrich(_flows(src_addr=_addresses(source), dst_addr=_addresses(destination)))
    assert tuple(found.column(name)[0].as_py() for name in _ADDED[1:]) == expected


def test_null_inside_the_dictionary_is_no_address() -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array([None, pack_address("10.0.0.1")], pa.binary(16)))
    assert Enricher.default().enrich(_flows(src_addr=column)).column("src_locality").to_pylist() == [None, "private"]


def test_absent_columns_give_null() -> None:
    found = Enricher.default().enrich(_flows(bytes=pa.array([1, 2], pa.uint64())))
    assert found.schema.names == ["bytes", *_ADDED]
    assert all(found.column(name).null_count == 2 for name in _ADDED)


def test_empty_batches() -> None:
    nothing = pa.RecordBatch.from_arrays([], names=[])
    assert Enricher.default().enrich(nothing).num_rows == 0
    no_rows = _flows(src_addr=_addresses(), protocol=pa.array([], BY_NAME["protocol"].type))
    assert Enricher.default().enrich(no_rows).schema.names == ["src_addr", "protocol", *_ADDED]


def test_enriching_twice_changes_nothing() -> None:
    once = Enricher.default().enrich(_flows(src_addr=_addresses("10.0.0.1")))
    assert Enricher.default().enrich(once).equals(once)


def test_travels_with_its_networks() -> None:
    enricher = pickle.loads(pickle.dumps(Enricher(private_networks=("8.8.8.0/24",))))
    found = enricher.enrich(_flows(src_addr=_addresses("8.8.8.8", "10.0.0.1")))
    assert found.column("src_locality").to_pylist() == ["private", "public"]


def test_a_slice_equals_a_slice() -> None:
    flows = _flows(src_addr=_addresses("10.0.0.1", "8.8.8.8", None, "8.8.4.4"), dst_port=pa.array([1, 80, None, 9], pa.uint16()))
    whole = Enricher.default().enrich(flows)
    assert Enricher.default().enrich(flows.slice(1, 2)).to_pylist() == whole.slice(1, 2).to_pylist()


def test_everything_that_can_be_configured(tmp_path: Path) -> None:
    nodes = [Node(label="core", addresses=("10.0.0.1",), categories=("Routers",))]
    compile_content(Content(nodes)).write(tmp_path / "inventory.arrow", 1)
    (tmp_path / "rules.csv").write_text("ours;tcp;;;;443;catincRouters;\n")
    settings = Enrichment(
        rules=str(tmp_path / "rules.csv"),
        inventory=str(tmp_path / "inventory.arrow"),
        private_networks=("8.8.8.0/24",),
        client=True,
    )
    enricher = pickle.loads(pickle.dumps(Enricher.of(settings)))
    flows = _flows(
        exporter_addr=_addresses("10.0.0.1", "10.0.0.2"),
        src_addr=_addresses("8.8.8.8", "10.0.0.1"),
        dst_port=pa.array([443, 443], pa.uint16()),
        protocol=pa.array([6, 6], pa.uint8()),
    )
    found = enricher.enrich(flows)
    assert {
        name: found.column(name).to_pylist() for name in ("application", "src_locality", "exporter_label", "src_label", "client")
    } == {
        "application": ["ours", "https"],
        "src_locality": ["private", "public"],
        "exporter_label": ["core", None],
        "src_label": [None, "core"],
        "client": [1, 1],
    }
    assert found.column("rules_version").to_pylist() == [enricher.classifier().book.version] * 2
    assert len(set(found.column("inventory_version").to_pylist())) == 1
    assert found.schema.names == [name for name in BY_NAME if name in found.schema.names]
    assert all(found.schema.field(name).type == FLOW_SCHEMA.field(name).type for name in found.schema.names)


@pytest.mark.parametrize("setting", ["rules", "inventory"])
def test_a_file_that_cannot_be_used_is_refused_at_start(setting: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Enricher.of(Enrichment.model_validate({setting: "/nonexistent/file.csv"}))
