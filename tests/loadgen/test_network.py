"""Impairments leave the truth right: whatever is lost, doubled or late, sent = received + lost, and gaps show what they can."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.export import Exporters
from ingest.loadgen.network import Arrival, deliver
from ingest.loadgen.scenario import Collector, Exporter, Network, Scenario
from ingest.loadgen.truth import Ledger
from tests.loadgen.rows import START_MS, tiny

SHARES = st.floats(0, 0.6)
FLEET = (
    Exporter(address="127.9.0.1", protocol="netflow5", time_fields="uptime", interfaces=2),
    Exporter(address="127.9.0.2", protocol="netflow9", time_fields="uptime", interfaces=2, records_per_datagram=4),
    Exporter(address="127.9.0.3", protocol="ipfix", interfaces=2, records_per_datagram=4, template_interval_s=1),
    Exporter(address="127.9.0.4", protocol="sflow", interfaces=2, template_interval_s=1),
)


def play(scenario: Scenario) -> tuple[Ledger, list[Arrival]]:
    ledger, arrivals = Ledger(scenario), []
    slices = list(Exporters(scenario, START_MS, encode=False).slices())
    for sent in slices:
        ledger.sent(sent)
    for due in deliver(scenario, START_MS, slices):
        ledger.arrived(due)
        arrivals += due
    return ledger, arrivals


@given(SHARES, SHARES, SHARES, st.integers(0, 1000), st.sampled_from(["exporters", "datagrams"]))
def test_sent_is_received_and_lost(loss: float, duplicate: float, reorder: float, seed: int, split: str) -> None:
    network = Network(loss=loss, duplicate=duplicate, reorder=reorder)
    scenario = tiny(*FLEET, seed=seed, network=network, duration_s=2).model_copy(
        update={"collectors": (Collector(name="a"), Collector(name="b")), "split": split}
    )
    ledger, arrivals = play(scenario)
    first_copies = [a for a in arrivals if not a.copy]
    assert [a.received_ms for a in arrivals] == sorted(a.received_ms for a in arrivals)
    assert len({id(a.datagram) for a in first_copies if not a.datagram.announces}) == sum(
        not a.datagram.announces for a in first_copies
    )
    for number, sent in enumerate(ledger.exporters()):
        accounts = [a for a in ledger.accounts() if a.exporter == sent.exporter]
        received = sum(len(a.datagram.rows) for a in first_copies if a.datagram.exporter == number)
        assert sum(a.flows for a in accounts) == received <= sent.flows
        for account in accounts:
            mine = [
                a
                for a in first_copies
                if a.datagram.exporter == number and scenario.collectors[a.collector].name == account.collector
            ]
            begin = min(a.datagram.position for a in mine)
            end = max(a.datagram.position + a.datagram.units for a in mine)
            assert account.received_units + account.missing_units == end - begin


def test_without_impairments_everything_arrives_once_in_order() -> None:
    ledger, arrivals = play(tiny(*FLEET))
    assert not any(a.copy for a in arrivals)
    for sent, account in zip(ledger.exporters(), ledger.accounts(), strict=True):
        assert (account.datagrams, account.flows, account.bytes) == (sent.datagrams, sent.flows, sent.bytes)
        assert (account.missing_units, account.reordered, account.copies) == (0, 0, 0)
    assert [account.unit for account in ledger.accounts()] == ["flows", "packets", "records", "datagrams"]


def test_loss_shows_in_the_unit_of_each_protocol() -> None:
    ledger, _ = play(tiny(*FLEET, rate=700, duration_s=10, network=Network(loss=0.2)))
    for sent, account in zip(ledger.exporters(), ledger.accounts(), strict=True):
        lost = sent.datagrams - account.datagrams if account.unit in ("packets", "datagrams") else sent.flows - account.flows
        assert 0 < account.missing_units <= lost
        assert account.missing_units > 0.9 * lost  # all but what was lost before the first or after the last


def test_templates_and_options_always_arrive() -> None:
    ledger, _ = play(tiny(*FLEET, network=Network(loss=0.9, duplicate=0.5, reorder=0.5)))
    accounts = {account.exporter: account for account in ledger.accounts()}
    for sent in ledger.exporters():
        assert sent.announcements == accounts[sent.exporter].announcements if sent.exporter in accounts else not sent.announcements


def test_a_duplicate_has_the_same_octets() -> None:
    scenario = tiny(*FLEET, network=Network(duplicate=0.3))
    arrivals = [a for due in deliver(scenario, START_MS, Exporters(scenario, START_MS).slices()) for a in due]
    firsts = {a.datagram.payload: a.received_ms for a in arrivals if not a.copy}
    copies = [a for a in arrivals if a.copy]
    assert copies
    assert all(firsts[a.datagram.payload] < a.received_ms for a in copies)


def test_exporters_of_one_address_share_a_collector() -> None:
    twice = tuple(Exporter(address="127.9.0.1", protocol="ipfix", domain=domain) for domain in (1, 2))
    other = Exporter(address="127.9.0.2", protocol="ipfix")
    scenario = tiny(*twice, other).model_copy(update={"collectors": (Collector(name="a"), Collector(name="b"))})
    ledger, _ = play(scenario)
    assert [(a.collector, a.exporter, a.domain) for a in ledger.accounts()] == [
        ("a", "127.9.0.1", 1),
        ("a", "127.9.0.1", 2),
        ("b", "127.9.0.2", 0),
    ]


def test_lossy_has_every_impairment() -> None:
    ledger, _ = play(BUILTIN["lossy"].model_copy(update={"duration_s": 20.0}))
    accounts = ledger.accounts()
    assert all(sum(getattr(a, name) for a in accounts) > 0 for name in ("copies", "missing_units", "reordered"))
    assert {a.collector for a in accounts} == {"east", "west"}
