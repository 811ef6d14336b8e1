"""What became of flows by batch and exporter: the same as laying out each exporter's flows of each batch alone."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from columns.judged import COUNTS, Judged
from columns.lane import Limits, lay_out_many
from tests.columns import oracle
from tests.columns.flows import NOW, batch, flows
from tests.columns.oracle import Flow

BATCHES = st.lists(
    st.tuples(st.lists(flows(), max_size=6), st.integers(NOW, NOW + 120_000), st.integers(NOW - 120_000, NOW + 60_000)), max_size=4
)
MAX = 2**63 - 1


def counted(judged: Judged) -> dict[tuple[int, bytes], dict[str, int]]:
    octets = [bytes(pair.astype(">u8").tobytes()) for pair in judged.exporter]
    keys = zip(judged.batch.tolist(), octets, strict=True)
    return {key: dict(zip(COUNTS, counts, strict=True)) for key, counts in zip(keys, judged.counts.T.tolist(), strict=True)}


@given(BATCHES)
def test_counts_are_those_of_each_batch_and_exporter_alone(batches: Sequence[tuple[Sequence[Flow], int, int]]) -> None:
    found = counted(lay_out_many([(batch(each), mark, frontier) for each, mark, frontier in batches], Limits()).judged)
    expected = {}
    for number, (each, mark, frontier) in enumerate(batches):
        for exporter in {flow.exporter_addr for flow in each}:
            own = [flow for flow in each if flow.exporter_addr == exporter]
            truth = oracle.answer([(own, mark, frontier)], False).counts
            counts = {"flows": len(own), **{name: truth[name] for name in COUNTS[1:6]}}
            expected[number, exporter] = {name: min(count, MAX) for name, count in counts.items()}
    assert {key: {name: counts[name] for name in COUNTS[:6]} for key, counts in found.items()} == expected
    assert list(found) == sorted(expected)


def test_batches_without_flows_keep_their_numbers() -> None:
    flow = Flow(NOW, NOW, bytes=1)
    laid = lay_out_many([(batch([]), NOW, NOW), (batch([flow]), NOW, NOW), (batch([flow, flow]), NOW, NOW)], Limits())
    assert (laid.judged.batch.tolist(), laid.judged.counts[0].tolist()) == ([1, 2], [1, 2])
    assert laid.flows == 3


def test_packets_are_those_of_sampled_flows() -> None:
    intervals = (None, 1.0, 10.0, 2.5, 0.5, float("inf"), float("nan"), 0.0)
    flows = [Flow(NOW, NOW, packets=4, sampling_interval=interval) for interval in intervals]
    [counts] = counted(lay_out_many([(batch(flows), NOW, NOW)], Limits()).judged).values()
    assert (counts["packets_sampled"], counts["packets_scaled"]) == (8, 50)


def test_nothing_is_judged_of_nothing() -> None:
    assert counted(lay_out_many([], Limits()).judged) == {}
