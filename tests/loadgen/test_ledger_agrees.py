"""What ingest reports of a lossy capture against what really was sent and lost: datagrams, copies, flows, gaps."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from common.addresses import format_address
from common.config import Ingest
from flowpb.codec import decode_header
from ingest.loadgen.export import Datagram, Exporters
from ingest.loadgen.network import deliver
from ingest.loadgen.outputs import CaptureFile
from ingest.loadgen.scenario import Exporter, Network, Scenario
from ingest.loadgen.truth import Ledger
from ingest.replay import Replay
from tests.loadgen.rows import START_MS, tiny

FLEET = (
    Exporter(address="127.9.0.1", protocol="netflow5", time_fields="uptime", interfaces=2, first_sequence=2**32 - 100),
    Exporter(address="127.9.0.2", protocol="netflow9", time_fields="uptime", interfaces=2, records_per_datagram=5),
    Exporter(address="127.9.0.3", protocol="ipfix", interfaces=2, template_interval_s=3, first_sequence=2**32 - 100),
    Exporter(address="127.9.0.4", protocol="sflow", interfaces=2, template_interval_s=3, first_sequence=2**32 - 100),
)


def played(scenario: Scenario, path: Path) -> Ledger:
    ledger = Ledger(scenario)

    def sent() -> Iterator[list[Datagram]]:
        for datagrams in Exporters(scenario, START_MS).slices():
            ledger.sent(datagrams)
            yield datagrams

    with CaptureFile(path, scenario) as capture:
        for due in deliver(scenario, START_MS, sent()):
            ledger.arrived(due)
            capture.write(due)
    return ledger


def reported(path: Path) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for batch in Replay(path, Ingest(), 16, "c").batches():
        for report in decode_header(batch.value)[0].reports:
            counts = found.setdefault(format_address(report.exporter), Counter())
            counts.update(datagrams=report.datagrams - report.duplicates, copies=report.duplicates, flows=report.records)
            for sequence in report.sequences:
                counts.update(
                    received_units=sequence.received,
                    missing_units=sequence.missing,
                    reordered=sequence.reordered,
                    restarts=sequence.restarts,
                )
    return found


def test_ingest_sees_restarts(tmp_path: Path) -> None:
    booting = tuple(exporter.model_copy(update={"restart_at_s": 5, "first_sequence": 100_000}) for exporter in FLEET)
    ledger = played(tiny(*booting, rate=300, duration_s=12), tmp_path / "a.pcap")
    found = reported(tmp_path / "a.pcap")
    for account in ledger.accounts():
        assert (account.restarts, account.missing_units) == (1, 0)
        counts = found[account.exporter]
        assert (counts["restarts"], counts["missing_units"], counts["flows"]) == (1, 0, account.flows)


@pytest.mark.parametrize("loss", [0.01, 0.1, 0.2])
def test_ingest_accounts_for_what_was_lost(tmp_path: Path, loss: float) -> None:
    network = Network(loss=loss, duplicate=0.05, reorder=0.05)
    ledger = played(tiny(*FLEET, rate=300, duration_s=12, network=network), tmp_path / "a.pcap")
    found = reported(tmp_path / "a.pcap")
    names = ("datagrams", "copies", "flows", "received_units", "missing_units", "reordered")
    truth = {account.exporter: {name: asdict(account)[name] for name in names} for account in ledger.accounts()}
    assert {exporter: {name: counts[name] for name in names} for exporter, counts in found.items()} == truth
    assert sum(counts["copies"] for counts in truth.values()) > 0
