"""The ingest table: CPU per flow and the highest rate that is held, of Nephrite and of other collectors, in one run.

In: seconds, a Kafka URL if there is a broker. Out: a Markdown table, and a line per finished step. Every collector gets the same
packets of the same sender. First all take one common rate, for the CPU; then rates are bisected, by ratio. Nephrite holds a rate
when nothing was lost and nothing piled up, and the rate found is held once more for a long run, or a lower one is; a peer holds it
when the kernel dropped none of its datagrams.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Final

from bench.ingest import Result, measure
from bench.ingest_peers import PEERS, Peer, PeerRun
from bench.paced_sender import RECORDS, Sender

_COMMON: Final = {"v5": 90_000.0, "v9": 90_000.0, "ipfix": 90_000.0, "sflow": 40_000.0}
_TOP: Final = {"v5": 1_400_000.0, "v9": 1_200_000.0, "ipfix": 1_200_000.0, "sflow": 450_000.0}
_BACKLOG_BYTES: Final = 8 << 20
_REACHED: Final = 0.95
_STEP_DOWN: Final = 0.93
_KAFKA_RATE: Final = 300_000.0
_NAMES: Final = {"v5": "v5", "v9": "v9", "ipfix": "IPFIX", "sflow": "sFlow"}
BEGIN: Final = "<!-- table -->"
END: Final = "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long: probes of Nephrite and of peers, the long run, and how many probes; ten minutes in all as it is."""

    probe_s: float = 5
    probes: int = 5
    long_s: float = 20
    peer_probe_s: float = 4
    peer_probes: int = 3
    kafka_s: float = 20


QUICK: Final = Plan(1, 1, 2, 1, 1, 2)
"""Says nothing about the machine, only that everything runs."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What one collector did with one protocol; `limit` says that the sender reached no higher rate."""

    cpu: float
    highest: float
    cpu_there: float
    limit: bool = False
    peak_mb: int = 0

    def __str__(self) -> str:
        if not self.highest:
            return f"{self.cpu:.2f}; loses"
        more = ">= " if self.limit else ""
        return f"{self.cpu:.2f}; {more}{self.highest / 1000:,.0f}k at {self.cpu_there:.2f}"


def measure_table(plan: Plan, kafka: str, tell: Callable[[str], None]) -> str:
    """Run everything; the table as Markdown."""
    rows = []
    for protocol in RECORDS:
        with Sender(protocol) as sender:
            cells = {"Nephrite": _nephrite(sender, plan, tell)}
            for name in PEERS:
                cell = _peer(name, sender, plan, tell)
                if cell is not None:
                    cells[name] = cell
        rows.append((protocol, cells))
    lines = [_kafka(kafka, plan, tell)] if kafka else []
    return "\n".join([*_table(rows), *lines])


def put_into(page: Path, table: str) -> None:
    """Replace what is between the marks of a page; raises ValueError when it has none."""
    text = page.read_text(encoding="utf-8")
    before, rest = text[: text.index(BEGIN)], text[text.index(END) :]
    page.write_text(f"{before}{BEGIN}\n{table}\n{rest}", encoding="utf-8")


def bisect(low: float, high: float, probes: int, holds: Callable[[float], bool]) -> float:
    """The highest rate found to hold; `low` is held already."""
    for _ in range(probes):
        middle = sqrt(low * high)
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def _nephrite(sender: Sender, plan: Plan, tell: Callable[[str], None]) -> Cell:
    protocol = sender.protocol
    refused: dict[float, bool] = {}  # rates that were not held -> whether it was the sender that could do no more

    def run(rate: float, seconds: float) -> Result:
        result = measure(protocol, rate, seconds, sender=sender)
        tell(f"{protocol} nephrite {result.flows_per_second:,.0f}/s {result.cpu_seconds_per_million_flows} us, lost "
             f"{result.sent_datagrams - result.taken_datagrams}, backlog {result.backlog_bytes >> 10} KiB")  # fmt: skip
        if result.sent_datagrams != result.taken_datagrams + result.dropped_datagrams:
            raise RuntimeError(f"{protocol}: {result} does not add up")
        return result

    def holds(rate: float) -> bool:
        result = run(rate, plan.probe_s)
        held = _is_held(result, rate)
        if not held:
            refused[rate] = _is_kept_up(result)
        return held

    common = run(_COMMON[protocol], plan.probe_s)
    rate = bisect(_COMMON[protocol], _TOP[protocol], plan.probes, holds)
    held = run(rate, plan.long_s)
    while not _is_held(held, rate) and rate > _COMMON[protocol]:
        refused[rate] = _is_kept_up(held)
        rate *= _STEP_DOWN
        held = run(rate, plan.long_s)
    return Cell(
        common.cpu_seconds_per_million_flows,
        held.flows_per_second,
        held.cpu_seconds_per_million_flows,
        is_senders_limit(rate, refused),
        held.peak_rss_mb,
    )


def is_senders_limit(rate: float, refused: Mapping[float, bool]) -> bool:
    """Whether the next higher rate that was tried failed for the sender's sake; `refused` says so for each rate that failed."""
    return bool(refused) and rate < min(refused) and refused[min(refused)]


def _is_kept_up(result: Result) -> bool:
    return result.is_lossless and result.backlog_bytes < _BACKLOG_BYTES


def _is_held(result: Result, rate: float) -> bool:
    return _is_kept_up(result) and result.flows_per_second >= rate * _REACHED


def _peer(name: str, sender: Sender, plan: Plan, tell: Callable[[str], None]) -> Cell | None:
    protocol = sender.protocol
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer.start(name, protocol, Path(folder))
        if peer is None:
            return None
        with peer:
            runs: list[PeerRun] = []

            def holds(rate: float) -> bool:
                run = peer.run(sender, rate, plan.peer_probe_s)
                runs.append(run)
                tell(f"{protocol} {name} {run.flows_per_second:,.0f}/s {run.cpu_seconds_per_million_flows} us, "
                     f"lost {run.dropped_datagrams}")  # fmt: skip
                return not run.dropped_datagrams and run.flows_per_second >= rate * _REACHED

            held_common = holds(_COMMON[protocol])
            common = runs[0]
            if not held_common:
                return Cell(common.cpu_seconds_per_million_flows, 0, common.cpu_seconds_per_million_flows)
            bisect(_COMMON[protocol], _TOP[protocol], plan.peer_probes, holds)
            best = max((run for run in runs if not run.dropped_datagrams), key=lambda run: run.flows_per_second)
            limited = any(
                not run.dropped_datagrams and run is not best for run in runs if run.flows_per_second > best.flows_per_second
            )
            cell = Cell(common.cpu_seconds_per_million_flows, best.flows_per_second, best.cpu_seconds_per_million_flows)
            return replace(cell, limit=limited)


def _kafka(url: str, plan: Plan, tell: Callable[[str], None]) -> str:
    result = measure("v9", _KAFKA_RATE, plan.kafka_s, url)
    lost = result.sent_datagrams - result.taken_datagrams
    text = (
        f"\nTo Kafka, sender and broker on the same cores, v9, {plan.kafka_s:.0f} s: {result.flows_per_second:,.0f} flows/s, "
        f"{lost} of {result.sent_datagrams:,} datagrams lost, {result.cpu_seconds_per_million_flows:.2f} us of CPU per flow, "
        f"at most {result.peak_rss_mb} MB."
    )
    tell(text.strip())
    return text


def _table(rows: list[tuple[str, dict[str, Cell]]]) -> list[str]:
    names = ["Nephrite", *PEERS]
    lines = ["| traffic | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for protocol, cells in rows:
        found = [str(cells[name]) if name in cells else "-" for name in names]
        lines.append(f"| {_NAMES[protocol]}, {_COMMON[protocol]:,.0f}/s; highest | " + " | ".join(found) + " |")
    peak = max(cells["Nephrite"].peak_mb for _, cells in rows)
    return [*lines, "", f"Nephrite's process took {peak} MB at most, sender's side of the benchmark included."]
