"""Kinds of values that come, go and are redefined while windows are open: nothing is invented, and what is not known is a bound."""

from dataclasses import replace

import numpy as np

from columns.lane import Limits, absorb, combine, emit, lay_out
from columns.state import State
from flowpb.groupings import AUTONOMOUS_SYSTEM, PROTOCOL, Scope, Values
from tests.columns.flows import EXPORTERS, NOW, batch
from tests.columns.oracle import Flow
from tests.columns.test_bounds import Document, check_caps, number

FLOW = Flow(NOW + 10, NOW, protocol=6, src_as=9, dst_as=10, direction=0, in_if=1, bytes=100)
BEFORE, AFTER = Limits(values=(PROTOCOL,)), Limits(values=(AUTONOMOUS_SYSTEM,))


def part_of(flow: Flow, limits: Limits) -> bytes:
    [part] = lay_out(batch([flow]), NOW, NOW, limits).parts.values()
    return part


def of(base: bytes, limits: Limits, grouped_by: str) -> list[Document]:
    documents = emit(base, 0, NOW, 1, False, limits)[1].to_pylist()
    return [document for document in documents if document["grouped_by"] == grouped_by]


def test_a_new_kind_begins_with_a_floor_of_all_that_was_not_ranked() -> None:
    old = absorb(None, [part_of(FLOW, BEFORE)], BEFORE, True)
    base = absorb(old, [part_of(replace(FLOW, bytes=7), AFTER)], AFTER, True)
    assert not of(base, AFTER, "EXPORTER_PROTOCOL")
    items = [(d["item"], d["bytes_total"], d["error"], d["floor"]) for d in of(base, AFTER, "EXPORTER_AS")]
    assert items == [("9", 7, 200, 200), ("10", 7, 200, 200), (None, 200, 0, 200)]
    assert [number(d, "bytes_total") for d in of(base, AFTER, "EXPORTER")] == [107]


def test_parts_from_before_a_change_are_counted_but_not_ranked() -> None:
    parts = [part_of(FLOW, BEFORE), part_of(replace(FLOW, bytes=7), AFTER)]
    for base in (absorb(None, parts, AFTER, True), absorb(absorb(None, parts[1:], AFTER, True), parts[:1], AFTER, True)):
        items = [(d["item"], d["bytes_total"], d["floor"]) for d in of(base, AFTER, "EXPORTER_AS")]
        assert sorted(items, key=str) == sorted([("9", 7, 200), ("10", 7, 200), (None, 200, 200)], key=str)
        assert [number(d, "bytes_total") for d in of(base, AFTER, "EXPORTER_APPLICATION")] == [107]


def test_the_same_name_with_other_columns_is_another_kind() -> None:
    one, other = (Limits(values=(Values("X", columns, (Scope.EXPORTER,)),)) for columns in (("src_as",), ("dst_as",)))
    bases = [absorb(None, [part_of(FLOW, limits)], limits, True) for limits in (one, other)]
    found = of(combine(bases, other), other, "EXPORTER_X")
    assert [(d["item"], d["bytes_total"], d["error"]) for d in found] == [("10", 100, 100), (None, 100, 0)]


def test_state_is_bounded_with_all_kinds_whatever_comes() -> None:
    """Random sources, systems and interfaces under 64 DSCPs: groups and items stay within their caps, and the top stays right."""
    limits = Limits(young=64, old=64, with_dscp=True, edge_only=True, interfaces=32, values=(AUTONOMOUS_SYSTEM, PROTOCOL))
    random = np.random.default_rng(7)
    base: bytes | None = None
    for _ in range(8):
        noise = [
            replace(FLOW, src_addr=random.bytes(16), dst_addr=random.bytes(16), src_as=int(random.integers(1 << 32)))
            for _ in range(1500)
        ]
        rows = [
            replace(
                each,
                in_if=int(random.integers(random.choice([40, 1 << 20]))),
                tos=int(random.integers(64)) << 2,
                bytes=40,
                in_if_side="external",
            )
            for each in noise
        ]
        heavy = [replace(FLOW, src_addr=bytes([n] * 16), dst_addr=EXPORTERS[0], bytes=20_000 * n) for n in range(1, 11)]
        base = absorb(base, [part_of_all([*rows, *heavy], limits)], limits, True)
        check_caps(base, limits, True)
    assert base is not None
    assert len(base) < 1 << 20
    levels = State.unpack(base).levels
    assert all(len(content.groups.code) <= 33 * 64 for content in levels.values())
    hosts = of(base, limits, "EXPORTER_HOST")
    total = sum(number(d, "bytes_total") for d in hosts)
    truth = [8 * 20_000 * octets for octets in (55, *range(10, 1, -1))]
    found = sorted((number(d, "bytes_total") for d in hosts if d["aggregation_type"] == "TOPK"), reverse=True)
    wrong = [abs(one - other) for one, other in zip(found, truth, strict=True)]
    assert max(wrong) <= total // 100


def part_of_all(flows: list[Flow], limits: Limits) -> bytes:
    [part] = lay_out(batch(flows, True), NOW, NOW, limits).parts.values()
    return part
