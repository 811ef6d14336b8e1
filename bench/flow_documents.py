"""What FlowDocuments cost, one message per flow, in and out, as JSON: CPU microseconds per flow of this process.

    python -m bench.flow_documents [SECONDS] [kafka://HOST:PORT]

In: a length of traffic (50 exporters with 400 interfaces at 100,000 flows a second), and a broker that may be filled, where the
client's cost is wanted too: it makes two topics `bench-...`, which are left there. Out: `encode` is flows to messages, `aggregates`
messages to enriched, classified, aggregated documents with the in-process runner, by stage; `send` and `from_kafka` are the same
with the broker in between, without its own CPU.
"""

import json
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa

from bench.pipeline import LANES, Figures, generated
from bench.stages import REST, timed
from bus.contract import Source
from bus.document_topic import DocumentTopic
from bus.kafka_client import KafkaTarget
from bus.kafka_source import KafkaSource, close_pool
from bus.memory import MemoryLog, MemorySource
from bus.open import parse_url
from columns.enrich import Enricher
from common.clock import wall_clock
from common.config import Pipeline, Settings
from flowpb.codec import decode
from flowpb.document_out import documents_of
from pipelines.aggregate import Outputs
from pipelines.direct import MicroBatches
from pipelines.embedded import work_of
from stores.parquet.manifest import Manifest

PARTITIONS: Final = 4
_SECONDS: Final = 10
_BEFORE_S: Final = 60
_RUN_BYTES: Final = 16 << 20
_TOGETHER: Final = 50_000


def traffic(seconds: int) -> Iterator[pa.RecordBatch]:
    """Flows of the scenario `bench` that end a minute ago: a topic's clock is the one that judges them."""
    found = (decode(value)[1] for _, value in generated(seconds, wall_clock() - (seconds + _BEFORE_S) * 1_000))
    yield from (flows for flows in found if flows.num_rows)


def enriched_flows(batches: Sequence[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """As the stage of the pipeline gives them: batches that were enriched together share their dictionaries."""
    enricher, waiting = Enricher.default(), list[pa.RecordBatch]()
    for batch in batches:
        waiting.append(batch)
        if sum(each.num_rows for each in waiting) >= _TOGETHER or batch is batches[-1]:
            yield from enricher.enrich_many(waiting)
            waiting.clear()


def encoded(batches: Sequence[pa.RecordBatch]) -> tuple[list[bytes], float]:
    """The messages of enriched flows, and the CPU seconds that making them took."""
    enriched = list(enriched_flows(batches))
    documents_of(enriched[0])
    started = time.process_time()
    documents = [document for flows in enriched for document in documents_of(flows)]
    return documents, time.process_time() - started


def in_memory(documents: Sequence[bytes]) -> MemoryLog:
    """A topic of them, dealt out over its partitions, all taken now."""
    log = MemoryLog(PARTITIONS)
    for number, document in enumerate(documents):
        log.append(number % PARTITIONS, document)
    return log


def aggregated(source: Source, flows: int) -> Figures:
    """A pipeline over a source that has so many documents; the first run, in which it warms up, is not counted."""
    base = work_of(Settings(pipeline=Pipeline(flow_documents_in="kafka://none:1/none")))
    work = replace(base, lanes=LANES, outputs=Outputs(raw=False, keep=True), run_bytes=_RUN_BYTES)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="nephrite-bench-")))
        manifest = stack.enter_context(Manifest.open(folder, writer=True))
        driver = MicroBatches(source, manifest, work)
        first = driver.run_once(5.0).flows
        spent = stack.enter_context(timed())
        started = time.process_time(), time.perf_counter()
        done = 0
        while first + done < flows:
            done += driver.run_once(5.0).flows
        driver.finish()
        cpu, wall = time.process_time() - started[0], time.perf_counter() - started[1]
        written = manifest.load().counters.get("pipeline_documents_total", 0)
    return Figures(done, written, wall, cpu, {**spent, REST: cpu - sum(spent.values())})


def sent(target: KafkaTarget, batches: Sequence[pa.RecordBatch]) -> float:
    """CPU seconds of handing enriched flows to a topic, encoding included, until all are acknowledged."""
    enriched = list(enriched_flows(batches))
    topic = DocumentTopic(target, flush_s=60.0)
    try:
        topic.send(enriched[0].slice(0, 1))
        started = time.process_time()
        for flows in enriched:
            topic.send(flows)
        return time.process_time() - started
    finally:
        topic.close()


def measure(seconds: int, broker: str) -> Iterator[dict[str, Any]]:
    """One figure after another."""
    batches = list(traffic(seconds))
    flows = sum(batch.num_rows for batch in batches)
    documents, encode_s = encoded(batches)
    octets = sum(map(len, documents)) / flows
    yield {"what": "encode", "flows": flows, "octets": round(octets), "cpu_us_per_flow": round(encode_s / flows * 1e6, 2)}
    yield {"what": "aggregates", **aggregated(MemorySource(in_memory(documents)), flows).as_json()}
    if broker:
        target = parse_url(f"{broker}/bench-{uuid.uuid4().hex[:8]}?partitions={PARTITIONS}", Path())
        assert isinstance(target, KafkaTarget)
        send_s = sent(target, batches)
        yield {"what": "send", "flows": flows, "cpu_us_per_flow": round(send_s / flows * 1e6, 2)}
        with closing(KafkaSource(target, append_times=False)) as source:
            yield {"what": "from_kafka", **aggregated(source, flows).as_json()}
        close_pool()


if __name__ == "__main__":
    numbers = [int(each) for each in sys.argv[1:] if each.isdigit()]
    brokers = [each for each in sys.argv[1:] if not each.isdigit()]
    for figure in measure([*numbers, _SECONDS][0], [*brokers, ""][0]):
        print(json.dumps(figure), flush=True)
