"""The budget: with 1 to 20 % of datagrams dropped on the way, the estimated loss is within 10 % of the truth."""

import pytest

from columns.ledger import BatchReports, absorb_ledger, emit_ledger, part_of_reports
from flowpb.codec import decode_header
from ingest.loadgen.scenario import Exporter, Protocol
from tests.ledger.collected import Collected, collect, scenario_of, sums_of
from tests.loadgen.rows import START_MS

FOREVER_MS = START_MS + 10**9
PROTOCOLS: tuple[Protocol, ...] = ("netflow5", "netflow9", "ipfix", "sflow")


def estimated(collected: Collected) -> dict[str | None, int]:
    """Flows lost by exporter, as rows of the ledger say."""
    parts: dict[int, list[bytes]] = {}
    for batch in collected.batches:
        header, _ = decode_header(batch.value)
        part = part_of_reports([BatchReports(header.mark_ms, header.mark_ms, header.reports)])
        parts.setdefault(batch.lane, []).append(part)
    rows = [row for lane in parts for row in emit_ledger(absorb_ledger(None, parts[lane]), lane, FOREVER_MS)[1].to_pylist()]
    return {exporter: counts["flows_lost"] for exporter, counts in sums_of(rows).items()}


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_estimated_loss_is_within_a_tenth_of_the_truth(protocol: Protocol, loss: float) -> None:
    exporter = Exporter(address="127.9.0.9", protocol=protocol, interfaces=2)
    collected = collect(scenario_of(exporter, loss=loss, rate=2_500, duration_s=20))
    truth = collected.sent["127.9.0.9"] - collected.arrived["127.9.0.9"]
    assert truth > 0
    assert estimated(collected)["127.9.0.9"] == pytest.approx(truth, rel=0.1)


def test_no_loss_is_estimated_as_none() -> None:
    collected = collect(scenario_of(duplicate=0.1, reorder=0.1))
    assert collected.sent == collected.arrived
    assert set(estimated(collected).values()) == {0}


def test_exporters_of_one_lossy_path_are_each_right() -> None:
    """Different sizes of records, datagrams and rates beside each other; enough datagrams for a tenth."""
    fleet = tuple(
        Exporter(address=f"127.9.1.{number}", protocol=protocol, interfaces=2, share=number)
        for number, protocol in enumerate(PROTOCOLS, 1)
    )
    collected = collect(scenario_of(*fleet, loss=0.1, duplicate=0.02, reorder=0.05, rate=4_000, duration_s=15))
    found = estimated(collected)
    for address, sent in collected.sent.items():
        assert found[address] == pytest.approx(sent - collected.arrived[address], rel=0.1), address
