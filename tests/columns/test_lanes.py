"""Several lanes laid out at once give each lane what it gets alone, and slices of one batch are joined without loss."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from columns.dictionaries import joined
from columns.enrich import Enricher
from columns.lane import Limits, absorb, emit, lay_out_lanes, lay_out_many
from columns.ledger import part_of_judged
from common.dictionaries import with_shared_joined
from flowpb.groupings import SHIPPED
from tests.columns.flows import NOW, batch, fewer, flows
from tests.columns.oracle import Flow

_LIMITS = Limits(values=SHIPPED)
_BATCHES = st.lists(st.tuples(st.integers(0, 3), st.lists(flows(), max_size=4)), max_size=4)


def _documents(lane: int, window: int, part: bytes) -> list[dict[str, object]]:
    found: list[dict[str, object]] = emit(absorb(None, [part], _LIMITS, True), lane, window, 1, False, _LIMITS)[1].to_pylist()
    return found


@fewer
@given(_BATCHES)
def test_each_lane_gets_what_it_gets_alone(batches: list[tuple[int, list[Flow]]]) -> None:
    given_all = [(lane, (batch(each), NOW + 60_000 + at, NOW + at)) for at, (lane, each) in enumerate(batches)]
    parts, laid = lay_out_lanes([each for _, each in given_all], [lane for lane, _ in given_all], _LIMITS)
    alone: dict[tuple[int, int], bytes] = {}
    for lane in {lane for lane, _ in given_all}:
        own = [each for of, each in given_all if of == lane]
        single = lay_out_many(own, _LIMITS)
        alone |= {(lane, window): part for window, part in single.parts.items()}
        of_lane = laid.judged.of(np.array([of == lane for of, _ in given_all], np.bool_))
        marks = [(mark, frontier) for _, (_, mark, frontier) in given_all]
        assert part_of_judged(of_lane, marks) == part_of_judged(single.judged, [each[1:] for each in own])
    assert {key: _documents(*key, part) for key, part in parts.items()} == {
        key: _documents(*key, part) for key, part in alone.items()
    }
    assert laid.flows == sum(len(each) for _, each in batches)


@fewer
@given(st.lists(st.lists(flows(intervals=st.just(2.0)), min_size=1, max_size=5), min_size=1, max_size=4))
def test_batches_enriched_together_are_those_enriched_alone(batches: list[list[Flow]]) -> None:
    enricher = Enricher.default()
    given_all = [batch(each, drop_nulls=bool(at % 2)) for at, each in enumerate(batches)]
    together = enricher.enrich_many(given_all)
    assert [each.to_pylist() for each in together] == [enricher.enrich(each).to_pylist() for each in given_all]


def test_slices_of_one_dictionary_become_one_chunk() -> None:
    whole = pa.record_batch({"text": pa.array(["a", None, "b", "a"]).dictionary_encode()})
    other = pa.record_batch({"text": pa.array(["b", "c"]).dictionary_encode()})
    table = pa.Table.from_batches([whole.slice(0, 1), whole.slice(1), other])
    assert with_shared_joined(table)["text"].num_chunks == 2
    assert joined([whole.slice(0, 1), whole.slice(1), other]).to_pylist() == table.to_pylist()
