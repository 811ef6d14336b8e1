"""Comparing documents with the oracle's."""

from common.addresses import pack_address
from flowpb.lanes import lane_of
from ingest.loadgen.compare import differences
from ingest.loadgen.expected import Answer, Oracle
from ingest.loadgen.oracle.flows import Batch, Flow

R1 = pack_address("192.0.2.1")
NOW = 1_767_225_600_000


def answer() -> Answer:
    oracle = Oracle()
    oracle.take(Batch(lane_of(R1), "c", 1, 0, NOW, (Flow(R1, NOW, NOW, bytes=5, location="Default", direction=0),)))
    return oracle.answer()


def test_equal() -> None:
    assert differences(answer().table().to_pylist(), answer()) == []


def test_marks_are_not_compared_and_the_last_version_counts() -> None:
    old = [document | {"rows": 0, "bytes_total": 1, "mark": 1} for document in answer().documents]
    new = [document | {"mark": 2, "final": True, "group_id": 7} for document in answer().documents]
    assert differences([*old, *new], answer()) == []
    assert differences([*new, *old], answer()) == []


def test_differences_in_words() -> None:
    first, *others = answer().documents
    wrong = [first | {"bytes_total": 6}, *others[1:], others[0] | {"slot": 9}]
    place = f"window_start_ms={NOW} grouped_by="
    assert sorted(differences(wrong, answer())) == [
        f"{place}EXPORTER location=Default exporter_addr=192.0.2.1 slot=0: bytes_total 6, expected 5",
        f"{place}EXPORTER_APPLICATION location=Default exporter_addr=192.0.2.1 slot=0: missing",
        f"{place}EXPORTER_APPLICATION location=Default exporter_addr=192.0.2.1 slot=9: unexpected",
    ]
    assert differences([], answer(), most=1)[1:] == [f"and {len(answer().documents) - 1} more"]
