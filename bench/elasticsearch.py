"""What raw documents cost in Elasticsearch, as JSON lines: bytes and CPU per document, for each layout.

    python -m bench.elasticsearch elasticsearch://HOST:PORT [FLOWS]

In: a server that may be filled. Out: one line per layout with the size of JSON, the client's CPU (making bodies, and with sending
them), the rate at which one client with three requests in flight was served, and the bytes on disk after a merge to one segment.
Indices have the prefix `bench-` and are deleted at the end. The flows are those of 50 exporters with 8 interfaces, Zipf-shaped
hosts, batches of 2,000 flows; ids as in production.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.columns import CASES, traffic
from columns.documents import ids_of, to_json
from columns.enrich import Enricher
from columns.lane import Limits, absorb, emit, lay_out_many
from stores.elasticsearch.aggregates import aggregate_documents
from stores.elasticsearch.bulk import Bulk
from stores.elasticsearch.client import Client
from stores.elasticsearch.dead_letters import burial
from stores.elasticsearch.layout import AGGREGATES, RAW, pattern
from stores.elasticsearch.raw import raw_documents
from stores.elasticsearch.setup import install
from stores.elasticsearch.target import SCHEME, SOURCES, Target

_START_MS: Final = 1_790_000_040_000
_BATCH: Final = 2_000
_BATCH_MS: Final = 250
_BUNDLE: Final = 10
_LANES: Final = 4
_SEGMENTS: Final = 5
"""At least that many, or the merge would have nothing to do and leave the sources in."""
_RETENTION_S: Final = 65
_STATS_S: Final = 11
"""The server measures sizes every 10 s."""
_HOSTS: Final = 60_000
LAYOUTS: Final[Mapping[str, Mapping[str, str]]] = {
    "compact": {"profile": "compact"},
    "opennms": {"profile": "opennms"},
    "compact, source kept": {"profile": "compact", "source": "all"},
}


@dataclass(frozen=True, slots=True)
class Batch:
    """One judged batch."""

    collector: str
    epoch: int
    lane: int
    seq: int
    mark_ms: int
    frontier_ms: int
    flows: pa.RecordBatch
    numbers: NDArray[np.int64] | None = None


def batches(flows: int, seed: int = 1) -> Iterator[Batch]:
    """Enriched batches of a few lanes, four a second each."""
    random = np.random.default_rng(seed)
    octets = np.zeros((_HOSTS, 16), np.uint8)
    octets[:, 10:12], octets[:, 12:] = 255, random.integers(1, 224, (_HOSTS, 4))
    hosts = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), _HOSTS, [None, pa.py_buffer(octets.tobytes())])
    weights = 1 / np.arange(1, _HOSTS + 1) ** 1.1
    enricher = Enricher.default()
    for number in range(flows // _BATCH):
        now = _START_MS + number // _LANES * _BATCH_MS
        made = enricher.enrich(_flows(random, hosts, weights / weights.sum(), now))
        yield Batch("collector", 1_789_999_000, number % _LANES, number // _LANES, now, now, made)


def _flows(random: np.random.Generator, hosts: pa.Array, weights: Any, now: int) -> pa.RecordBatch:
    count, seconds = _BATCH, 1000
    end = now - random.integers(0, 2 * seconds, count)
    columns = {
        "received_ms": pa.array(np.sort(now - random.integers(0, _BATCH_MS, count))),
        "exported_ms": pa.array(np.full(count, now - seconds)),
        "first_switched_ms": pa.array(end - random.exponential(8 * seconds, count).astype(np.int64)),
        "last_switched_ms": pa.array(end),
        "exporter_addr": _dictionary(hosts.take(pa.array(random.integers(0, 50, count)))),
        "protocol_version": pa.array(np.full(count, 9, np.uint8)),
        "location": _dictionary(pa.array(["Default"] * count)),
        "flow_seq_num": pa.array(np.sort(random.integers(0, 1 << 20, count).astype(np.uint32))),
        "src_addr": _dictionary(hosts.take(pa.array(random.choice(_HOSTS, count, p=weights)))),
        "dst_addr": _dictionary(hosts.take(pa.array(random.choice(_HOSTS, count, p=weights)))),
        "src_port": pa.array(random.integers(1024, 65_536, count), pa.uint16()),
        "dst_port": pa.array(random.choice([80, 443, 53, 22, 25, 8080], count), pa.uint16()),
        "protocol": pa.array(random.choice([6, 17], count), pa.uint8()),
        "ip_version": pa.array(np.full(count, 4, np.uint8)),
        "tos": pa.array(random.choice([0, 0, 0, 184], count), pa.uint8()),
        "in_if": pa.array(random.integers(1, 9, count), pa.uint32()),
        "out_if": pa.array(random.integers(1, 9, count), pa.uint32()),
        "direction": pa.array(np.zeros(count, np.uint8)),
        "bytes": pa.array((random.pareto(1.2, count) * 500 + 40).astype(np.uint64)),
        "packets": pa.array((random.pareto(1.2, count) * 3 + 1).astype(np.uint64)),
        "tcp_flags": pa.array(random.choice([2, 16, 24, 27], count), pa.uint16()),
        "src_as": pa.array(random.integers(1, 300, count), pa.uint32()),
        "dst_as": pa.array(random.integers(1, 300, count), pa.uint32()),
        "src_mask": pa.array(np.full(count, 24, np.uint8)),
        "dst_mask": pa.array(np.full(count, 24, np.uint8)),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _dictionary(column: pa.Array) -> pa.DictionaryArray:
    encoded = column.dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices.cast(pa.int32()), encoded.dictionary)


def measure(target: Target, made: list[Batch]) -> dict[str, Any]:
    """One layout: figures per document."""
    client = Client.open(replace(target, prefix="bench-", refresh_s=30, replicas="false"))
    client.ask("DELETE", f"/{pattern('bench-', RAW)}")
    list(install(client, {}))
    bundles = [made[first : first + _BUNDLE] for first in range(0, len(made), _BUNDLE)]
    started = time.process_time()
    octets = sum(len(each.content) for bundle in bundles for each in raw_documents(client.target, bundle))
    making = time.process_time() - started
    bulk = Bulk(client, burial(client))
    started, wall, served = time.process_time(), time.monotonic(), _server_cpu_ms(client)
    for number, bundle in enumerate(bundles):
        for each in raw_documents(client.target, bundle):
            bulk.add(each)
        if number % max(1, len(bundles) // _SEGMENTS) == 0:
            client.ask("POST", f"/{pattern('bench-', RAW)}/_refresh")
    bulk.flush()
    elapsed, spent = time.monotonic() - wall, time.process_time() - started
    bulk.close()
    server_ms = _server_cpu_ms(client) - served
    count = bulk.tallies.documents
    return {
        "documents": count,
        "json_bytes": round(octets / count),
        "bodies_cpu_us": round(making / count * 1e6, 2),
        "client_cpu_us": round(spent / count * 1e6, 2),
        "server_cpu_us": round(server_ms / count * 1e3, 1),
        "documents_per_s": round(count / elapsed),
        "requests": bulk.tallies.requests,
        "disk_bytes": _disk_bytes(client, count),
    }


def measure_aggregates(target: Target) -> dict[str, Any]:
    """Minute documents of a lane of thin traffic, ten windows, each written once."""
    client = Client.open(replace(target, prefix="bench-", refresh_s=30, replicas="false"))
    client.ask("DELETE", f"/{pattern('bench-', AGGREGATES)}")
    list(install(client, {}))
    bulk, spent = Bulk(client, burial(client)), 0.0
    for table in _aggregate_tables():
        started = time.process_time()
        for each in aggregate_documents("bench-", table, ids_of(table), to_json(table)):
            bulk.add(each)
        spent += time.process_time() - started
        bulk.flush()
        client.ask("POST", f"/{pattern('bench-', AGGREGATES)}/_refresh")
    bulk.close()
    count, octets = bulk.tallies.documents, bulk.tallies.bytes
    disk = _disk_bytes(client, count, AGGREGATES)
    return {
        "documents": count,
        "json_bytes": round(octets / count),
        "client_cpu_us": round(spent / count * 1e6, 2),
        "disk_bytes": disk,
    }


def _aggregate_tables() -> Iterator[pa.Table]:
    limits, logs = Limits(), dict[int, list[bytes]]()
    for bundle in traffic(CASES["sparse"]):
        for window, part in lay_out_many(bundle, limits).parts.items():
            logs.setdefault(window, []).append(part)
    for window, parts in logs.items():
        yield emit(absorb(None, parts, limits, True), 0, window, 1, False, limits)[1]


def _server_cpu_ms(client: Client) -> int:
    """CPU time of all nodes since they started."""
    nodes = client.ask("GET", "/_nodes/stats/process?filter_path=nodes.*.process.cpu.total_in_millis")["nodes"]
    return sum(int(node["process"]["cpu"]["total_in_millis"]) for node in nodes.values())


def _disk_bytes(client: Client, count: int, kind: str = RAW) -> float:
    """Bytes per document in one segment, after the server has let go of what it keeps for the recovery of replicas."""
    place = f"/{pattern('bench-', kind)}"
    client.ask("PUT", f"{place}/_settings", {"index": {"soft_deletes.retention_lease.period": "0s"}})
    client.ask("POST", f"{place}/_flush?force=true")
    time.sleep(_RETENTION_S)
    client.ask("POST", f"{place}/_forcemerge?max_num_segments=1")
    client.ask("POST", f"{place}/_flush?force=true")
    time.sleep(_STATS_S)
    stats = client.ask("GET", f"{place}/_stats/store")
    client.ask("DELETE", place)
    return round(int(stats["_all"]["primaries"]["store"]["size_in_bytes"]) / count, 1)


def main(arguments: list[str]) -> None:
    """One line of JSON per layout."""
    target = Target.parse(arguments[0] if arguments else f"{SCHEME}127.0.0.1:9200")
    for source in SOURCES[:2]:
        figures = measure_aggregates(replace(target, source=source))
        print(json.dumps({"layout": f"aggregates, source of {source}", **figures}), flush=True)
    made = list(batches(int(arguments[1]) if len(arguments) > 1 else 200_000))
    for name, options in LAYOUTS.items():
        print(json.dumps({"layout": name, **measure(replace(target, **options), made)}), flush=True)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(sys.argv[1:])
