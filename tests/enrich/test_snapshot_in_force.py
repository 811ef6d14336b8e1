"""The inventory of a running worker: swapped when its file changes, kept when the file is damaged or gone."""

import math
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from columns.enrich import Enricher
from columns.inventory import process_inventory
from common.addresses import pack_address
from common.config import Enrichment
from flowpb.schema import ADDRESS
from inventory.compile import Content, compile_content
from inventory.model import Node


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    process_inventory.cache_clear()
    yield
    process_inventory.cache_clear()


def _put(path: Path, label: str) -> str:
    compiled = compile_content(Content([Node(label=label, addresses=("10.0.0.1",))]))
    compiled.write(path, 1)
    return compiled.version


def _labels(enricher: Enricher, path: Path) -> tuple[list[str | None], str]:
    """Labels of a known and an unknown exporter, and the version; as if five seconds had passed and the reader were done."""
    live = process_inventory(str(path))
    live.looked_s = -math.inf
    live.current()
    if live.worker is not None:
        live.worker.join()
    addresses = pa.array([pack_address("10.0.0.1"), pack_address("10.0.0.2")], pa.binary(16))
    flows = enricher.enrich(pa.record_batch({"exporter_addr": addresses.dictionary_encode().cast(ADDRESS)}))
    assert flows.num_rows == 2, "no flow is lost for want of a name"
    return flows.column("exporter_label").to_pylist(), flows.column("inventory_version")[1].as_py()


def test_what_was_good_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "inventory.arrow"
    first = _put(path, "old")
    enricher = Enricher.of(Enrichment(inventory=str(path)))
    assert _labels(enricher, path) == (["old", None], first)
    second = _put(path, "new")
    assert _labels(enricher, path) == (["new", None], second)
    path.rename(tmp_path / "mapped.arrow")  # what is mapped is never written to
    path.write_bytes(b"nonsense")
    assert _labels(enricher, path) == (["new", None], second)
    path.unlink()
    assert _labels(enricher, path) == (["new", None], second)
    assert process_inventory(str(path)).problems
    assert "what was in force stays" in caplog.text
    third = _put(path, "back")
    assert _labels(enricher, path) == (["back", None], third)
