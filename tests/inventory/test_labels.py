"""Labels of networks: inheritance, and every fault with its line."""

import pyarrow as pa
import pytest

from columns.ranges import build_range_table, halves
from common.addresses import pack_address
from common.errors import ConfigError
from inventory.labels import LabelSet, parse_labels


def _labels(text: str, *addresses: str) -> list[LabelSet | None]:
    labels = parse_labels(text, "labels.csv")
    column = halves(pa.array([pack_address(address) for address in addresses], pa.binary(16)))
    return [None if row < 0 else labels.sets[row] for row in build_range_table(labels.ranges).look_up(column)]


def test_inner_networks_inherit_what_they_leave_empty() -> None:
    text = (
        "network;site;role;tenant\n"
        "10.1.0.0/16;Berlin;;\n"
        "10.0.0.0/8;everywhere;office;ours\n"
        "# a comment\n\n"
        "10.1.2.0/24;;servers;-\n"
        "10.1.2.3/32;;;theirs\n"
        "2001:db8::/32;six;;\n"
    )
    assert _labels(text, "10.2.0.1", "10.1.0.1", "10.1.2.1", "10.1.2.3", "192.0.2.1", "2001:db8::1", "2001:db9::1") == [
        ("everywhere", "office", "ours", None),
        ("Berlin", "office", "ours", None),
        ("Berlin", "servers", None, None),
        ("Berlin", "servers", "theirs", None),
        (None, None, None, None),
        ("six", None, None, None),
        None,
    ]


def test_ipv4_inherits_nothing_from_ipv6() -> None:
    assert _labels("network;site\n::/0;six\n0.0.0.0/0;\n10.0.0.0/8;ten\n", "::1", "192.0.2.1", "10.0.0.1") == [
        ("six", None, None, None),
        (None, None, None, None),
        ("ten", None, None, None),
    ]


def test_the_later_of_two_lines_holds() -> None:
    assert _labels("network;role\n10.0.0.0/8;a\n10.0.0.0/8;b\n", "10.0.0.1") == [(None, "b", None, None)]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["labels.csv: line 1: the first column must be 'network'"]),
        ("network;colour\n", ["labels.csv: line 1: no column 'colour', or twice; there are site, role, tenant, region"]),
        (
            "network;site\n10.0.0.1/8;a\n10.0.0.0/8\nx;y\n",
            [
                "labels.csv: line 2: 10.0.0.1/8 has host bits set",
                "labels.csv: line 3: 1 fields, expected 2",
                "labels.csv: line 4: 'x' does not appear to be an IPv4 or IPv6 network",
            ],
        ),
    ],
)
def test_faults(text: str, problems: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_labels(text, "labels.csv")
    assert list(caught.value.problems) == problems
