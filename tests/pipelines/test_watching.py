"""The embedded pipeline's own pages: counters of committed runs, frontiers and lags."""

from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.config import Pipeline, Settings
from common.errors import ConfigError
from common.metrics import parsed
from pipelines.pages import metrics_page, watched
from stores.parquet.manifest import Manifest
from tests.pipelines.line import driver_of, entries_of, fill

MINUTE = 60_000


def samples(text: str) -> dict[str, float]:
    found = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {" ".join([sample.name, *(f"{k}={v}" for k, v in sample.labels.items())]): sample.value for sample in found}


def test_metrics_are_those_of_committed_runs(tmp_path: Path) -> None:
    with Manifest.open(tmp_path, writer=True) as manifest:
        flows = driver_of(fill(entries_of("small", 1)), manifest).drain()
        carried = manifest.load()
    lane, frontier_ms = next(iter(carried.frontiers.items()))
    found = samples(metrics_page(tmp_path, frontier_ms + 2_500).body.decode())
    assert found["pipeline_flows_total"] == flows > 0
    for (name, labels), total in ((parsed(counter), total) for counter, total in carried.counters.items()):
        assert found[" ".join([name, *(f"{label}={value}" for label, value in labels)])] == total
    assert found[f"pipeline_frontier_seconds lane={lane}"] == frontier_ms / 1000
    assert found[f"pipeline_lag_seconds lane={lane}"] == 2.5
    assert found["pipeline_final_through_seconds"] * 1000 == carried.final_through_ms
    assert len([name for name in found if name.startswith("pipeline_lag_seconds")]) == len(carried.frontiers)


def test_pages_are_served_while_the_pipeline_runs(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path), pipeline=Pipeline(watch_port=0))
    with Manifest.open(tmp_path, writer=True), watched(settings) as port:
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert samples(answer.read().decode())["pipeline_runs_total"] == 0
        with urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.read() == b"ok\n"
        taken = settings.model_copy(update={"pipeline": Pipeline(watch_port=port)})
        with (
            pytest.raises(ConfigError, match=f"pipeline.watch_port: 127.0.0.1 port {port}: Address already in use"),
            watched(taken),
        ):
            pass


def test_without_a_port_nothing_is_served(tmp_path: Path) -> None:
    with watched(Settings(data_dir=str(tmp_path))) as port:
        assert port is None


def test_a_store_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    page = metrics_page(tmp_path, 0)
    assert (page.status, b"no data here yet" in page.body) == (503, True)
