"""The equation: what exporters sent = what is stored + every counted reason, on both drivers, with repeats and replays."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

import apache_beam as beam
import orjson
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from bus.contract import Source
from bus.memory import MemoryLog, MemorySource
from flowpb.ledger import LEDGER
from ingest.batcher import Batch
from pipelines.direct import MicroBatches, Work
from pipelines.sinks import WriteFiles, ledger_rows
from pipelines.source import pack_element
from pipelines.streaming import Streaming, build_streaming
from stores.parquet.manifest import Manifest
from tests.ledger.collected import (
    MINUTE,
    Collected,
    aggregated_flows,
    bus_of,
    collect,
    drain,
    flows_in_aggregates,
    ledger_of,
    newest_rows,
    raw_flows,
    scenario_of,
    sums_of,
)
from tests.loadgen.rows import START_MS
from tests.pipelines.line import ENRICHER, EXACT, LANES, row_of

EARLIER_MS: Final = START_MS - 40 * MINUTE


@cache
def lossy() -> Collected:
    return collect(scenario_of(loss=0.1, duplicate=0.05, reorder=0.05))


@cache
def outage() -> Collected:
    """Another collector's traffic of forty minutes ago, which it could not give to the bus until now."""
    return collect(scenario_of(loss=0.05, seed=5), EARLIER_MS, "c2")


def in_order() -> list[Batch]:
    """The outage is drained behind the other collector's traffic: it is late. Then come that one's closing heartbeats."""
    return [*lossy().batches[:-LANES], *outage().batches, *lossy().batches[-LANES:]]


def with_repeats(batches: Sequence[Batch], seed: int) -> list[Batch]:
    """Some batches come again, later; a lane's order stays."""
    random, found = Random(seed), list(batches)
    for number in sorted(random.sample(range(len(batches)), len(batches) // 4), reverse=True):
        found.insert(random.randint(number + 1, len(found)), batches[number])
    return found


def check(ledger: Iterable[dict[str, Any]], raw: Counter[str] | None, aggregated: Counter[str]) -> None:
    sums = sums_of(ledger)
    assert sums[None]["batches_missing"] == 0
    for first, second in zip(lossy().truth.accounts(), outage().truth.accounts(), strict=True):
        counts = sums[first.exporter]
        assert counts["datagrams"] - counts["duplicates"] == first.datagrams + second.datagrams
        assert counts["duplicates"] == first.copies + second.copies
        assert sum(counts[f"missing_{unit}"] for unit in ("flows", "packets", "records", "datagrams")) == sum(
            each.missing_units for each in (first, second)
        )
        arrived = first.flows + second.flows
        assert counts["flows_decoded"] == counts["flows_received"] == arrived
        assert aggregated[first.exporter] + counts["flows_late"] == arrived
        assert counts["flows_late"] > 0
        if raw is not None:
            assert raw[first.exporter] == arrived
        sent = lossy().sent[first.exporter] + outage().sent[first.exporter]
        accounted = aggregated[first.exporter] + counts["flows_late"] + counts["flows_lost"]
        assert accounted == pytest.approx(sent, rel=0.02)


def test_micro_batches_close_the_equation(tmp_path: Path) -> None:
    drain(bus_of(in_order()), tmp_path)
    check(ledger_of(tmp_path), raw_flows(tmp_path), aggregated_flows(tmp_path))


def test_repeats_and_replays_change_nothing(tmp_path: Path) -> None:
    log = bus_of(with_repeats(in_order(), 3))
    drain(log, tmp_path)
    once = ledger_of(tmp_path)
    assert drain(log, tmp_path, resume=False) == 0
    assert ledger_of(tmp_path) == once
    check(once, raw_flows(tmp_path), aggregated_flows(tmp_path))


def test_bundling_changes_no_count(tmp_path: Path) -> None:
    exact = [field.name for field in LEDGER if field.merge != "estimate"]
    found = []
    for name, run_bytes in (("one", 64 << 20), ("many", 2 << 20)):
        drain(bus_of(in_order()), tmp_path / name, run_bytes)
        found.append([{column: row[column] for column in exact} for row in ledger_of(tmp_path / name)])
    assert found[0] == found[1]


LOGS: Final[list[MemoryLog]] = []


def open_last() -> Source:
    return MemorySource(LOGS[-1])


def test_the_streaming_form_closes_the_equation(tmp_path: Path) -> None:
    LOGS.append(bus_of(with_repeats(in_order(), 4)))
    elements = [pack_element(partition, stop=open_last().end(partition)) for partition in range(LANES)]
    job = Streaming("memory ledger", open_last, elements, LANES, ENRICHER, EXACT)
    pipeline = beam.Pipeline("apache_beam.runners.portability.fn_api_runner.FnApiRunner", options=PipelineOptions([]))
    build_streaming(pipeline, job, WriteFiles(str(tmp_path)), ledger=WriteFiles(str(tmp_path), ledger_rows, "ledger"))
    pipeline.run().wait_until_finish()
    rows = newest_rows(ledger_row(line) for line in lines_of(tmp_path / "ledger"))
    check(rows, None, flows_in_aggregates(row_of(line) for line in lines_of(tmp_path)))


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for file in sorted(folder.glob("*.ndjson")) for line in file.read_bytes().splitlines()]


def ledger_row(document: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field in LEDGER:
        value: Any = document
        for head in field.json.split("."):
            value = (value or {}).get(head)
        row[field.name] = value if value is not None or field.name == "exporter_addr" else 0
    return row


def test_lost_batches_are_seen_by_the_holes_in_their_numbers(tmp_path: Path) -> None:
    batches = collect(scenario_of(duration_s=6)).batches
    filled = [number for number, batch in enumerate(batches) if batch.flows]
    lost = set(filled[5:25:2])
    drain(bus_of(batch for number, batch in enumerate(batches) if number not in lost), tmp_path)
    sums = sums_of(ledger_of(tmp_path))
    received = sum(counts["flows_received"] for counts in sums.values())
    assert sums[None]["batches_missing"] == len(lost)
    assert received == sum(batch.flows for number, batch in enumerate(batches) if number not in lost)
    assert sums[None]["flows_lost_on_bus"] > 0


def test_the_end_of_a_bounded_range_writes_what_is_left(tmp_path: Path) -> None:
    batches = lossy().batches[:-LANES]  # without what would close the minutes
    with Manifest.open(tmp_path, writer=True) as manifest:
        driver = MicroBatches(MemorySource(bus_of(batches)), manifest, Work(ENRICHER, EXACT, LANES))
        driver.drain()
        assert sum(counts["flows_received"] for counts in sums_of(ledger_of(tmp_path)).values()) == 0
        driver.finish()
        assert manifest.load().ledgers == ()
    received = sum(counts["flows_received"] for counts in sums_of(ledger_of(tmp_path)).values())
    assert received == sum(lossy().arrived.values())
