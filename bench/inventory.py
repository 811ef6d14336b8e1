"""What a large inventory costs: making it, opening it, and CPU microseconds per flow, as JSON lines.

    python -m bench.inventory

In: nothing. Made up are 100,000 nodes with 20 interfaces each, a million labelled networks, and 700,000 networks of autonomous
systems; flows go between addresses at random, so that no look-up profits from the one before. Out: one line per measured thing.
Takes about a minute, most of it making things up.
"""

import ipaddress
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from bench.classify import cpu_us_per_flow, synthetic_flows
from columns.inventory import inventory_columns
from columns.ranges import AddressRange
from columns.snapshot import Snapshot, open_snapshot
from common.addresses import pack_address
from inventory.compile import Content, compile_content
from inventory.labels import Labels
from inventory.maxmind import Located
from inventory.model import Interface, Node

_NODES: Final = 100_000
_INTERFACES: Final = 20
_LABELLED: Final = (900_000, 100_000)
_ROUTED: Final = (500_000, 200_000)
_DISTINCT: Final = 80_000
_FIRST_IPV4: Final = 0xFFFF << 32


def networks(seed: int, ipv4: int, ipv6: int) -> tuple[AddressRange, ...]:
    """Random networks, larger ones before those inside them, each with one of 80,000 numbers."""
    random = np.random.default_rng(seed)
    lengths = (random.integers(8, 25, ipv4), random.integers(24, 49, ipv6))
    heads = (random.integers(1 << 24, 223 << 24, ipv4), random.integers(0, 1 << 44, ipv6))
    numbers = iter(random.integers(0, _DISTINCT, ipv4 + ipv6).tolist())
    found = []
    for head, length in zip(heads[0].tolist(), lengths[0].tolist(), strict=True):
        first = _FIRST_IPV4 + (head >> (32 - length) << (32 - length))
        found.append(AddressRange(first, first + (1 << (32 - length)) - 1, next(numbers)))
    for head, length in zip(heads[1].tolist(), lengths[1].tolist(), strict=True):
        first = (0x2000 << 112 | head << 68) >> (128 - length) << (128 - length)
        found.append(AddressRange(first, first + (1 << (128 - length)) - 1, next(numbers)))
    return tuple(sorted(found, key=lambda each: (each.first, -each.last)))


def content() -> Content:
    """Everything made up."""
    nodes = [
        Node(
            "bench", str(number), number, f"node-{number}", "Default", "Cisco", ("Routers", "Core"),
            (str(ipaddress.ip_address((10 << 24) + number)),),
            tuple(Interface(index, f"xe-0/0/{index}", f"link {number}/{index}", 10**10) for index in range(1, _INTERFACES + 1)),
        )
        for number in range(_NODES)
    ]  # fmt: skip
    sets = tuple((f"site {number}", f"role {number % 50}", None, f"region {number % 9}") for number in range(_DISTINCT))
    systems = tuple((number, f"system {number}") for number in range(_DISTINCT))
    return Content(nodes, Labels(sets, networks(1, *_LABELLED)), Located(systems, networks(2, *_ROUTED)))


def flows_of_exporters(seed: int = 1) -> pa.RecordBatch:
    """The flows of `bench.classify`, seen by 50 of the nodes on their first 24 interfaces."""
    random, flows = np.random.default_rng(seed), synthetic_flows(seed)
    exporters = pa.array([pack_address(f"10.0.{number}.7") for number in range(50)], pa.binary(16))
    columns = dict(zip(flows.schema.names, flows.columns, strict=True)) | {
        "exporter_addr": pa.DictionaryArray.from_arrays(
            pa.array(random.integers(0, 50, flows.num_rows).astype(np.int32)), exporters
        ),
        "location": pa.array(["Default"] * flows.num_rows).dictionary_encode(),
        "in_if": pa.array(random.integers(0, 24, flows.num_rows).astype(np.uint32)),
        "out_if": pa.array(random.integers(0, 24, flows.num_rows).astype(np.uint32)),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def make(path: Path) -> None:
    """Compile and write, in a process of its own, so that what it takes is not counted with the worker's."""
    everything = content()
    start = time.process_time()
    compile_content(everything).write(path, 0)
    print(json.dumps({"what": "compile and write", "cpu_s": round(time.process_time() - start, 1), "bytes": path.stat().st_size}))


def look_up(path: Path) -> None:
    """What a worker pays."""
    before, start = _resident_mb(), time.perf_counter()
    snapshot: Snapshot = open_snapshot(path)
    print(json.dumps({"what": "open", "ms": round((time.perf_counter() - start) * 1e3, 1)}))
    flows = flows_of_exporters()
    cost = cpu_us_per_flow(lambda: inventory_columns(flows, snapshot), flows.num_rows, 10)
    print(json.dumps({"what": "all columns", "cpu_us_per_flow": round(cost, 3), "mb_more": _resident_mb() - before}))


def _resident_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    """Measure and print."""
    start_fresh = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inventory.arrow"
        for step in (make, look_up):
            process = start_fresh.Process(target=step, args=(path,))
            process.start()
            process.join()


if __name__ == "__main__":
    main()
