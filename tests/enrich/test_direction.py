"""Directions that exporters do not say."""

from pathlib import Path

import pyarrow as pa
import pytest

from columns.direction import repaired_direction
from columns.enrich import Enricher
from common.addresses import pack_address
from common.config import Enrichment
from flowpb.schema import ADDRESS, BY_NAME, TEXT, Direction
from inventory.compile import Content, compile_content
from inventory.model import Interface, Node


def _side(*values: str | None) -> pa.DictionaryArray:
    return pa.array(values, pa.string()).dictionary_encode().cast(TEXT)


@pytest.mark.parametrize(
    ("exported", "in_side", "out_side", "found"),
    [
        (None, "external", "internal", Direction.INGRESS),
        (None, "external", None, Direction.INGRESS),
        (None, "internal", "external", Direction.EGRESS),
        (Direction.UNKNOWN, None, "external", Direction.EGRESS),
        (None, "external", "external", None),
        (None, "internal", "internal", None),
        (None, None, None, None),
        (Direction.EGRESS, "external", "internal", Direction.EGRESS),
        (Direction.INGRESS, "internal", "external", Direction.INGRESS),
    ],
)
def test_what_is_said_stays_and_the_rest_goes_by_the_external_interface(
    exported: Direction | None, in_side: str | None, out_side: str | None, found: Direction | None
) -> None:
    flows = pa.record_batch({"direction": pa.array([exported], pa.uint8())})
    column = repaired_direction(flows, {"in_if_side": _side(in_side), "out_if_side": _side(out_side)})
    assert column.type == BY_NAME["direction"].type
    assert column.to_pylist() == [found]


def test_without_the_columns_nothing_is_known() -> None:
    assert repaired_direction(pa.record_batch({"bytes": pa.array([1, 2])}), {}).to_pylist() == [None, None]


@pytest.mark.parametrize(("setting", "expected"), [("interface_side", [0, 1, 1]), ("exporter", [None, None, 1])])
def test_as_configured(tmp_path: Path, setting: str, expected: list[int | None]) -> None:
    interfaces = (Interface(1, side="external"), Interface(2, side="internal"))
    compile_content(Content([Node(addresses=("10.0.0.1",), interfaces=interfaces)])).write(tmp_path / "inventory.arrow", 1)
    enricher = Enricher.of(Enrichment.model_validate({"inventory": str(tmp_path / "inventory.arrow"), "direction": setting}))
    exporter = pa.array([pack_address("10.0.0.1")] * 3, pa.binary(16)).dictionary_encode().cast(ADDRESS)
    flows = pa.record_batch(
        {
            "exporter_addr": exporter,
            "in_if": pa.array([1, 2, 1], pa.uint32()),
            "out_if": pa.array([2, 1, 2], pa.uint32()),
            "direction": pa.array([None, None, 1], pa.uint8()),
        }
    )
    found = enricher.enrich(flows)
    assert found.column("direction").to_pylist() == expected
    assert found.column("in_if_side").to_pylist() == ["external", "internal", "external"]
    assert found.schema.names == [name for name in BY_NAME if name in found.schema.names]
