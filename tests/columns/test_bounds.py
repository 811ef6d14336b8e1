"""With tiny caps: totals stay exact, every true value is inside its bound, state stays bounded, no slot is ever left."""

from collections import defaultdict
from collections.abc import Sequence

from hypothesis import assume, given
from hypothesis import strategies as st

from columns.lane import Limits, absorb, contribution, emit, lay_out
from columns.state import BY_DSCP, State
from tests.columns import oracle
from tests.columns.flows import EXPORTERS, KINDS, NOW, batch, fewer, flows, key, plain
from tests.columns.oracle import Flow

TINY = st.builds(
    Limits,
    top_k=st.integers(1, 2),
    young=st.just(4),
    old=st.just(4),
    with_dscp=st.booleans(),
    both_sides=st.booleans(),
    values=KINDS,
)
HERE = st.integers(NOW, NOW + 59_999)
CROWD = flows(
    counters=st.integers(0, 2**20),
    times=HERE,
    intervals=st.sampled_from([None, 1.5, 100.0]),
    exporters=EXPORTERS[:1],
    locations=[None],
    interfaces=[1, 2],
)
PORTIONS = st.lists(st.lists(CROWD, min_size=4, max_size=12), min_size=2, max_size=5)
ITEM = ("application", "host_address", "conversation_key", "item")
GROUP = ("grouped_by", "location", "exporter_addr", "if_index", "dscp")

Document = dict[str, object]


def number(document: Document, name: str) -> int:
    value = document[name]
    assert isinstance(value, int)
    return value


def by_group(documents: Sequence[Document]) -> dict[tuple[object, ...], list[Document]]:
    groups = defaultdict(list)
    for document in documents:
        groups[tuple(document[name] for name in GROUP)].append(document)
    return groups


def items(documents: Sequence[Document]) -> dict[tuple[object, ...], Document]:
    return {tuple(d[name] for name in ITEM): d for d in documents if d["aggregation_type"] == "TOPK"}


@fewer
@given(PORTIONS, TINY)
def test_bounds_hold(portions: Sequence[Sequence[Flow]], limits: Limits) -> None:
    base: bytes | None = None
    for portion in portions:
        part = lay_out(batch(portion, True), NOW + 60_000, NOW, limits).parts.get(NOW)
        base = absorb(base, [part] if part else [], limits, True)
    assert base is not None
    truth = oracle.answer([(portion, NOW + 60_000, NOW) for portion in portions], limits.both_sides).windows[NOW]
    assume(truth)
    found = by_group(plain(emit(base, 0, NOW, 1, False, limits)[1]))
    exact = by_group(oracle.documents(truth, 10**6, limits.with_dscp, limits.values))
    assert set(found) == set(exact)
    for group, documents in found.items():
        if documents[0]["aggregation_type"] == "TOTAL":
            assert documents == exact[group]
        else:
            check_group(documents, exact[group])
            assert sum(number(d, "bytes_ingress") for d in documents) == sum(number(d, "bytes_ingress") for d in exact[group])
            assert sum(number(d, "packets_unscaled") for d in documents) == sum(number(d, "packets_unscaled") for d in exact[group])


def check_group(documents: Sequence[Document], exact: Sequence[Document]) -> None:
    ranked, true = items(documents), items(exact)
    floor = number(documents[0], "floor")
    for item, document in ranked.items():
        value = number(document, "bytes_total")
        assert value <= number(true[item], "bytes_total") <= value + number(document, "error")
        assert number(document, "error") <= floor
    least = min(number(document, "bytes_total") for document in ranked.values())
    for item in set(true) - set(ranked):
        assert number(true[item], "bytes_total") <= least + floor
    if not floor:
        kept = len(ranked)
        assert [d for d in documents if d["aggregation_type"] == "TOPK"] == list(exact[:kept])


@fewer
@given(PORTIONS, TINY)
def test_state_is_bounded_and_slots_stay(portions: Sequence[Sequence[Flow]], limits: Limits) -> None:
    base: bytes | None = None
    slots: dict[tuple[object, ...], int] = {}
    for mark, portion in enumerate(portions, 1):
        part = lay_out(batch(portion, True), NOW + 60_000, NOW, limits).parts.get(NOW)
        base, table = emit(absorb(base, [part] if part else [], limits, False), 0, NOW, mark, False, limits)
        for group, documents in by_group(plain(table)).items():
            assert [number(d, "slot") for d in documents if d["aggregation_type"] != "OTHER"] == list(
                range(len(items(documents)) or 1)
            )
            assert len(documents) >= slots.get(group, 0)
            slots[group] = len(documents)
        check_caps(base, limits, False)
        check_caps(contribution(base, limits), limits, True)


def check_caps(base: bytes, limits: Limits, young: bool) -> None:
    for level, content in State.unpack(base).levels.items():
        groups = len(content.groups.code)
        cap = limits.candidates(young) * groups + (limits.top_k * groups if level == BY_DSCP else 0)
        assert all(len(table.group) <= cap for table in content.tables)


def test_unchanged_groups_write_nothing() -> None:
    limits = Limits()
    flow = Flow(NOW + 10, NOW, src_addr=EXPORTERS[0], direction=0, in_if=1, bytes=5)
    [part] = lay_out(batch([flow, Flow(NOW + 10, NOW, direction=0, in_if=2, bytes=7)]), NOW, NOW, limits).parts.values()
    base, first = emit(absorb(None, [part], limits, True), 0, NOW, 1, False, limits)
    assert emit(base, 0, NOW, 2, False, limits)[1].num_rows == 0
    [more] = lay_out(batch([flow]), NOW, NOW, limits).parts.values()
    base, second = emit(absorb(base, [more], limits, False), 0, NOW, 3, True, limits)
    assert set(second.column("if_index").to_pylist()) == {1, None}
    assert set(second.column("mark").to_pylist()) == {3}
    assert second.num_rows < first.num_rows


def test_pruning_at_the_first_mark_gives_floors() -> None:
    limits = Limits(top_k=2, young=20, old=4)
    rows = [Flow(NOW + 10, NOW, src_addr=bytes(15) + bytes([i]), direction=0, bytes=100 - i) for i in range(10)]
    [part] = lay_out(batch(rows), NOW, NOW, limits).parts.values()
    base, first = emit(absorb(None, [part], limits, True), 0, NOW, 1, False, limits)
    assert set(first.column("floor").to_pylist()) == {0}
    [more] = lay_out(batch([Flow(NOW + 10, NOW, src_addr=b"\x09" * 16, direction=0, bytes=98)]), NOW, NOW, limits).parts.values()
    _, second = emit(absorb(base, [more], limits, False), 0, NOW, 2, False, limits)
    hosts = [d for d in second.to_pylist() if d["grouped_by"] == "EXPORTER_HOST"]
    # Null is every flow's other end. 4 of 11 hosts were kept, the largest that went had 97 octets; then one of two with 98 went.
    assert [(d["host_address"], d["bytes_total"], d["error"], d["floor"]) for d in hosts[:2]] == [
        (None, 955 + 98, 0, 98),
        ("::", 100, 0, 98),
    ]
    conversations = [d for d in second.to_pylist() if d["grouped_by"] == "EXPORTER_CONVERSATION"]
    assert [(d["bytes_total"], d["error"], d["floor"]) for d in conversations] == [(100, 0, 97), (99, 0, 97), (854, 0, 97)]


def test_interfaces_beyond_the_limit_go_to_overflow() -> None:
    limits = Limits(interfaces=3)
    base: bytes | None = None
    for number_ in (5, 1, 9, 7, 8, 1):
        flow = Flow(NOW + 10, NOW, in_if=number_, direction=0, bytes=number_)
        base = absorb(base, list(lay_out(batch([flow]), NOW, NOW, limits).parts.values()), limits, True)
    assert base is not None
    table = emit(base, 0, NOW, 1, False, limits)[1].to_pylist()
    totals = {d["if_index"]: d["bytes_total"] for d in table if d["grouped_by"] == "EXPORTER_INTERFACE"}
    assert totals == {5: 5, 1: 2, 9: 9, 2**32 - 1: 15}
    assert [d["bytes_total"] for d in table if d["grouped_by"] == "EXPORTER"] == [31]


def test_documents_are_in_order() -> None:
    limits = Limits(top_k=1)
    rows = [Flow(NOW + 10, NOW, in_if=i, direction=0, exporter_addr=EXPORTERS[i % 3], bytes=i) for i in range(12)]
    [part] = lay_out(batch(rows), NOW, NOW, limits).parts.values()
    documents = plain(emit(absorb(None, [part], limits, True), 0, NOW, 1, False, limits)[1])
    for grouped_by in {d["grouped_by"] for d in documents}:
        interfaces = [key(d)[3:] for d in documents if d["grouped_by"] == grouped_by and d["exporter_addr"] == "10.0.0.2"]
        assert interfaces == sorted(interfaces)
