"""What the aggregation core costs, in CPU microseconds per flow, as JSON lines: lay out, absorb, emit, for one of 16 lanes.

    python -m bench.columns [dense|sparse|attack|as|country|protocol|shipped|dscp] ...

In: nothing; seeded traffic of a lane: 3 of 50 exporters with 8 interfaces each, Zipf-shaped hosts, 40 applications, flows of some
seconds. Out: one line per case with the cost of each step and the sizes of parts and bases. dense: 100,000 flows/s over all lanes,
one minute in bundles of a second; sparse: 1,667 flows/s for ten minutes, bundles of 30 s; attack: dense with random sources;
as, country, protocol, shipped: dense with these kinds, and with all of them; dscp: dense with the groupings by DSCP.
"""

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from columns.documents import to_json
from columns.lane import Limits, absorb, due, emit, lay_out_many, mark_times
from flowpb.groupings import SHIPPED

_START_MS: Final = 1_700_000_040_000
_LANES: Final = 16
_EXPORTERS: Final = 3
_INTERFACES: Final = 8
_BATCH_MS: Final = 250
_LOG_BYTES: Final = 4 << 20

Bundle = list[tuple[pa.RecordBatch, int, int]]


@dataclass(frozen=True, slots=True)
class Case:
    """Traffic of a deployment of which one lane is measured."""

    flows_per_second: int
    seconds: int
    bundle_ms: int
    hosts: int = 60_000
    random_sources: bool = False
    limits: Limits = field(default_factory=Limits)


CASES: Final = {
    "dense": Case(100_000, 60, 1_000),
    "sparse": Case(1_667, 600, 30_000),
    "attack": Case(100_000, 60, 1_000, random_sources=True),
    **{kind.name.lower(): Case(100_000, 60, 1_000, limits=Limits(values=(kind,))) for kind in SHIPPED},
    "shipped": Case(100_000, 60, 1_000, limits=Limits(values=SHIPPED)),
    "dscp": Case(100_000, 60, 1_000, limits=Limits(with_dscp=True)),
}


def traffic(case: Case, seed: int = 1) -> Iterator[Bundle]:
    """Bundles of one lane, each of batches of 250 ms."""
    random = np.random.default_rng(seed)
    octets = _mapped(random.integers(1 << 24, 223 << 24, case.hosts))
    weights = 1 / np.arange(1, case.hosts + 1) ** 1.1
    weights /= weights.sum()
    count = case.flows_per_second * _BATCH_MS // 1000 // _LANES
    for bundle in range(case.seconds * 1000 // case.bundle_ms):
        marks = _START_MS + bundle * case.bundle_ms + np.arange(_BATCH_MS, case.bundle_ms + 1, _BATCH_MS)
        yield [(_flows(random, case, octets, weights, count, int(mark)), int(mark), int(mark)) for mark in marks]


def _flows(
    random: np.random.Generator, case: Case, octets: np.ndarray, weights: np.ndarray, count: int, mark_ms: int
) -> pa.RecordBatch:
    last = mark_ms - random.integers(0, 2_000, count)
    duration = np.minimum(random.exponential(8_000, count), 60_000).astype(np.int64)
    packets = np.minimum(random.pareto(1.2, count) * 4 + 1, 1e6).astype(np.uint64)
    size = random.integers(60, 1500, count).astype(np.uint64)
    source, destination = octets[random.choice(len(octets), (2, count), p=weights)]
    if case.random_sources:
        source = _mapped(random.integers(0, 1 << 32, count))
    into, out = random.integers(1, _INTERFACES + 1, (2, count)).astype(np.uint32)
    columns = {
        "first_switched_ms": pa.array(last - duration),
        "delta_switched_ms": pa.array(last - duration),
        "last_switched_ms": pa.array(last),
        "exporter_addr": _dictionary(_mapped(random.integers(0, _EXPORTERS, count) + (10 << 24))),
        "src_addr": _dictionary(source),
        "dst_addr": _dictionary(destination),
        "protocol": pa.array(random.choice([6, 6, 6, 17, 17, 1], count).astype(np.uint8)),
        "tos": pa.array(random.choice([0, 0, 0, 0x28, 0x48, 0xB8, 0xBA], count).astype(np.uint8)),
        "in_if": pa.array(into),
        "out_if": pa.array(out),
        "direction": pa.array((random.random(count) < 0.3).astype(np.uint8)),
        "bytes": pa.array(packets * size),
        "packets": pa.array(packets),
        "src_as": pa.array(_system_of(source)),
        "dst_as": pa.array(_system_of(destination)),
        "src_country": _country_of(source),
        "dst_country": _country_of(destination),
        "application": pa.array([f"app{n}" for n in random.integers(0, 40, count)]).dictionary_encode(),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _system_of(addresses: np.ndarray) -> np.ndarray:
    """One of some 5,000 AS numbers for each /24."""
    octets = addresses.view(np.uint8).reshape(-1, 16)[:, 12:15].astype(np.uint32)
    return (octets[:, 0] * 61 + octets[:, 1] * 257 + octets[:, 2] * 17) % 5003 * 13 + 1


def _country_of(addresses: np.ndarray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array((_system_of(addresses) % 200).astype(np.int32)), [f"C{n}" for n in range(200)])


def _mapped(addresses: np.ndarray) -> np.ndarray:
    octets = np.zeros((len(addresses), 16), np.uint8)
    octets[:, 10:12] = 255
    octets[:, 12:] = addresses.astype(">u4").view(np.uint8).reshape(-1, 4)
    return octets.view("V16").ravel()


def _dictionary(values: np.ndarray) -> pa.DictionaryArray:
    distinct, codes = np.unique(values.view("S16"), return_inverse=True)
    padded = distinct.tobytes()
    addresses = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(distinct), [None, pa.py_buffer(padded)])
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), addresses)


@dataclass(slots=True)
class Lane:
    """A lane as both drivers keep it: logs and bases of windows, marks by frontier; with a stopwatch."""

    limits: Limits
    logs: dict[int, list[bytes]] = field(default_factory=dict)
    bases: dict[int, bytes | None] = field(default_factory=dict)
    next_mark: dict[int, int] = field(default_factory=dict)
    cpu_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    sizes: Counter[str] = field(default_factory=Counter)

    def take(self, bundle: Bundle) -> None:
        """One bundle."""
        start = time.process_time()
        laid = lay_out_many(bundle, self.limits)
        self.cpu_s["lay_out"] += time.process_time() - start
        self.sizes += Counter({"flows": laid.flows, "rows": laid.rows, "parts": len(laid.parts)})
        for window, part in laid.parts.items():
            self.sizes["part_bytes"] += len(part)
            self.next_mark.setdefault(window, 1)
            self.logs.setdefault(window, []).append(part)
            if sum(map(len, self.logs[window])) > _LOG_BYTES:
                self.absorb(window)
        self.advance(bundle[-1][2])

    def absorb(self, window: int) -> None:
        """The log into the base."""
        parts = self.logs.pop(window, [])
        if not parts:
            return
        start = time.process_time()
        self.bases[window] = absorb(self.bases.get(window), parts, self.limits, self.next_mark[window] == 1)
        self.cpu_s["absorb"] += time.process_time() - start
        self.sizes["absorbs"] += 1
        self.sizes["largest_base"] = max(self.sizes["largest_base"], len(self.bases[window] or b""))

    def advance(self, frontier_ms: int) -> None:
        """Marks that the frontier has reached."""
        for window, mark in self.next_mark.items():
            for number in range(mark, mark + due(window, mark, frontier_ms)):
                self.absorb(window)
                self.emit(window, number)
                self.next_mark[window] = number + 1

    def emit(self, window: int, mark: int) -> None:
        """Documents of one mark."""
        start = time.process_time()
        self.bases[window], table = emit(self.bases[window] or b"", 0, window, mark, mark == 3, self.limits)
        middle = time.process_time()
        to_json(table)
        self.cpu_s["emit"] += middle - start
        self.cpu_s["json (not in total)"] += time.process_time() - middle
        self.sizes += Counter({"documents": table.num_rows, "emits": 1})


def measure(case: Case) -> dict[str, object]:
    """CPU microseconds per flow by step, and sizes."""
    lane = Lane(case.limits)
    for bundle in traffic(case):
        lane.take(bundle)
    for window in sorted(lane.next_mark):
        for time_ms in mark_times(window):
            lane.advance(time_ms)
    flows = lane.sizes["flows"]
    us = {step: round(seconds / flows * 1e6, 3) for step, seconds in lane.cpu_s.items()}
    total = round(sum(us[step] for step in ("lay_out", "absorb", "emit")), 3)
    row_bytes = round(lane.sizes["part_bytes"] / lane.sizes["rows"], 1)
    return {"us_per_flow": us | {"total": total}, "part_bytes_per_row": row_bytes, **lane.sizes}


def main() -> None:
    """Measures the named cases, or all."""
    for name in sys.argv[1:] or CASES:
        print(json.dumps({"case": name, **measure(CASES[name])}))


if __name__ == "__main__":
    main()
