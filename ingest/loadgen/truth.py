"""What ingest has to have counted: datagrams, flows, samples and sequence gaps per collector and export process.

In: datagrams as sent, arrivals as delivered. Out: one `Account` per (collector, exporter). `sent = received + lost` holds by
construction; `missing` is only what a gap can show, that is what was lost between the first and the last datagram received.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from ingest.loadgen.export import Datagram, unit_of
from ingest.loadgen.network import Arrival
from ingest.loadgen.scenario import Scenario
from ingest.loadgen.wire.sflow import source_of


@dataclass(slots=True)
class Account:
    """One exporter at one collector. `unit` is that of its sequence numbers (v5 flows, v9 packets, IPFIX records, sFlow datagrams).

    Flow samples of sFlow count as flows; `missing_samples` is what gaps in the numbers of their sources show.
    """

    collector: str
    exporter: str
    domain: int
    unit: str
    datagrams: int = 0
    announcements: int = 0
    copies: int = 0
    flows: int = 0
    bytes: int = 0
    packets: int = 0
    received_units: int = 0
    missing_units: int = 0
    reordered: int = 0
    restarts: int = 0
    counter_samples: int = 0
    missing_samples: int = 0


@dataclass(slots=True)
class Sent:
    """What one exporter sent, wherever it went."""

    exporter: str
    domain: int
    datagrams: int = 0
    announcements: int = 0
    flows: int = 0
    bytes: int = 0
    packets: int = 0
    counter_samples: int = 0


class Ledger:
    """Counts while datagrams pass."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._fleet = scenario.fleet()
        self._sent = [Sent(exporter.address, exporter.domain) for exporter in self._fleet]
        self._accounts: dict[tuple[int, int], Account] = {}
        self._spans: dict[tuple[int, int], dict[int, tuple[int, int]]] = {}
        self._sources: dict[tuple[int, int], dict[tuple[int, int], tuple[int, int]]] = {}

    def sent(self, datagrams: Iterable[Datagram]) -> None:
        """Datagrams that left their exporters."""
        for datagram in datagrams:
            account = self._sent[datagram.exporter]
            account.datagrams += 1
            account.announcements += datagram.announces
            _add_flows(account, datagram)

    def arrived(self, arrivals: Iterable[Arrival]) -> None:
        """Datagrams that reached a collector, in order; a copy is counted as such and as nothing else."""
        for arrival in arrivals:
            datagram, key = arrival.datagram, (arrival.collector, arrival.datagram.exporter)
            account = self._account(*key)
            if arrival.copy:
                account.copies += 1
                continue
            account.datagrams += 1
            account.announcements += datagram.announces
            account.received_units += datagram.units
            _add_flows(account, datagram)
            spans = self._spans.setdefault(key, {})
            begin, end = spans.get(datagram.life, (datagram.position, datagram.position))
            account.reordered += datagram.position + datagram.units < end or datagram.position < begin
            spans[datagram.life] = min(begin, datagram.position), max(end, datagram.position + datagram.units)
            account.missing_units = sum(end - begin for begin, end in spans.values()) - account.received_units
            account.restarts = len(spans) - 1
            if self._fleet[datagram.exporter].protocol == "sflow":
                account.missing_samples = self._missing_samples(key, account.flows, datagram)

    def _missing_samples(self, key: tuple[int, int], received: int, datagram: Datagram) -> int:
        """Flow samples between the first and the last of each source that a collector did not get, with this datagram."""
        sources, rows = self._sources.setdefault(key, {}), datagram.rows
        for source, number in zip(source_of(rows).tolist(), rows["sample"].tolist(), strict=True):
            begin, end = sources.get((datagram.life, source), (number, number))
            sources[datagram.life, source] = min(begin, number), max(end, number)
        return sum(end - begin + 1 for begin, end in sources.values()) - received

    def exporters(self) -> list[Sent]:
        """What each exporter sent, in the order of the fleet."""
        return self._sent

    def accounts(self) -> list[Account]:
        """What each collector got, by collector and exporter."""
        return [self._accounts[key] for key in sorted(self._accounts)]

    def _account(self, collector: int, exporter: int) -> Account:
        key, process = (collector, exporter), self._fleet[exporter]
        if key not in self._accounts:
            name = self._scenario.collectors[collector].name
            self._accounts[key] = Account(name, process.address, process.domain, unit_of(process))
        return self._accounts[key]


def as_record(account: Account | Sent) -> dict[str, int | str]:
    """For JSON."""
    return {field.name: getattr(account, field.name) for field in fields(account)}


def _add_flows(account: Account | Sent, datagram: Datagram) -> None:
    account.flows += len(datagram.rows)
    account.counter_samples += datagram.counters
    account.bytes += int(datagram.rows["bytes"].sum())
    account.packets += int(datagram.rows["packets"].sum())
