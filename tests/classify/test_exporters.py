"""The exporter filter: what fits, and what is refused with which words."""

import pytest

from columns.rules.exporters import Exporter, parse_filter
from common.addresses import pack_address


def _exporter(address: str, **known: object) -> Exporter:
    return Exporter(int.from_bytes(pack_address(address), "big"), **known)  # type: ignore[arg-type]


_ROUTER = _exporter(
    "10.1.2.3",
    location="Berlin",
    node_id=7,
    foreign_source="lab",
    foreign_id="r1",
    label="core-1.example",
    categories=frozenset({"Routers", "Core"}),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("categoryName == 'Routers'", True),
        ("categoryName = 'Switches'", False),
        ("categoryName != 'Routers'", True),
        ("catincRouters & catincCore", True),
        ("catincRouters & !catincCore", False),
        ("categoryName == 'Routers' | ipAddr == '10.0.0.1'", True),
        ("IPADDR IPLIKE 10.1.*.*", True),
        ("ipaddr iplike '10.1-2.1,2.*'", True),
        ("IPADDR IPLIKE 10.1.1,3.*", False),
        ("IPADDR IPLIKE 10.1.0.0/16", True),
        ("IPADDR IPLIKE fe80:*:*:*:*:*:*:*", False),
        ("ipaddr == 10.1.2.3", True),
        ("nodeId == 7 and location == \"Berlin\"", True),
        ("nodeLabel LIKE 'core-_.%'", True),
        ("nodeLabel LIKE 'core'", False),
        ("nodeLabel NOT LIKE 'edge%'", True),
        ("foreignSource IN ('prod', 'lab') && foreignId in (r1)", True),
        ("foreignSource NOT IN ('prod', 'lab')", False),
        ("not (location == 'Berlin' or location == 'Rome')", False),
        ("nodeid IS NULL", False),
        ("nodeid IS NOT NULL", True),
        ("catincA & catincB | catincCore", True),
    ],
)  # fmt: skip
def test_a_known_exporter(text: str, expected: bool) -> None:
    assert parse_filter(text).fits(_ROUTER) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nodelabel == 'x'", False),
        ("nodelabel != 'x'", False),
        ("nodelabel NOT LIKE 'x'", False),
        ("nodelabel IS NULL", True),
        ("!(nodelabel == 'x')", True),
        ("categoryName IS NULL", True),
        ("ipaddr IPLIKE 2001:db8:0-f:*:*:*:*:*", True),
    ],
)
def test_what_is_not_known_fits_no_comparison(text: str, expected: bool) -> None:
    assert parse_filter(text).fits(_exporter("2001:db8:a::1")) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an attribute is missing at the end"),
        ("location", "a comparison is missing at the end"),
        ("location ==", "a value is missing at the end"),
        ("location == | catincX", "a value is missing before '|'"),
        ("location == 'a' 'b'", "''b'' was not expected"),
        ("(location == a", "')' is missing at the end"),
        ("location IN (a b", "')' is missing before 'b'"),
        ("location == 'a", "a quote is not closed at ''a'"),
        ("location ~ a", "'~' is no comparison"),
        ("location NOT == a", "'not ==' is no comparison"),
        ("location IS a", "IS is followed by NULL or NOT NULL"),
        ("ipaddr IPLIKE 10.0.*", "'10.0.*' is no address, range, network or pattern"),
        ("catinc", "no attribute 'catinc'; there are ipaddr, "),
        ("(" * 100_000, "brackets are nested too deeply"),
    ],
)
def test_what_cannot_be_understood(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_filter(text)
    assert str(caught.value).startswith(message)
