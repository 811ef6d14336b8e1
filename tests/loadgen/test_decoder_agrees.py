"""The product's decoder against the generator: every flow, every column, from a capture."""

from pathlib import Path

import pytest

from common.config import Ingest
from flowpb.codec import decode
from ingest.loadgen.batches import Collectors
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.export import Exporters
from ingest.loadgen.network import Arrival, deliver
from ingest.loadgen.outputs import CaptureFile
from ingest.loadgen.scenario import Scenario
from ingest.replay import Replay
from tests.loadgen.rows import START_MS

UNKNOWN = 255


def arrivals_of(scenario: Scenario, collector: int) -> list[list[Arrival]]:
    slices = deliver(scenario, START_MS, Exporters(scenario, START_MS).slices())
    return [[arrival for arrival in due if arrival.collector == collector] for due in slices]


def rows_of(entries: list[bytes], names: list[str]) -> list[tuple[object, ...]]:
    """All flows; a direction that is not told may be null or 255 (flowpb.schema)."""
    rows = []
    for entry in entries:
        for row in decode(entry)[1].to_pylist():
            row["direction"] = UNKNOWN if row.get("direction") is None else row["direction"]
            rows.append(tuple(row.get(name) for name in names))
    return sorted(rows, key=repr)


def columns_of(entries: list[bytes]) -> list[str]:
    return sorted({name for entry in entries for name in decode(entry)[1].schema.names})


@pytest.mark.parametrize(("name", "seconds"), [("small", 40.0), ("demo", 2.0), ("lossy", 12.0)])
def test_decoder_finds_what_the_generator_meant(tmp_path: Path, name: str, seconds: float) -> None:
    scenario = BUILTIN[name].model_copy(update={"duration_s": seconds})
    arrivals = arrivals_of(scenario, collector=0)
    with CaptureFile(tmp_path / "a.pcap", scenario) as capture:
        for due in arrivals:
            capture.write(due)
    meant = [entry.value for entry in Collectors(scenario, START_MS, faults=False).entries(arrivals)]
    replay = Replay(tmp_path / "a.pcap", Ingest(), 16, "c")
    found = [batch.value for batch in replay.batches()]
    names = columns_of(meant)
    assert rows_of(found, names) == rows_of(meant, names)
    copies = sum(arrival.copy for due in arrivals for arrival in due)
    assert replay.counters.value("ingest_problems_total", reason="duplicate") == copies
