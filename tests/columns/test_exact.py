"""Below the caps every document equals the oracle's, whatever the bundling."""

from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from columns.lane import Limits, absorb, combine, emit, lay_out, lay_out_many
from flowpb.groupings import BY_GROUPED_BY, Grouping, Kind, Scope
from tests.columns import oracle
from tests.columns.flows import KINDS, NOW, batch, fewer, flows, key, plain
from tests.columns.oracle import Flow

LIMITS = st.builds(Limits, top_k=st.integers(1, 3), with_dscp=st.booleans(), both_sides=st.booleans(), values=KINDS)
MARKS = st.integers(NOW, NOW + 120_000)
FRONTIERS = st.integers(NOW - 120_000, NOW + 60_000)
BATCHES = st.lists(st.tuples(st.lists(flows(), max_size=6), MARKS, FRONTIERS), max_size=3)
NEAR = st.integers(NOW - 70_000, NOW + 70_000)
NEAR_BATCHES = st.lists(st.tuples(st.lists(flows(times=NEAR), max_size=8), MARKS, FRONTIERS), max_size=2)

Batches = Sequence[tuple[Sequence[Flow], int, int]]


def documents_of(parts: Sequence[bytes], window: int, limits: Limits) -> pa.Table:
    return emit(absorb(None, parts, limits, True), 3, window, 1, False, limits)[1]


@given(BATCHES, LIMITS, st.booleans())
def test_documents_equal_the_oracle(batches: Batches, limits: Limits, drop_nulls: bool) -> None:
    laid = lay_out_many([(batch(each, drop_nulls), mark, frontier) for each, mark, frontier in batches], limits)
    truth = oracle.answer(batches, limits.both_sides)
    counts = {name: getattr(laid, name) for name in ("late", "future", "reversed", "saturated", "clipped_bytes", "rows")}
    assert counts == {name: truth.counts[name] for name in counts}
    assert laid.refused.tolist() == truth.refused
    assert laid.flows == sum(len(each) for each, _, _ in batches)
    assert set(laid.parts) == set(truth.windows)
    for window, part in laid.parts.items():
        table = documents_of([part], window, limits)
        assert sorted(plain(table), key=key) == sorted(
            oracle.documents(truth.windows[window], limits.top_k, limits.with_dscp, limits.values), key=key
        )


@fewer
@given(NEAR_BATCHES, LIMITS, st.randoms(use_true_random=False))
def test_bundling_and_order_do_not_matter(batches: Batches, limits: Limits, random: object) -> None:
    """Absorbing is associative and commutative, and nothing is its identity."""
    whole = lay_out_many([(batch(each), mark, frontier) for each, mark, frontier in batches], limits)
    single: dict[int, list[bytes]] = {}
    for each, mark, frontier in batches:
        for flow in each:
            for window, part in lay_out(batch([flow], True), mark, frontier, limits).parts.items():
                single.setdefault(window, []).append(part)
    assert set(single) == set(whole.parts)
    for window, parts in single.items():
        random.shuffle(parts)  # type: ignore[attr-defined]
        base: bytes | None = None
        while parts:
            taken = [parts.pop() for _ in range(min(len(parts), random.randint(1, 3)))]  # type: ignore[attr-defined]
            base = absorb(base, taken, limits, True)
            base = absorb(base, [], limits, True)
        assert base is not None
        portioned = emit(base, 3, window, 1, False, limits)[1]
        assert portioned.to_pylist() == documents_of([whole.parts[window]], window, limits).to_pylist()


@fewer
@given(NEAR_BATCHES, LIMITS)
def test_counters_are_conserved(batches: Batches, limits: Limits) -> None:
    """Every grouping adds up to the rows of its scope, hosts to twice as much, unless something saturated."""
    laid = lay_out_many([(batch(each), mark, frontier) for each, mark, frontier in batches], limits)
    truth = oracle.answer(batches, limits.both_sides)
    assume(all(sum(row.values["bytes"] for row in rows) < 2**62 for rows in truth.windows.values()))
    for window, part in laid.parts.items():
        sums: dict[str, int] = {}
        for document in plain(documents_of([part], window, limits)):
            name = str(document["grouped_by"])
            sums[name] = sums.get(name, 0) + int(document["bytes_ingress"]) + int(document["bytes_egress"])  # type: ignore[call-overload]
        by_interface = sum(row.values["bytes"] for row in truth.windows[window])
        by_exporter = sum(row.values["bytes"] for row in truth.windows[window] if row.of_exporter)
        for name, found in sums.items():
            expected = by_interface if "INTERFACE" in name else by_exporter
            assert found == expected * BY_GROUPED_BY.get(name, Grouping(Scope.EXPORTER, Kind.TOTAL)).multiplicity, name


@fewer
@given(NEAR_BATCHES, LIMITS, st.integers(1, 4))
def test_portions_and_narrow_keys_do_not_matter(batches: Batches, limits: Limits, chunk: int) -> None:
    """Many rows are taken in chunks, many parts in steps, and conversations too wide for a key by number: never by these sizes."""
    laid = lay_out_many([(batch(each), mark, frontier) for each, mark, frontier in batches], limits)
    for window, part in laid.parts.items():
        usual = absorb(absorb(None, [part], limits, True), [part, part], limits, True)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (("CHUNK", chunk), ("KEY_BITS", 12), ("_STEP_BYTES", 1)):
                patch.setattr(f"columns.absorb.{name}", value)
            patch.setattr("columns.combine.KEY_BITS", 12)
            narrow = absorb(absorb(None, [part], limits, True), [part, part], limits, True)
            combined = combine([absorb(None, [part], limits, True)] * 3, limits, True)
        expected = emit(usual, 3, window, 1, False, limits)[1].to_pylist()
        assert emit(narrow, 3, window, 1, False, limits)[1].to_pylist() == expected
        assert emit(combined, 3, window, 1, False, limits)[1].to_pylist() == expected
