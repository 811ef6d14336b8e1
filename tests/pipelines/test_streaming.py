"""The streaming form of the pipeline on the in-process runner, over a bounded range: the same documents as the oracle's."""

from pathlib import Path
from typing import Final

import apache_beam as beam
import orjson
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from bus.contract import Source
from bus.memory import MemoryLog, MemorySource
from pipelines.sinks import WriteFiles
from pipelines.source import Claim, LogRange, LogRangeCoder, LogTracker, pack_element
from pipelines.streaming import Streaming, build_streaming
from tests.pipelines.line import ENRICHER, EXACT, LANES, expected_documents, fill, newest, row_of, traffic_of

LOGS: Final[list[MemoryLog]] = []


def open_last() -> Source:
    return MemorySource(LOGS[-1])


@pytest.mark.parametrize("name", ["small", "lossy"])
def test_documents_equal_the_oracles(name: str, tmp_path: Path) -> None:
    traffic = traffic_of(name, seed=31)
    LOGS.append(fill(traffic.entries))
    elements = [pack_element(partition, stop=open_last().end(partition)) for partition in range(LANES)]
    job = Streaming(f"memory {name}", open_last, elements, LANES, ENRICHER, EXACT)
    pipeline = beam.Pipeline("apache_beam.runners.portability.fn_api_runner.FnApiRunner", options=PipelineOptions([]))
    build_streaming(pipeline, job, WriteFiles(str(tmp_path)))
    pipeline.run().wait_until_finish()
    lines = [orjson.loads(line) for file in tmp_path.glob("*.ndjson") for line in file.read_bytes().splitlines()]
    assert newest(map(row_of, lines)) == expected_documents(traffic.answer)


def test_a_range_keeps_its_logs_through_the_coder() -> None:
    coded = LogRange(7, 1 << 62, ((3, b"log of lane 3"), (19, b"")), (0, 12))
    assert LogRangeCoder().decode(LogRangeCoder().encode(coded)) == coded


def test_the_tracker_splits_only_where_it_has_come_to() -> None:
    tracker = LogTracker(LogRange(5, 1 << 62))
    assert tracker.try_claim(Claim(9, ((0, b"after"),)))
    assert tracker.try_split(0.5) is None
    assert tracker.try_split(0) == (LogRange(5, 9), LogRange(9, 1 << 62, ((0, b"after"),)))
    assert not tracker.try_claim(Claim(10, ()))
    tracker.check_done()


def test_a_range_that_was_left_is_not_done() -> None:
    tracker = LogTracker(LogRange(5, 20))
    tracker.try_claim(Claim(9, ()))
    with pytest.raises(ValueError, match=r"log range 5\.\.20 was left at 9"):
        tracker.check_done()


def test_a_bounded_range_ends_by_a_claim_that_says_so() -> None:
    tracker = LogTracker(LogRange(5, 20))
    assert tracker.is_bounded()
    assert tracker.try_claim(Claim(20, ()))
    assert tracker.try_claim(Claim(20, (), finishes=True))
    tracker.check_done()
