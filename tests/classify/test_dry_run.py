"""What moves when rules change, and that nothing else does."""

import pyarrow as pa

from columns.classify import compile_book
from columns.rules.dry_run import Move, dry_run
from columns.rules.model import Group, RuleBook
from columns.rules.text import read_rules


def _flows(ports: list[int], octets: list[int | None], interval: list[float | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(ports, pa.uint16()), pa.array(octets, pa.uint64()), pa.array(interval, pa.float64())],
        names=["dst_port", "bytes", "sampling_interval"],
    )


def test_flows_and_octets_by_pair() -> None:
    before, after = (
        compile_book(RuleBook((Group("g", 0, read_rules(text)),), "test"))
        for text in ("a;;;;;1;;\nb;;;;;2;;\n", "a;;;;;1;;\nc;;;;;2-3;;\n")
    )
    batches = [_flows([1, 2, 3, 9], [10, 20, 30, None], [None, 2.0, 0.0, 5.0]), _flows([2, 2], [1, 2], [None, float("nan")])]
    assert dry_run(before, after, batches) == [
        Move("b", "c", 3, 43),
        Move(None, "c", 1, 30),
        Move("a", "a", 1, 10),
        Move(None, None, 1, 0),
    ]


def test_no_flows() -> None:
    classifier = compile_book(RuleBook((), "empty"))
    assert dry_run(classifier, classifier, [pa.RecordBatch.from_arrays([], names=[])]) == []
