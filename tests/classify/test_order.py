"""The order in which rules are asked, and the examples of OpenNMS's documentation."""

from dataclasses import replace

import pyarrow as pa
import pytest

from columns.classify import UnknownExporters, compile_book
from columns.rules.exporters import Exporter
from columns.rules.model import Exported, Group, Rule, RuleBook
from columns.rules.predefined import default_book, predefined_group
from columns.rules.text import read_rules
from tests.classify.plain import PlainFlow
from tests.classify.test_engine import flow_batch

_WEB = PlainFlow(6, "10.0.0.5", 60_123, "54.246.188.65", 80, "10.0.0.55")


class _Categorised(UnknownExporters):
    def describe(self, address: bytes, location: str | None) -> Exporter:
        return replace(super().describe(address, location), categories=frozenset({"Exporters"}))


def _book(*groups: Group) -> RuleBook:
    return RuleBook(groups, "test")


def _names(book: RuleBook) -> list[str]:
    return [rule.name for _, rule in book.ranked()]


def _application(book: RuleBook, flow: PlainFlow) -> str | None:
    found: str | None = compile_book(book).applications(flow_batch([flow]))[0].as_py()
    return found


@pytest.mark.parametrize(
    ("destination", "port", "expected"),
    [("54.246.188.65", 80, "http"), ("54.246.188.65", 443, "https"), ("10.0.0.1", 8980, "OpenNMS")],
)
def test_documented_example(destination: str, port: int, expected: str) -> None:
    rules = read_rules(
        "name;srcAddress;srcPort;dstAddress;dstPort;protocol;exporterFilter\n"
        "OpenNMS;;;10.0.0.1;8980;tcp;\n"
        "http;;;;80,8980,8080,9000;tcp;\n"
        "https;;;;443;;\n"
        "Exporters;;;;;;categoryName == 'Exporters'\n"
    )
    book = _book(Group("user-defined", 0, rules))
    flow = PlainFlow(6, "10.0.0.5", 60_123, destination, port, "10.0.0.55")
    assert _application(book, flow) == expected
    found = compile_book(book).applications(flow_batch([flow, replace(flow, dst_port=22)]), _Categorised())
    assert found.to_pylist() == [expected, "Exporters"]


def test_documented_order_of_evaluation() -> None:
    def group(number: int, count: int) -> Group:
        lines = [f"rule {number}.{place};tcp;;;;;;" for place in range(1, count + 1)]
        return Group(f"group {number}", number, read_rules("\n".join(lines)))

    expected = [
        *(f"rule 1.{place}" for place in (1, 2, 3, 4)),
        *(f"rule 2.{place}" for place in (1, 2, 3, 4)),
        "rule 3.1",
        "rule 3.2",
    ]
    assert _names(_book(group(3, 2), group(1, 4), group(2, 4))) == expected


def test_at_one_position_the_rule_that_constrains_more_comes_first() -> None:
    rules = read_rules("one;tcp;;;;;;\nfilter;;;;;1;ipAddr IPLIKE *.*.*.*;\ntwo;tcp;;;;80;;\nthree;tcp;;;;80,81;;\n")
    tied = tuple(replace(rule, position=5) for rule in rules)
    assert _names(_book(Group("g", 0, tied))) == ["two", "three", "one", "filter"]


def test_predefined_rules_come_last_whatever_their_position() -> None:
    web: tuple[Rule, ...] = read_rules("mine;tcp;;;;80;;\n")
    assert _application(_book(predefined_group(), Group("user", 99, web)), _WEB) == "mine"
    assert _application(_book(predefined_group(), Group("user", 99, web, enabled=False)), _WEB) == "http"


def test_direction() -> None:
    reply = PlainFlow(6, "54.246.188.65", 80, "10.0.0.5", 60_123, "10.0.0.55")
    one_way, both_ways = (_book(Group("g", 0, read_rules(f"web;tcp;10.0.0.5;;;80;;{both}"))) for both in ("false", "true"))
    assert [_application(one_way, flow) for flow in (_WEB, reply)] == ["web", None]
    assert [_application(both_ways, flow) for flow in (_WEB, reply)] == ["web", "web"]


@pytest.mark.parametrize(("exported", "expected"), [("never", "http"), ("last", "http"), ("first", "web-browsing")])
def test_the_exporters_own_name(exported: Exported, expected: str) -> None:
    flows = flow_batch([_WEB, replace(_WEB, protocol=250), _WEB, _WEB])
    named = pa.array(["web-browsing", "web-browsing", None, "http"]).dictionary_encode()
    flows = flows.append_column("application_name", named)
    found = compile_book(replace(default_book(), exported=exported)).applications(flows)
    alone = None if exported == "never" else "web-browsing"
    assert found.to_pylist() == [expected, alone, "http", "http"]
    assert len(set(found.dictionary.to_pylist())) == len(found.dictionary)
