"""What classifying and enriching a batch costs, in CPU microseconds per flow, as JSON lines.

    python bench/classify.py

In: nothing (a seeded batch of 50,000 flows with 20,000 distinct addresses per end). Out: one line per measured thing.
"""

import json
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa

from columns.classify import default_classifier
from columns.enrich import Enricher
from flowpb.schema import BY_NAME

_FLOWS: Final = 50_000
_ADDRESSES: Final = 20_000


def synthetic_flows(seed: int = 1, flows: int = _FLOWS, addresses: int = _ADDRESSES) -> pa.RecordBatch:
    """IPv4 flows between random hosts, from high ports to low ones, TCP, UDP and ICMP."""
    random = np.random.default_rng(seed)
    columns: dict[str, pa.Array] = {
        "src_addr": _addresses(random, flows, addresses),
        "dst_addr": _addresses(random, flows, addresses),
        "src_port": pa.array(random.integers(1024, 65_536, flows).astype(np.uint16)),
        "dst_port": pa.array(random.integers(0, 2_000, flows).astype(np.uint16)),
        "protocol": pa.array(random.choice([6, 6, 6, 17, 17, 1], flows).astype(np.uint8)),
    }
    names = [name for name in BY_NAME if name in columns]
    return pa.RecordBatch.from_arrays([columns[name] for name in names], names=names)


def cpu_us_per_flow(work: Callable[[], object], flows: int, repeats: int = 30) -> float:
    """Mean CPU time of `work`, warm, divided by the flows that it handles."""
    work()
    start = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - start) / repeats / flows * 1e6


def _addresses(random: np.random.Generator, flows: int, distinct: int) -> pa.DictionaryArray:
    octets = random.integers(0, 256, (distinct, 16), dtype=np.uint8)
    octets[:, :10], octets[:, 10:12] = 0, 255
    values = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), distinct, [None, pa.py_buffer(octets.tobytes())])
    return pa.DictionaryArray.from_arrays(pa.array(random.integers(0, distinct, flows).astype(np.int32)), values)


def main() -> None:
    """Measure and print."""
    flows = synthetic_flows()
    enricher, classifier = Enricher.default(), default_classifier()
    for what, work in (
        ("default rules", lambda: classifier.applications(flows)),
        ("enrich, all columns", lambda: enricher.enrich(flows)),
    ):
        print(json.dumps({"what": what, "cpu_us_per_flow": round(cpu_us_per_flow(work, flows.num_rows), 4)}))


if __name__ == "__main__":
    main()
