"""Tests of rules in a file: outcomes, and what is wrong with a file."""

import pytest

from columns.rules.cases import read_cases, run_cases
from columns.rules.predefined import default_book
from common.errors import ConfigError


def test_outcomes() -> None:
    cases = read_cases(
        "- {name: web, flow: {protocol: tcp, srcPort: 40000, dstPort: 443}, application: https}\n"
        "- {name: nothing, flow: {protocol: icmp}, application: null}\n"
        "- {name: wrong, flow: {protocol: 17, dstPort: 53}, application: dns}\n",
        "cases.yaml",
    )
    outcomes = run_cases(default_book(), cases)
    assert [(outcome.case.name, outcome.found, outcome.passed) for outcome in outcomes] == [
        ("web", "https", True),
        ("nothing", None, True),
        ("wrong", "domain", False),
    ]


def test_every_fault_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_cases(
            "- {name: a, flow: {protocol: tcpp, dstPort: 70000, colour: red}, application: x}\n"
            "- {name: b, flow: {srcAddress: x}}\n",
            "cases.yaml",
        )
    assert [problem.partition(": ")[2].split(":")[0] for problem in caught.value.problems] == [
        "0.flow.protocol",
        "0.flow.dstPort",
        "0.flow.colour",
        "1.flow.srcAddress",
        "1.application",
    ]


@pytest.mark.parametrize(("text", "message"), [("a: [", "not YAML"), ("", "valid tuple"), ("x", "valid tuple")])
def test_not_a_list_of_cases(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_cases(text, "cases.yaml")
