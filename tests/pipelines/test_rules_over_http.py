"""A rule that is put in over HTTP names the flows of a running pipeline."""

import math
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bus.memory import MemoryLog, MemoryProducer, MemorySource
from columns.enrich import Enricher
from columns.rules.live import process_rules
from common.addresses import pack_address
from common.config import Enrichment, Settings
from flowpb.codec import Header, encode
from flowpb.schema import BY_NAME
from pipelines.direct import MicroBatches, Work
from query.serve import serving
from stores.parquet.layout import find_file
from stores.parquet.manifest import Manifest
from tests.pipelines.line import EXACT, LANES, START_MS


def batch(seq: int) -> bytes:
    """One flow to port 443."""
    at = START_MS + seq * 1000
    values = {
        "received_ms": at,
        "exported_ms": at,
        "first_switched_ms": at,
        "delta_switched_ms": at,
        "last_switched_ms": at,
        "exporter_addr": pack_address("10.0.0.1"),
        "src_addr": pack_address("10.0.0.2"),
        "dst_addr": pack_address("192.0.2.1"),
        "src_port": 50_000,
        "dst_port": 443,
        "protocol": 6,
        "in_if": 1,
        "bytes": 100,
        "packets": 1,
    }
    columns = {name: pa.array([values[name]], BY_NAME[name].type) for name in BY_NAME if name in values}
    return encode(Header("c", 1, 0, seq, at), pa.record_batch(columns))


def applications(manifest: Manifest, folder: Path) -> list[tuple[str, str]]:
    """Application and version of the rules of each raw flow, oldest first."""
    files = [find_file(folder, file) for file in manifest.files("raw", "raw", 0, 1 << 62)]
    tables = [pq.read_table(path) for path in files if path]
    rows = pa.concat_tables(tables, promote_options="permissive").sort_by("received_ms").to_pylist()
    return [(row["application"], row["rules_version"]) for row in rows]


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    process_rules.cache_clear()
    yield Settings.model_validate({"enrichment": {"rules": str(tmp_path / "rules.yaml")}, "query": {"port": 0}})
    process_rules.cache_clear()


def test_a_rule_over_http_reaches_the_running_pipeline(settings: Settings, tmp_path: Path) -> None:
    log = MemoryLog(LANES)
    producer = MemoryProducer(log)
    with serving(settings) as port, Manifest.open(tmp_path / "data", writer=True) as manifest:
        enricher = Enricher.of(Enrichment(rules=settings.enrichment.rules))
        driver = MicroBatches(MemorySource(log), manifest, Work(enricher, EXACT, LANES))
        producer.send(0, batch(0))
        assert driver.drain() == 1
        url = f"http://127.0.0.1:{port}/rest/classifications"
        rule = urllib.request.Request(url, b'{"name": "ours", "protocols": ["tcp"], "dstPort": "443"}', method="POST")
        with urllib.request.urlopen(rule, timeout=10) as answer:
            assert answer.status == 201
        live = process_rules(settings.enrichment.rules)
        live.looked_s = -math.inf  # as if five seconds had passed
        producer.send(0, batch(1))
        assert driver.drain() == 1  # never waits for the rules: these may still be the former ones
        until = time.monotonic() + 20
        while live.loads < 2 and time.monotonic() < until:
            time.sleep(0.01)
        producer.send(0, batch(2))
        assert driver.drain() == 1
        (first, first_version), _, (last, last_version) = applications(manifest, tmp_path / "data")
    assert (first, last) == ("https", "ours")
    assert first_version != last_version
