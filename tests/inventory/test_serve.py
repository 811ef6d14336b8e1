"""What the gatherer serves: its snapshot by ETag, and how its sources fare."""

from pathlib import Path

import requests

from inventory.compile import Content, compile_content
from inventory.fetch import SnapshotFetcher
from inventory.gather import Gatherer, SourceState
from inventory.model import Node
from inventory.serve import exposition, serving
from inventory.settings import InventorySettings


def _gatherer(folder: Path) -> Gatherer:
    return Gatherer(InventorySettings(), folder, (), lambda: 61_000)


def _place(gatherer: Gatherer, label: str) -> None:
    compiled = compile_content(Content([Node(label=label, addresses=("10.0.0.1",))]))
    compiled.write(gatherer.folder / "inventory.arrow", 1)
    gatherer.version = compiled.version


def test_a_fetcher_follows(tmp_path: Path) -> None:
    gatherer = _gatherer(tmp_path)
    with serving(gatherer, "127.0.0.1", 0) as port:
        url = f"http://127.0.0.1:{port}/inventory.arrow"
        assert requests.get(url, timeout=5).status_code == 503
        fetcher = SnapshotFetcher(url, tmp_path / "copy.arrow")
        _place(gatherer, "first")
        assert [fetcher.fetch(), fetcher.fetch()] == [True, False]
        _place(gatherer, "second")
        assert [fetcher.fetch(), fetcher.fetch()] == [True, False]
        assert (tmp_path / "copy.arrow").read_bytes() == (tmp_path / "inventory.arrow").read_bytes()


def test_other_paths(tmp_path: Path) -> None:
    with serving(_gatherer(tmp_path), "127.0.0.1", 0) as port:
        assert requests.get(f"http://127.0.0.1:{port}/etc/passwd", timeout=5).status_code == 404
        metrics = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5)
    assert (metrics.status_code, "inventory_source_nodes" in metrics.text) == (200, True)


def test_metrics(tmp_path: Path) -> None:
    gatherer = _gatherer(tmp_path)
    gatherer.states["file nodes"] = SourceState("file nodes", (Node(addresses=("10.0.0.1",)),), good_ms=1000, failures=2)
    gatherer.states["snmp"] = SourceState("snmp", failures=1)
    lines = [line for line in exposition(gatherer).decode().splitlines() if not line.startswith("#")]
    assert lines == [
        'inventory_source_failures_total{source="file nodes"} 2.0',
        'inventory_source_failures_total{source="snmp"} 1.0',
        'inventory_source_age_seconds{source="file nodes"} 60.0',
        'inventory_source_nodes{source="file nodes"} 1.0',
        'inventory_source_nodes{source="snmp"} 0.0',
    ]
