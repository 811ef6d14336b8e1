"""What classifying and enriching a batch costs, in CPU microseconds per flow, as JSON lines.

    python -m bench.classify

In: nothing (seeded batches of 50,000 flows with 20,000 distinct addresses per end). Out: one line per measured thing. "cold" means
that the memo of tuples is emptied before each batch, "repeated" is the same batch again and again.
"""

import ipaddress
import json
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa

from columns.classify import Classifier, compile_book, default_classifier
from columns.enrich import Enricher
from columns.rules.model import Group, Rule, RuleBook
from columns.rules.predefined import predefined_group
from columns.rules.text import read_rules
from flowpb.schema import BY_NAME

_FLOWS: Final = 50_000
_ADDRESSES: Final = 20_000


def synthetic_flows(seed: int = 1, flows: int = _FLOWS, addresses: int = _ADDRESSES) -> pa.RecordBatch:
    """IPv4 flows between random hosts, from high ports to low ones, TCP, UDP and ICMP."""
    random = np.random.default_rng(seed)
    columns: dict[str, pa.Array] = {
        "exporter_addr": _addresses(random, flows, 50),
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


def synthetic_rules(seed: int = 5, rules: int = 1_000) -> tuple[Rule, ...]:
    """Rules as sites write them: a third by port, most by network and port, some by two networks or by exporter."""
    random = np.random.default_rng(seed)

    def network() -> str:
        return str(ipaddress.ip_network((int(random.integers(1 << 24, 223 << 24)), int(random.integers(8, 25))), strict=False))

    lines = []
    for number in range(rules):
        name, port, protocol = f"app{number % 300}", random.integers(0, 2_000), random.choice(["tcp", "udp", "tcp,udp", ""])
        ends = (
            f"tcp;;;;{port};;true",
            f"{protocol};;;{network()};{port};;true",
            f"{protocol};{network()};;{network()};;;false",
            f"{protocol};;;{network()};;ipAddr IPLIKE 10.0.0.{random.integers(0, 8)};true",
        )
        lines.append(f"{name};{random.choice(ends, p=[0.3, 0.4, 0.2, 0.1])}")
    return read_rules("\n".join(lines))


def main() -> None:
    """Measure and print."""
    flows = synthetic_flows()
    full = compile_book(RuleBook((Group("user", 0, synthetic_rules()), predefined_group()), "bench"))
    work: dict[str, Callable[[], object]] = {
        "enrich, all columns, default rules": lambda: Enricher.default().enrich(flows),
        "default rules": lambda: default_classifier().applications(flows),
        "11,488 + 1,000 rules, repeated": lambda: full.applications(flows),
        "11,488 + 1,000 rules, cold": lambda: _forgetful(full).applications(flows),
    }
    for what, run in work.items():
        print(json.dumps({"what": what, "cpu_us_per_flow": round(cpu_us_per_flow(run, flows.num_rows), 4)}))


def _forgetful(classifier: Classifier) -> Classifier:
    if classifier.tuples is not None:
        classifier.tuples.memo.first.fill(-1)
    return classifier


if __name__ == "__main__":
    main()
