"""A rule is reported as shadowed if and only if it wins no flow of a world small enough to try them all."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from columns.rules.model import Group, RuleBook
from columns.rules.predefined import predefined_group
from columns.rules.shadow import Shadowed, shadowed
from columns.rules.text import read_rules
from tests.classify.plain import PlainFlow, PlainRule, fits

_PORTS: Final = ("0", "1", "0-1", "1-65535", "0,2-65535", "0-65535", "65536")
_ADDRESSES: Final = ("10.0.0.0", "10.0.0.1", "10.0.0.0/31", "10.0.0.1-255.255.255.255", "0.0.0.0/0", "::/0", "0.0.0.0-10.0.0.0")
_WORLD: Final = [
    PlainFlow(protocol, source, source_port, destination, destination_port, "10.9.9.9")
    for protocol, source, source_port, destination, destination_port in itertools.product(
        [None, 6, 17], *([None, "0.0.0.0", "10.0.0.0", "10.0.0.1", "10.0.0.2", "::1"], [None, 0, 1, 2]) * 2
    )
]
_RULE: Final = st.builds(
    PlainRule,
    group=st.just(0),
    position=st.just(0),
    name=st.just("a"),
    protocol=st.sampled_from(["", "tcp", "udp", "tcp,udp"]),
    src_address=st.sampled_from(["", "", "", *_ADDRESSES]),
    src_port=st.sampled_from(["", "", "", *_PORTS]),
    dst_address=st.sampled_from(["", "", "", *_ADDRESSES]),
    dst_port=st.sampled_from(["", "", "", *_PORTS]),
    exporter=st.just(""),
    omnidirectional=st.booleans(),
).filter(lambda rule: len(rule.line) > len("a;;;;;;;false"))


def _shadowed(*lines: str) -> list[Shadowed]:
    return list(shadowed(RuleBook((Group("g", 0, read_rules("\n".join(lines))),), "test")))


def _never_win(rules: Sequence[PlainRule]) -> set[str]:
    winners = {next((rule.name for rule in rules if fits(rule, flow)), None) for flow in _WORLD}
    return {rule.name for rule in rules} - winners


@settings(max_examples=40, deadline=None)
@given(st.lists(_RULE, min_size=1, max_size=6))
def test_equals_trying_all_flows(rules: list[PlainRule]) -> None:
    named = [replace(rule, name=str(place)) for place, rule in enumerate(rules)]
    assert {found.rule.name for found in _shadowed(*(rule.line for rule in named))} == _never_win(named)


def test_covered_by_two_together() -> None:
    (found,) = _shadowed("low;tcp;;;;0-99;;", "high;;;;;100-65535;;", "other;udp;;;;5;;", "all;tcp;;;;0-65535;;")
    assert (found.rule.name, [rule.name for rule in found.by]) == ("all", ["low", "high"])


def test_without_any_flow() -> None:
    (found,) = _shadowed("none;tcp;;;;65536;;true")
    assert found.by == ()


@pytest.mark.parametrize(
    ("first", "second", "hidden"),
    [("", "ipAddr == 10.0.0.1", True), ("ipAddr == 10.0.0.1", "", False), ("location == a", "location == a", True)],
)
def test_exporter_filters(first: str, second: str, hidden: bool) -> None:
    assert bool(_shadowed(f"a;tcp;;;;80;{first};", f"b;tcp;;;;80;{second};")) is hidden


def test_an_address_condition_spares_flows_without_address() -> None:
    assert _shadowed("a;tcp;0.0.0.0/0,::/0;;;80;;", "b;tcp;;;;80;;") == []


def test_predefined_rules_hide_none_of_each_other() -> None:
    user = Group("user", 0, read_rules("all of 443;;;;;443;;true\n"))
    found = list(shadowed(RuleBook((user, predefined_group()), "test")))
    assert {each.rule.name for each in found} == {"https"}
    assert len(list(shadowed(RuleBook((predefined_group(),), "test")))) == 0
