"""The compiled rules equal the plain matcher, on random rules and flows."""

from collections.abc import Sequence
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columns.classify import compile_book
from columns.rules.model import Group, RuleBook
from columns.rules.text import read_rules
from common.addresses import pack_address
from flowpb.schema import ADDRESS, BY_NAME
from tests.classify.plain import NUMBERS, PlainFlow, PlainRule, classify

_HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.1.1", "10.1.0.1", "192.0.2.9", "::1", "2001:db8::1", "2001:db8::2", "2001:db8:1::1")
_ADDRESSES = (
    *_HOSTS,
    "10.0.0.0/24",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "::/0",
    "2001:db8::/32",
    "10.0.0.2-10.1.0.1",
    "10.*.0.1",
    "*.*.1.*",
)
_PORTS = ("1", "2", "3", "2-4", "0-65535", "5-9", "65535", "1-3")


_HEADER = "name;protocol;srcAddress;srcPort;dstAddress;dstPort;exporterFilter;omnidirectional;position"


def _list(choices: Sequence[str]) -> st.SearchStrategy[str]:
    return st.just("") | st.lists(st.sampled_from(choices), min_size=1, max_size=2, unique=True).map(",".join)


_RULE = st.builds(
    PlainRule,
    group=st.integers(0, 1),
    position=st.integers(0, 2),
    name=st.sampled_from("abcdefgh"),
    protocol=_list(tuple(NUMBERS)),
    src_address=_list(_ADDRESSES),
    src_port=_list(_PORTS),
    dst_address=_list(_ADDRESSES),
    dst_port=_list(_PORTS),
    exporter=st.sampled_from(["", "", "ipAddr == '10.9.9.1'", "ipAddr == '10.9.9.2'"]),
    omnidirectional=st.booleans(),
).filter(lambda rule: len(rule.line) > len("a;;;;;;;false"))
_PORT = st.none() | st.integers(0, 10) | st.just(65_535)
_HOST = st.none() | st.sampled_from(_HOSTS)
_FLOW = st.builds(
    PlainFlow,
    protocol=st.sampled_from([None, 1, 6, 17, 132, 250]),
    src_address=_HOST,
    src_port=_PORT,
    dst_address=_HOST,
    dst_port=_PORT,
    exporter=st.sampled_from(["10.9.9.1", "10.9.9.2", "10.9.9.3"]),
)


def flow_batch(flows: Sequence[PlainFlow]) -> pa.RecordBatch:
    """The flows as columns of FLOW."""

    def addresses(texts: Sequence[str | None]) -> pa.DictionaryArray:
        packed = [None if text is None else pack_address(text) for text in texts]
        return pa.array(packed, pa.binary(16)).dictionary_encode().cast(ADDRESS)

    columns = {
        "exporter_addr": addresses([flow.exporter for flow in flows]),
        "src_addr": addresses([flow.src_address for flow in flows]),
        "dst_addr": addresses([flow.dst_address for flow in flows]),
        "src_port": pa.array([flow.src_port for flow in flows], BY_NAME["src_port"].type),
        "dst_port": pa.array([flow.dst_port for flow in flows], BY_NAME["dst_port"].type),
        "protocol": pa.array([flow.protocol for flow in flows], BY_NAME["protocol"].type),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def rule_book(rules: Sequence[PlainRule]) -> RuleBook:
    """The rules as the program reads them from text, by group."""
    groups = []
    for number in sorted({rule.group for rule in rules}):
        lines = [f"{rule.line};{rule.position}" for rule in rules if rule.group == number]
        groups.append(Group(f"group {number}", number, read_rules("\n".join([_HEADER, *lines]))))
    return RuleBook(tuple(groups), "test")


@settings(max_examples=60, deadline=None)
@given(st.lists(_RULE, max_size=12), st.lists(_FLOW, min_size=1, max_size=25))
def test_equals_the_plain_matcher(rules: list[PlainRule], flows: list[PlainFlow]) -> None:
    classifier = compile_book(rule_book(rules))
    expected = [classify(rules, flow) for flow in flows]
    assert classifier.applications(flow_batch(flows)).to_pylist() == expected
    assert classifier.applications(flow_batch(flows)).to_pylist() == expected, "the memo gave another answer"


@pytest.mark.parametrize("seed", range(2))
def test_more_rules_than_fit_a_word(seed: int) -> None:
    random = Random(seed)

    def pick(choices: Sequence[str]) -> str:
        return ",".join(random.sample(choices, 2)) if random.random() < 0.6 else ""

    rules = [
        PlainRule(
            0, 0, str(place), pick(tuple(NUMBERS)), pick(_ADDRESSES), pick(_PORTS), pick(_ADDRESSES), "1-9", "", place % 2 == 0
        )
        for place in range(150)
    ]
    hosts = (None, *_HOSTS)
    flows = [
        PlainFlow(random.choice([6, 17, 250]), random.choice(hosts), random.randrange(11), random.choice(hosts), 5, "10.9.9.1")
        for _ in range(100)
    ]
    expected = [classify(rules, flow) for flow in flows]
    assert compile_book(rule_book(rules)).applications(flow_batch(flows)).to_pylist() == expected
    assert len(set(expected)) > 10
