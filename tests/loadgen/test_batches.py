"""Batches for a bus: identity, marks, outages, restarts, repeats; and what the oracle makes of them."""

from collections import defaultdict
from itertools import pairwise

from flowpb.codec import Header, decode
from flowpb.groupings import BY_GROUPED_BY
from ingest.loadgen.batches import BusEntry, Collectors
from ingest.loadgen.builtin import BUILTIN
from ingest.loadgen.expected import Answer, Oracle
from ingest.loadgen.export import Exporters
from ingest.loadgen.network import deliver
from ingest.loadgen.scenario import Collector, Exporter, Network, Oddities, Scenario
from tests.loadgen.rows import START_MS, tiny

TWO = (Exporter(address="127.9.0.1", protocol="ipfix", interfaces=2), Exporter(address="127.9.0.2", protocol="ipfix", interfaces=2))


def entries(scenario: Scenario, faults: bool = True) -> list[BusEntry]:
    slices = Exporters(scenario, START_MS, encode=False).slices()
    return list(Collectors(scenario, START_MS, faults).entries(deliver(scenario, START_MS, slices)))


def answer_of(found: list[BusEntry]) -> Answer:
    oracle = Oracle()
    for entry in found:
        oracle.take_entry(entry.value, entry.append_ms)
    return oracle.answer()


def headers(found: list[BusEntry]) -> list[Header]:
    return [decode(entry.value)[0] for entry in found]


def with_collectors(*collectors: Collector, **changes: object) -> Scenario:
    return tiny(*TWO).model_copy(update={"collectors": collectors, "closing_ms": 0, **changes})


def test_identity_and_marks() -> None:
    found = entries(tiny(*TWO))
    seqs: dict[int, list[int]] = defaultdict(list)
    marks: dict[int, list[int]] = defaultdict(list)
    for entry, header in zip(found, headers(found), strict=True):
        assert (header.collector, header.epoch, header.lane) == ("c1", START_MS, entry.lane)
        assert header.mark_ms == entry.append_ms
        seqs[header.lane].append(header.seq)
        marks[header.lane].append(header.mark_ms)
    assert all(numbers == list(range(len(numbers))) for numbers in seqs.values())
    assert all(before <= after for times in marks.values() for before, after in pairwise(times))
    assert all(max(times) >= START_MS + 5_000 + 16 * 60_000 for times in marks.values())


def test_a_flow_is_in_the_first_batch_that_closes_after_its_arrival() -> None:
    for entry in entries(tiny(*TWO)):
        header, flows = decode(entry.value)
        for received in flows.column("received_ms").to_pylist() if flows.num_rows else []:
            assert header.mark_ms - 250 <= received < header.mark_ms


def test_an_outage_keeps_marks_and_delays_batches() -> None:
    found = entries(with_collectors(Collector(name="a", outage_from_s=1, outage_to_s=4)))
    late = [(e.append_ms - START_MS, h.mark_ms - START_MS) for e, h in zip(found, headers(found), strict=True)]
    assert not [at for at, _ in late if 1_000 <= at < 4_000]
    drained = [mark for at, mark in late if at == 4_000]
    assert (min(drained), max(drained)) == (1_000, 4_000)
    assert drained == sorted(drained)
    unharmed = entries(with_collectors(Collector(name="a")))
    assert [e.value for e in found] == [e.value for e in unharmed]


def test_a_restart_begins_a_larger_epoch() -> None:
    found = headers(entries(with_collectors(Collector(name="a", restart_at_s=2))))
    for lane in {header.lane for header in found}:
        identities = [(header.epoch, header.seq) for header in found if header.lane == lane]
        assert identities == sorted(set(identities))
        assert {epoch for epoch, _ in identities} == {START_MS, START_MS + 2_000}
        assert (START_MS + 2_000, 0) in identities


def test_repeats_are_dropped_whole() -> None:
    scenario = with_collectors(Collector(name="a", repeat=0.5))
    found = entries(scenario)
    values = [entry.value for entry in found]
    repeats = len(values) - len(set(values))
    assert repeats > 5
    answer = answer_of(found)
    assert answer.counts.repeats == repeats
    assert answer.documents == answer_of(entries(scenario, faults=False)).documents


def test_two_collectors_give_the_same_answer_as_one() -> None:
    one = answer_of(entries(with_collectors(Collector(name="a"))))
    two = answer_of(entries(with_collectors(Collector(name="a"), Collector(name="b"), split="datagrams")))
    assert one.documents == two.documents
    assert two.counts.accepted == one.counts.accepted > 400


def collector_back_after(outage_s: float) -> Answer:
    """Two collectors of one exporter; `b` cannot reach the bus from 10 s on, for so long."""
    late = Collector(name="b", outage_from_s=10, outage_to_s=10 + outage_s)
    scenario = tiny(TWO[0], rate=3, duration_s=outage_s + 40).model_copy(
        update={"collectors": (Collector(name="a"), late), "split": "datagrams", "batch_interval_ms": 5_000, "long_share": 0}
    )
    return answer_of(entries(scenario))


def test_a_collector_within_its_lease_holds_the_frontier() -> None:
    counts = collector_back_after(580).counts
    assert (counts.late, counts.clipped_bytes) == (0, 0)


def test_flows_of_a_collector_that_lost_its_lease_are_late_beyond_the_horizon() -> None:
    counts = collector_back_after(1_400).counts
    assert counts.late > 100
    assert counts.accepted + counts.late == counts.flows


def test_every_octet_is_in_a_total_or_late() -> None:
    scenario = BUILTIN["lossy"].model_copy(update={"duration_s": 20.0})
    oracle, octets, seen = Oracle(), 0, set()
    for entry in entries(scenario):
        header, flows = decode(entry.value)
        if header.flow_count and (header.collector, header.epoch, header.lane, header.seq) not in seen:
            octets += sum(row["bytes"] * int(row.get("sampling_interval") or 1) for row in flows.to_pylist())
        seen.add((header.collector, header.epoch, header.lane, header.seq))
        oracle.take_entry(entry.value, entry.append_ms)
    answer = oracle.answer()
    counts = answer.counts
    assert min(counts.future, counts.reversed, counts.clipped_flows, counts.repeats, counts.late) > 0
    measured = sum(
        int(d["bytes_ingress"] or 0) + int(d["bytes_egress"] or 0) for d in answer.documents if d["grouped_by"] == "EXPORTER"
    )
    assert measured + counts.late_bytes == octets
    assert counts.accepted + counts.late == counts.flows


def test_every_group_adds_up_to_its_total() -> None:
    answer = answer_of(entries(BUILTIN["small"].model_copy(update={"duration_s": 8.0}), faults=False))
    counters = [f"{c}_{s}" for c in ("bytes", "packets", "flows") for s in ("ingress", "egress", "total")]
    counters += ["bytes_unscaled", "packets_unscaled"]
    sums: dict[tuple[object, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys(counters, 0))
    for document in answer.documents:
        group = tuple(document[name] for name in ("window_start_ms", "location", "exporter_addr", "if_index", "grouped_by"))
        for name in counters:
            sums[group][name] += int(document[name] or 0)
    assert any(document["aggregation_type"] == "OTHER" for document in answer.documents)
    for (*place, grouped_by), found in sums.items():
        grouping = BY_GROUPED_BY[str(grouped_by)]
        total = sums[*place, grouping.scope.value]
        assert found == {name: grouping.multiplicity * value for name, value in total.items()}, grouped_by


def test_oddities_leave_the_wire_alone() -> None:
    odd = tiny(*TWO).model_copy(update={"oddities": Oddities(future=0.3, reversed=0.3, old=0.4)})
    assert answer_of(entries(odd, faults=False)).documents == answer_of(entries(tiny(*TWO))).documents
    assert answer_of(entries(odd)).counts.future > 0


def test_clock_offsets_are_corrected() -> None:
    ahead = Exporter(address="127.9.0.1", protocol="ipfix", interfaces=2, clock_offset_ms=3_600_000)
    found = entries(tiny(ahead, network=Network(latency_ms=3)))
    corrections = [c for e in found for c in decode(e.value)[1].to_pydict().get("clock_correction_ms", [])]
    assert set(corrections) == {-3_600_000}
    answer, right = answer_of(found), answer_of(entries(tiny(TWO[0], network=Network(latency_ms=3))))
    assert answer.documents == right.documents
