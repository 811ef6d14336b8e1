"""One run of a scenario: traffic through exporters and network into an output, with its accounts and its exact answer.

In: a scenario, a start time, an output. Out: a `Run`, which the command prints and writes. Refuses to know sockets and files.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

from ingest.loadgen.batches import BusEntry, Collectors
from ingest.loadgen.expected import Answer, Oracle
from ingest.loadgen.export import Datagram, Exporters
from ingest.loadgen.network import Arrival, deliver
from ingest.loadgen.scenario import Scenario
from ingest.loadgen.traffic import SLICE_MS
from ingest.loadgen.truth import Account, Ledger, Sent, as_record

Progress = Callable[[str, int], None]
"""Told what is being done, and the virtual time reached, in ms since the start."""


@dataclass(frozen=True, slots=True)
class Run:
    """What was sent, what arrived, and the answer where it was asked for."""

    scenario: Scenario
    start_ms: int
    sent: list[Sent]
    accounts: list[Account]
    answer: Answer | None

    def as_json(self) -> dict[str, object]:
        """For a file; documents are in canonical order."""
        return {
            "scenario": self.scenario.model_dump(mode="json"),
            "start_ms": self.start_ms,
            "sent": [as_record(account) for account in self.sent],
            "delivered": [as_record(account) for account in self.accounts],
            **(self.answer.as_json() if self.answer else {}),
        }


@dataclass(slots=True)
class Player:
    """Plays one scenario once."""

    scenario: Scenario
    start_ms: int
    progress: Progress
    stopped: Callable[[], bool]

    def to_network(self, output: Callable[[list[Arrival]], int], with_answer: bool, ready: bool = False) -> Run:
        """Give arrivals to `output`, which says how many it took; the answer is worked out afterwards, of what it took.

        `ready` encodes everything before the first is given away.
        """
        ledger, underway = Ledger(self.scenario), list[Datagram]()
        slices = self._sent(underway.extend, encode=True)
        arrivals: Iterable[list[Arrival]] = deliver(self.scenario, self.start_ms, slices)
        if ready:
            arrivals = list(arrivals)
        kept: list[list[Arrival]] = []
        for number, due in enumerate(arrivals):
            taken = due[: output(due)]
            ledger.arrived(taken)
            if with_answer:
                kept.append(taken)
            cut_short = len(taken) < len(due)
            end_ms = (
                due[len(taken)].received_ms - self.scenario.network.latency_ms
                if cut_short
                else self.start_ms + (number + 1) * SLICE_MS
            )
            gone = bisect_left(underway, end_ms, key=lambda datagram: datagram.sent_ms)
            ledger.sent(underway[:gone])
            del underway[:gone]
            self.progress("sending", end_ms - self.start_ms)
            if cut_short:
                ledger.sent(_among(underway, taken))
            if cut_short or self.stopped():
                break
        answer = self._answer(kept) if with_answer else None
        return Run(self.scenario, self.start_ms, ledger.exporters(), ledger.accounts(), answer)

    def to_bus(self, output: Callable[[BusEntry], bool], with_answer: bool) -> Run:
        """Give batches to `output` until it says no."""
        ledger, oracle = Ledger(self.scenario), Oracle()
        arrivals = deliver(self.scenario, self.start_ms, self._sent(ledger.sent, encode=False))
        for entry in Collectors(self.scenario, self.start_ms).entries(_noted(arrivals, ledger)):
            if self.stopped() or not output(entry):
                break
            self.progress("sending", entry.append_ms - self.start_ms)
            if with_answer:
                oracle.take_entry(entry.value, entry.append_ms)
        answer = oracle.answer() if with_answer else None
        return Run(self.scenario, self.start_ms, ledger.exporters(), ledger.accounts(), answer)

    def _answer(self, arrivals: Iterable[list[Arrival]]) -> Answer:
        oracle = Oracle()
        for entry in Collectors(self.scenario, self.start_ms, faults=False).entries(arrivals):
            oracle.take_entry(entry.value, entry.append_ms)
            self.progress("working out the answer", entry.append_ms - self.start_ms)
        return oracle.answer()

    def _sent(self, note: Callable[[list[Datagram]], None], encode: bool) -> Iterator[list[Datagram]]:
        for datagrams in Exporters(self.scenario, self.start_ms, encode).slices():
            note(datagrams)
            yield datagrams


def _among(underway: list[Datagram], taken: list[Arrival]) -> list[Datagram]:
    """Of datagrams of the very moment of a stop, those that went out before it."""
    out = {id(arrival.datagram) for arrival in taken}
    return [datagram for datagram in underway if id(datagram) in out]


def counts_of(run: Run) -> dict[str, int]:
    """Totals for people."""
    sent, received = run.sent, run.accounts
    totals = {
        "exporters": len(sent),
        "datagrams sent": sum(account.datagrams for account in sent),
        "datagrams delivered": sum(account.datagrams for account in received),
        "copies": sum(account.copies for account in received),
        "counter samples delivered": sum(account.counter_samples for account in received),
        "flows sent": sum(account.flows for account in sent),
        "flows delivered": sum(account.flows for account in received),
        "bytes delivered": sum(account.bytes for account in received),
    }
    if run.answer:
        totals |= {f"answer: {name}": value for name, value in asdict(run.answer.counts).items() if value}
        totals["documents"] = len(run.answer.documents)
    return totals


def _noted(slices: Iterable[list[Arrival]], ledger: Ledger) -> Iterator[list[Arrival]]:
    for arrivals in slices:
        ledger.arrived(arrivals)
        yield arrivals
