"""Rules as text: both layouts, every fault with its place, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from columns.rules.text import RuleFileError, read_rules, write_rules

_HEADER = "name;protocol;srcAddress;srcPort;dstAddress;dstPort;exporterFilter;omnidirectional\n"


def test_todays_layout() -> None:
    rules = read_rules(_HEADER + "web;tcp,UDP;10.0.0.0/8;;192.0.2.1-192.0.2.9;80,8000-8080;categoryName == 'Routers';true\n")
    (rule,) = rules
    conditions = rule.conditions
    assert (rule.name, rule.position, rule.line, rule.text.omnidirectional) == ("web", 0, 2, True)
    assert conditions.protocols == frozenset({6, 17})
    assert conditions.src_ports is None
    assert conditions.dst_ports == ((80, 80), (8000, 8080))
    assert conditions.src_addresses == ((0xFFFF0A000000, 0xFFFF0AFFFFFF),)
    assert conditions.asked == 4


def test_older_layout_is_about_the_destination() -> None:
    with_header = read_rules("name;ipAddress;port;protocol\nhttp2;127.0.0.1;;TCP,UDP\ngoogle;8.8.8.8;53;\n")
    assert with_header == tuple(read_rules("# none\nhttp2;127.0.0.1;;TCP,UDP\ngoogle;8.8.8.8;53;\n"))
    assert [rule.text.dst_address for rule in with_header] == ["127.0.0.1", "8.8.8.8"]
    assert [rule.conditions.dst_ports for rule in with_header] == [None, ((53, 53),)]


def test_positions_follow_the_lines() -> None:
    rules = read_rules("\ufeffa;tcp;;;;;;\n\n# why\nb;udp;;;;;;\n")
    assert [(rule.name, rule.position, rule.line) for rule in rules] == [("a", 0, 1), ("b", 1, 4)]


def test_columns_in_another_order_and_left_out() -> None:
    (rule,) = read_rules("dstPort;NAME\n80;web\n")
    assert (rule.name, rule.conditions.dst_ports) == ("web", ((80, 80),))


def test_a_first_line_can_be_said_to_be_a_rule() -> None:
    assert [rule.name for rule in read_rules("name;tcp;;;;;;\n", has_header=False)] == ["name"]


def test_every_fault_with_its_place() -> None:
    lines = [
        "a;tcpp,300;;;;;;",
        ";tcp;;;;;;",
        "c;;;;;;;true",
        "d;;10.0.0.0/33;1-;fe80::1-10.0.0.1;70000;colour == 'red';maybe",
        "e;tcp",
        "f;;10.0.0.9-10.0.0.1;9-5;*.*.*.1;;;",
        'g;tcp;;;;;;"',
    ]
    with pytest.raises(RuleFileError) as caught:
        read_rules(_HEADER + "\n".join(lines), "rules.csv")
    assert list(caught.value.problems) == [
        "rules.csv: line 2, protocol: 'tcpp' is no IANA protocol keyword or number",
        "rules.csv: line 3, name: a rule needs a name",
        "rules.csv: line 4, line: a rule needs at least one condition",
        "rules.csv: line 5, omnidirectional: 'maybe' is neither true nor false",
        "rules.csv: line 5, srcAddress: '10.0.0.0/33' is no network: '10.0.0.0/33' does not appear to be an IPv4 or IPv6 network",
        "rules.csv: line 5, srcPort: '1-' is no port",
        "rules.csv: line 5, dstAddress: 'fe80::1-10.0.0.1' ends before it begins, or mixes IPv4 and IPv6",
        "rules.csv: line 5, dstPort: '70000' is no port or range in 0-65536",
        "rules.csv: line 5, exporterFilter: no attribute 'colour'; there are ipaddr, location, nodeid, nodelabel, foreignsource, "
        "foreignid, categoryname and catincNAME",
        f"rules.csv: line 6, line: 2 fields, expected 8: {_HEADER.strip()}",
        "rules.csv: line 7, srcAddress: '10.0.0.9-10.0.0.1' ends before it begins, or mixes IPv4 and IPv6",
        "rules.csv: line 7, srcPort: '9-5' is no port or range in 0-65536",
        "rules.csv: line 7, dstAddress: pattern covers more than 65536 separate ranges; write networks or ranges instead",
        "rules.csv: line 8, line: not CSV: unexpected end of data",
    ]


def test_faults_of_the_header() -> None:
    with pytest.raises(RuleFileError) as caught:
        read_rules("port;dstPort;colour;port\n", has_header=True)
    assert [str(fault) for fault in caught.value.faults] == [
        "line 1, header: column 'port' is there twice",
        "line 1, header: no column 'colour'; there are "
        "name, protocol, srcAddress, srcPort, dstAddress, dstPort, exporterFilter, omnidirectional",
        "line 1, header: column 'port' is there twice",
        "line 1, header: column 'name' is missing",
    ]


@pytest.mark.parametrize(("written", "spans"), [("65536", ()), ("65535-65536", ((65_535, 65_535),)), ("0", ((0, 0),))])
def test_edges_of_ports(written: str, spans: tuple[tuple[int, int], ...]) -> None:
    assert read_rules(f"a;;;{written};;;;")[0].conditions.src_ports == spans


@pytest.mark.parametrize(
    ("written", "count"),
    [("10.*.*.*", 1 << 24), ("10.1-3.*.7", 3 * 256), ("*.*.*.*", 1 << 32), ("2001:db8:*:*:*:*:*:*", 1 << 96), ("10.0.0.7/31", 2)],
)
def test_patterns_cover(written: str, count: int) -> None:
    spans = read_rules(f"a;;{written};;;;;")[0].conditions.src_addresses
    assert spans is not None
    assert sum(last - first + 1 for first, last in spans) == count


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1), min_size=1, max_size=4)
)
def test_what_is_written_is_read_again(names: list[str]) -> None:
    lines = [f'"{name.replace(chr(34), chr(34) * 2)}";tcp;10.0.0.1;1;::/0;2-3;"ipAddr == ""10.0.0.1""";true' for name in names]
    rules = read_rules(_HEADER + "\n".join(line for line in lines if not line.startswith('"#')))
    written = write_rules(rules)
    assert [rule.text for rule in read_rules(written)] == [rule.text for rule in rules]


@given(st.text(max_size=120))
def test_any_text_gives_rules_or_faults(text: str) -> None:
    try:
        assert all(rule.name for rule in read_rules(text))
    except RuleFileError as error:
        assert error.faults
