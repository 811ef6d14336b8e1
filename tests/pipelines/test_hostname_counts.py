"""What reverse DNS did beside the flows is counted with them."""

from pathlib import Path

from bus.memory import MemoryLog, MemoryProducer, MemorySource
from columns.enrich import Enricher
from inventory.dns import ReverseDns, process_resolver
from pipelines.direct import MicroBatches, Work
from stores.parquet.manifest import Manifest
from tests.pipelines.line import EXACT, LANES
from tests.pipelines.test_rules_over_http import batch


def test_names_that_are_not_known_yet_are_counted(tmp_path: Path) -> None:
    nobody = ReverseDns(servers=("127.0.0.1:1",), timeout_s=0.2, threads=2)
    log = MemoryLog(LANES)
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver = MicroBatches(MemorySource(log), manifest, Work(Enricher(hostnames=nobody), EXACT, LANES))
        MemoryProducer(log).send(0, batch(0))
        assert driver.drain() == 1
        process_resolver(nobody).stop()  # ends when all have been asked for
        MemoryProducer(log).send(0, batch(1))
        assert driver.drain() == 1
        counted = manifest.load().counters
    names = {name: count for name, count in counted.items() if name.startswith("pipeline_hostnames_total")}
    assert names == {
        'pipeline_hostnames_total{result="unknown"}': 2,
        'pipeline_hostnames_total{result="failed"}': 2,
        'pipeline_hostnames_total{result="answered"}': 2,
    }
