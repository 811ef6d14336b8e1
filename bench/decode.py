"""How much decoding costs: packets in memory to encoded FlowBatches, in CPU seconds per million flows.

In: mixes of packets, or a capture. Out: `flows_per_second` and `cpu_seconds_per_million_flows`. CPU time of one thread, the least
of some runs; nothing but decode, canonical columns and Arrow IPC is inside the clock. Peers are measured in the same run.

    PYTHONPATH=.:proto python -m bench.decode [WORD ...] [--peers] [--json] [--write docs/reference/benchmarks-decode.md]
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any, Final

from bench.ingest_table import put_into
from bench.packets import Mix, make_packets, make_sflow
from bench.peers import PEERS, PeerResult
from common.config import Ingest
from common.metrics import Counters
from common.process import collect_rarely, keep_memory
from flowpb.codec import Codec, Header, encode
from ingest.decoder import Datagram, Decoder
from ingest.listeners.pcap import Capture

_LANES: Final = 16
_RECEIVED_MS: Final = 1_700_000_000_500
_DRAIN_FLOWS: Final = Ingest().batch_flows
_CHUNK: Final = 2000
_RUNS: Final = 3
_DRAINS: Final = 3


def _mix(protocol: str, records: int, **more: Any) -> Mix:
    """As many packets as fill some drains, all of the same size, as a busy collector has them."""
    return Mix(protocol, _DRAINS * ceil(_DRAIN_FLOWS / records), records, **more)


MIXES: Final[dict[str, Mix]] = {
    "v5, 30 records": _mix("v5", 30),
    "v9, 25 records": _mix("v9", 25),
    "ipfix, 25 records": _mix("ipfix", 25),
    "sflow, 7 samples": _mix("sflow", 7),
    "ipfix IPv6, 20 records": _mix("ipfix", 20, ipv6=True),
    "v9, 5 records": _mix("v9", 5),
    "v9, 1 record": _mix("v9", 1),
    "v9, 25 records, 1 exporter": _mix("v9", 25, exporters=1),
    "v9, 25 records, 2000 exporters": _mix("v9", 25, exporters=2000),
    "v9, 25 records, 10 structures": _mix("v9", 25, structures=10),
    "v9, 25 records, 200 structures": _mix("v9", 25, structures=200),
    "ipfix variable, 20 records": _mix("ipfix", 20, variable=True),
}


BUDGETS: Final = {
    "v5, 30 records": 0.5,
    "v9, 25 records": 0.7,
    "ipfix, 25 records": 0.7,
    "sflow, 7 samples": 1.5,
    "ipfix IPv6, 20 records": 0.7,
    "v9, 5 records": 3.0,
    "v9, 1 record": 10.0,
    "v9, 25 records, 1 exporter": 0.7,
    "ipfix variable, 20 records": 10.0,
}
"""CPU seconds per million flows that a mix may take; the others have none."""


@dataclass(frozen=True, slots=True)
class Result:
    """One measured mix, and what each peer took for the same packets."""

    name: str
    flows: int
    flows_per_second: float
    cpu_seconds_per_million_flows: float
    octets_per_flow: float
    peers: dict[str, PeerResult]


def measure(capture: Path | None = None) -> dict[str, Any]:
    """For `nephrite bench decode`: the datagrams of a capture, or the mixes; empty when there are no flows."""
    keep_memory()
    collect_rarely()
    if capture is not None:
        datagrams = list(Capture(capture).datagrams())
        result = _measure(str(capture), [], datagrams, _RUNS, "none")
        return {key: value for key, value in asdict(result).items() if key != "peers"} if result.flows else {}
    results = [measure_mix(name) for name in MIXES]
    main = next(result for result in results if result.name == "v9, 25 records")
    return {
        "flows_per_second": main.flows_per_second,
        "cpu_seconds_per_million_flows": main.cpu_seconds_per_million_flows,
        "mix": main.name,
        "mixes": {result.name: result.cpu_seconds_per_million_flows for result in results},
    }


def measure_mix(name: str, runs: int = _RUNS, codec: Codec = "none", peers: bool = False) -> Result:
    """The best of `runs` passes over the packets of a mix, each with a decoder that knows the templates already."""
    mix = MIXES[name]
    templates, data = _packets(mix)
    first = [Datagram(exporter, _RECEIVED_MS, payload) for exporter, payload in templates]
    rest = [Datagram(exporter, _RECEIVED_MS, payload) for exporter, payload in data]
    result = _measure(name, first, rest, runs, codec, ceil(_DRAIN_FLOWS / mix.records))
    if not peers:
        return result
    found = {peer.name: measured for peer in PEERS if (measured := peer.measure(mix, templates, data)) is not None}
    return Result(**{**_fields(result), "peers": found})


def _fields(result: Result) -> dict[str, Any]:
    return {name: getattr(result, name) for name in Result.__dataclass_fields__}


def _measure(
    name: str, first: Sequence[Datagram], rest: Sequence[Datagram], runs: int, codec: Codec, chunk: int = _CHUNK
) -> Result:
    best, flows, octets = float("inf"), 0, 0
    for _ in range(1 + runs):  # the first one asks the system for memory
        decoder = Decoder(Ingest(), _LANES, Counters())
        decoder.feed_many(first)
        started = time.process_time()
        flows, octets = _decode(decoder, rest, codec, chunk)
        best = min(best, time.process_time() - started)
    if not flows:
        return Result(name, 0, 0, 0, 0, {})
    return Result(name, flows, round(flows / best), round(best / flows * 1e6, 3), round(octets / flows, 1), {})


def _packets(mix: Mix) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    return ([], make_sflow(mix.packets, mix.records, mix.exporters)) if mix.protocol == "sflow" else make_packets(mix)


def _decode(decoder: Decoder, datagrams: Sequence[Datagram], codec: Codec, chunk: int) -> tuple[int, int]:
    flows = octets = 0
    for start in range(0, len(datagrams), chunk):
        decoder.feed_many(datagrams[start : start + chunk])
        if decoder.pending_flows >= _DRAIN_FLOWS or start + chunk >= len(datagrams):
            for lane, batch in decoder.drain().items():
                octets += len(encode(Header("bench", 1, lane, start, _RECEIVED_MS), batch, codec))
                flows += batch.num_rows
    return flows, octets


def main(arguments: list[str]) -> int:
    """Measure the mixes whose name holds one of the words, or all."""
    parser = argparse.ArgumentParser(prog="bench.decode", description=main.__doc__)
    parser.add_argument("words", nargs="*", help="parts of names of mixes")
    parser.add_argument("--runs", type=int, default=_RUNS)
    parser.add_argument("--codec", choices=("none", "lz4", "zstd"), default="none")
    parser.add_argument("--peers", action="store_true", help="measure other collectors too, as far as they are installed")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the marks of this page")
    chosen = parser.parse_args(arguments)
    keep_memory()
    collect_rarely()
    names = [name for name in MIXES if not chosen.words or any(word in name for word in chosen.words)]
    results: list[Result] = []
    for name in names:
        results.append(measure_mix(name, chosen.runs, chosen.codec, chosen.peers))
        print(f"{name}: {results[-1].cpu_seconds_per_million_flows:.2f}", file=sys.stderr)
    table = _table(results)
    print(json.dumps([asdict(result) for result in results], indent=2) if chosen.json else table)
    if chosen.write:
        put_into(chosen.write, table)
    return 0


def _table(results: list[Result]) -> str:
    peers = list(dict.fromkeys(name for result in results for name in result.peers))
    head = ["packets", "budget", "Nephrite", "flows/s and core", "octets per flow", *peers]
    lines = [_row(head), "|" + "---|" * len(head)]
    for result in results:
        budget = f"{BUDGETS[result.name]:g}" if result.name in BUDGETS else "-"
        cost = f"{result.cpu_seconds_per_million_flows:.2f}"
        own = [result.name, budget, cost, f"{result.flows_per_second:,.0f}", f"{result.octets_per_flow:.0f}"]
        lines.append(_row([*own, *(_cell(result.peers.get(name)) for name in peers)]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(result: PeerResult | None) -> str:
    if result is None:
        return "-"
    return f"{result.cpu_seconds_per_million_flows:.2f}" + ("" if result.complete else f" ({result.seen:.0%} seen)")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
