"""The cases of the pipeline's speed table, and their traffic as bus entries.

In: a case, a rate, a length. Out: entries per second of traffic, and the empty ones at the end that close every window. Some
seconds are generated and then repeated with later times, since what is measured reads flows much faster than they are made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from flowpb.codec import Header, decode, encode
from flowpb.groupings import FINAL_DELAY_MS, HORIZON_MS
from ingest.loadgen.batches import BusEntry
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.run import Player
from ingest.loadgen.scenario import Exporter, Scenario

START_MS: Final = 1_700_000_040_000
LANES: Final = 16
_TIMES: Final = ("received_ms", "exported_ms", "first_switched_ms", "delta_switched_ms", "last_switched_ms")
_CLOSING_STEP_MS: Final = 30_000
Entries = Sequence[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Case:
    """Traffic of one row of the table: exporters, interfaces over all, hosts inside and outside, and K."""

    exporters: int
    interfaces: int
    hosts: tuple[int, int] = (20_000, 100_000)
    top_k: int = 10

    @property
    def scenario(self) -> Scenario:
        """Half v9 and half IPFIX, where there are two exporters."""
        each = self.interfaces // self.exporters
        shared = {"interfaces": each, "ipv6_share": 0.0}
        v9 = Exporter(address="127.40.0.1", protocol="netflow9", count=-(-self.exporters // 2), time_fields="uptime", **shared)
        ipfix = Exporter(address="127.41.0.1", protocol="ipfix", count=max(1, self.exporters // 2), **shared)
        changes = {"exporters": (v9, ipfix), "inside_hosts": self.hosts[0], "outside_hosts": self.hosts[1]}
        return BUILTIN["bench"].model_copy(update=changes)


CASES: Final = (
    Case(5, 10),
    Case(50, 400),
    Case(50, 400, hosts=(200, 1_000)),
    Case(50, 400, hosts=(200_000, 1_000_000)),
    Case(50, 400, top_k=100),
    Case(200, 2_000),
    Case(400, 20_000),
)
QUICK: Final = (CASES[0], CASES[1])


def seconds_of(case: Case, rate: int, seconds: int, generated_s: int) -> Iterator[Entries]:
    """Entries of each second of traffic, then in one list those that only close windows."""
    last: dict[int, Header] = {}
    yield from islice(endless(case, rate, generated_s, last), seconds)
    yield list(closing(last))


def endless(case: Case, rate: int, generated_s: int, last: dict[int, Header]) -> Iterator[Entries]:
    """Entries of each second of traffic without end; `last` gets the newest header of each lane."""
    made = _generated(case.scenario.model_copy(update={"rate": rate, "duration_s": generated_s, "closing_ms": 0}))
    for number in count():
        for second in range(generated_s):
            yield [_repeated(entry, number * generated_s * 1_000, last) for entry in made.get(second, ())]


def _generated(scenario: Scenario) -> dict[int, list[BusEntry]]:
    found: dict[int, list[BusEntry]] = {}

    def keep(entry: BusEntry) -> bool:
        second = min((entry.append_ms - 1 - START_MS) // 1_000, int(scenario.duration_s) - 1)
        found.setdefault(second, []).append(entry)
        return True

    Player(scenario, START_MS, lambda _task, _reached: None, lambda: False).to_bus(keep, with_answer=False)
    return found


def _repeated(entry: BusEntry, shift_ms: int, last: dict[int, Header]) -> tuple[int, bytes]:
    """The entry, so much later, as the next of its lane."""
    header, flows = decode(entry.value)
    seq = last[entry.lane].seq + 1 if entry.lane in last else 0
    last[entry.lane] = header = replace(header, seq=seq, mark_ms=header.mark_ms + shift_ms)
    return entry.lane, encode(header, _shifted(flows, shift_ms) if flows.num_rows else None)


def _shifted(flows: pa.RecordBatch, by_ms: int) -> pa.RecordBatch:
    names = flows.schema.names
    columns = [pc.add(flows.column(name), by_ms) if name in _TIMES else flows.column(name) for name in names]
    return pa.RecordBatch.from_arrays(columns, names)


def closing(last: dict[int, Header]) -> Iterator[tuple[int, bytes]]:
    """Empty batches of all lanes until the last mark of every window."""
    until_ms = HORIZON_MS + FINAL_DELAY_MS + 2 * 60_000
    for step in range(1, until_ms // _CLOSING_STEP_MS + 1):
        for lane, header in last.items():
            yield lane, encode(replace(header, seq=header.seq + step, mark_ms=header.mark_ms + step * _CLOSING_STEP_MS), None)
