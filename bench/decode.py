"""How much decoding costs: packets in memory to encoded FlowBatches, in CPU seconds per million flows.

In: mixes of packets. Out: a table, or JSON with `flows_per_second` and `cpu_seconds_per_million_flows`. CPU time of one thread,
the least of some runs; nothing but decode, canonical columns and Arrow IPC is inside the clock.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final

from bench.packets import Mix, make_packets, make_sflow
from common.config import Ingest
from common.metrics import Counters
from flowpb.codec import Header, encode
from ingest.decoder import Datagram, Decoder

_LANES: Final = 16
_RECEIVED_MS: Final = 1_700_000_000_500
MIXES: Final[dict[str, Mix]] = {
    "v5, 30 records": Mix("v5", 2400, 30),
    "v9, 24 records": Mix("v9", 3000, 24),
    "ipfix, 24 records": Mix("ipfix", 3000, 24),
    "ipfix IPv6, 20 records": Mix("ipfix", 3000, 20, ipv6=True),
    "v9, 5 records": Mix("v9", 10_000, 5),
    "v9, 1 record": Mix("v9", 30_000, 1),
    "v9, 24 records, 1 exporter": Mix("v9", 3000, 24, exporters=1),
    "v9, 24 records, 2000 exporters": Mix("v9", 6000, 24, exporters=2000),
    "v9, 24 records, 10 structures": Mix("v9", 3000, 24, structures=10),
    "v9, 24 records, 200 structures": Mix("v9", 3000, 24, structures=200),
    "sflow, 7 samples": Mix("sflow", 9000, 7),
    "ipfix variable, 20 records": Mix("ipfix", 3000, 20, variable=True),
}


@dataclass(frozen=True, slots=True)
class Result:
    """One measured mix."""

    name: str
    flows: int
    flows_per_second: float
    cpu_seconds_per_million_flows: float
    octets_per_flow: float


def measure(name: str, mix: Mix, runs: int = 3, codec: str = "none") -> Result:
    """The best of `runs` passes over the packets of a mix, each with a decoder that knows the templates already."""
    templates, data = _packets(mix)
    best, flows, octets = float("inf"), 0, 0
    for _ in range(runs):
        decoder = Decoder(Ingest(), _LANES, Counters())
        decoder.feed_many([Datagram(exporter, _RECEIVED_MS, payload) for exporter, payload in templates])
        datagrams = [Datagram(exporter, _RECEIVED_MS, payload) for exporter, payload in data]
        started = time.process_time()
        flows, octets = _decode(decoder, datagrams, codec)
        best = min(best, time.process_time() - started)
    return Result(name, flows, round(flows / best), round(best / flows * 1e6, 3), round(octets / flows, 1))


def _packets(mix: Mix) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    return ([], make_sflow(mix.packets, mix.records, mix.exporters)) if mix.protocol == "sflow" else make_packets(mix)


def _decode(decoder: Decoder, datagrams: list[Datagram], codec: str) -> tuple[int, int]:
    flows = octets = 0
    for start in range(0, len(datagrams), 2000):
        decoder.feed_many(datagrams[start : start + 2000])
        if decoder.pending_flows >= 48_000 or start + 2000 >= len(datagrams):
            for lane, batch in decoder.drain().items():
                header = Header("bench", 1, lane, start, _RECEIVED_MS)
                octets += len(encode(header, batch, codec))  # type: ignore[arg-type]
                flows += batch.num_rows
    return flows, octets


def main(arguments: list[str]) -> int:
    """Measure the mixes whose name holds one of the words, or all."""
    parser = argparse.ArgumentParser(prog="bench.decode", description=main.__doc__)
    parser.add_argument("words", nargs="*", help="parts of names of mixes")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--codec", choices=("none", "lz4", "zstd"), default="none")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    names = [name for name in MIXES if not chosen.words or any(word in name for word in chosen.words)]
    results = [measure(name, MIXES[name], chosen.runs, chosen.codec) for name in names]
    if chosen.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return 0
    print(f"{'mix':34} {'flows':>8} {'us CPU/flow':>12} {'flows/s':>10} {'B/flow':>7}")
    for result in results:
        line = f"{result.cpu_seconds_per_million_flows:12.3f} {result.flows_per_second:10.0f} {result.octets_per_flow:7.1f}"
        print(f"{result.name:34} {result.flows:8} {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
