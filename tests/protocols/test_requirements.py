"""The compliance page: every statement has a test that exists, or says why not; the page is what the tests say."""

import ast
from pathlib import Path

import pytest

from ingest.protocols import ipfix as wire
from tests.protocols.requirements import REQUIREMENTS, render
from tests.protocols.traps import TRAPS
from tests.protocols.wire import FLOW, Line, flow, ipfix, put, specifiers, template

_HERE = Path(__file__).parent
_PAGE = _HERE.parent.parent / "docs" / "reference" / "protocols.md"


def _tests() -> set[str]:
    paths = [*_HERE.glob("test_*.py"), *(_HERE.parent / "ingest").glob("test_*.py")]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_statement_is_held_by_a_test_that_exists() -> None:
    known = _tests()
    assert {name for item in REQUIREMENTS for name in item.tests} <= known
    assert all(item.tests or item.deviation for item in REQUIREMENTS)


def test_every_trap_has_a_test_that_can_fail() -> None:
    trees: dict[str, dict[str, ast.FunctionDef]] = {}
    for trap in TRAPS:
        assert trap.tests, trap.fault
        for place in trap.tests:
            file, _, name = place.partition("::")
            if file not in trees:
                tree = ast.parse((_HERE.parent / file).read_text(encoding="utf-8"))
                trees[file] = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert name in trees[file], place
            assert any(isinstance(node, ast.Assert) for node in ast.walk(trees[file][name])), place
    assert len({trap.fault for trap in TRAPS}) == len(TRAPS)


def test_every_test_of_traps_is_listed() -> None:
    tree = ast.parse((_HERE / "test_traps.py").read_text(encoding="utf-8"))
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    listed = {place.partition("::")[2] for trap in TRAPS for place in trap.tests}
    asked = {name for item in REQUIREMENTS for name in item.tests}
    assert tests - listed - asked == {
        "test_asa_events_with_counters_of_other_kinds_are_flows_too",
        "test_totals_become_what_is_new_since_the_last_report",
        "test_totals_of_other_structures_are_no_earlier_report_of_a_flow",
    }


def test_the_page_is_made_from_the_tests() -> None:
    assert _PAGE.read_text(encoding="utf-8") == render()


def test_options_templates_without_scope_are_refused() -> None:
    line = Line()
    body = (256).to_bytes(2) + (1).to_bytes(2) + (0).to_bytes(2) + specifiers(((34, 4),))
    line.feed(ipfix(put(3, body)))
    assert line.decoder.templates() == []
    assert line.problems() == {"template_malformed": 1}


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_stream_is_cut_alike_whole_by_octet_and_with_junk(step: int) -> None:
    messages = [ipfix(template(256, FLOW, True)), ipfix(put(256, flow(1))), ipfix(put(256, flow(2) * 9), sequence=1)]
    stream = b"".join(messages) + b"\0\x0a\0"
    cut: list[bytes] = []
    rest = b""
    for start in range(0, len(stream), step):
        found, rest, fault = wire.split_stream(rest + stream[start : start + step])
        assert fault is None
        cut += found
    assert (cut, rest) == (messages, b"\0\x0a\0")
    found, rest, fault = wire.split_stream(messages[0] + b"GET / HTTP/1.1\r\n")
    assert (found, rest) == (messages[:1], b"")
    assert fault is not None
    assert fault.offset == len(messages[0])
