"""A direction that is filled in by the sides of interfaces decides at which interface a flow counts."""

from pathlib import Path

import pytest

from bus.memory import MemoryLog, MemoryProducer, MemorySource
from columns.enrich import Enricher
from common.config import Enrichment
from flowpb.codec import Header, encode
from flowpb.groupings import HORIZON_MS
from inventory.compile import Content, compile_content
from inventory.model import Interface, Node
from pipelines.direct import MicroBatches, Work
from stores.parquet.manifest import Manifest
from tests.pipelines.line import EXACT, LANES, START_MS, stored_documents
from tests.pipelines.test_rules_over_http import batch


@pytest.mark.parametrize(("setting", "interfaces"), [("exporter", {0: 100, 1: 100}), ("interface_side", {1: 100})])
def test_where_a_flow_counts(tmp_path: Path, setting: str, interfaces: dict[int, int]) -> None:
    node = Node(addresses=("10.0.0.1",), interfaces=(Interface(1, side="external"),))
    compile_content(Content([node])).write(tmp_path / "inventory.arrow", 1)
    enricher = Enricher.of(Enrichment.model_validate({"inventory": str(tmp_path / "inventory.arrow"), "direction": setting}))
    log = MemoryLog(LANES)
    producer = MemoryProducer(log)
    producer.send(0, batch(0))
    producer.send(0, encode(Header("c", 1, 0, 1, START_MS + 2 * HORIZON_MS), None))
    with Manifest.open(tmp_path / "data", writer=True) as manifest:
        MicroBatches(MemorySource(log), manifest, Work(enricher, EXACT, LANES)).drain()
    totals = [row for row in stored_documents(tmp_path / "data") if row["grouped_by"] == "EXPORTER_INTERFACE"]
    assert {row["if_index"]: row["bytes_total"] for row in totals} == interfaces
