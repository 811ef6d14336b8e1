"""Private and public addresses, at the edges of each network."""

import pyarrow as pa
import pytest

from columns.locality import is_private
from columns.ranges import halves
from common.addresses import pack_address


def _private(*addresses: str, networks: tuple[str, ...] | None = None) -> list[bool]:
    column = halves(pa.array([pack_address(address) for address in addresses], pa.binary(16)))
    found = is_private(column) if networks is None else is_private(column, networks)
    return [bool(each) for each in found]


@pytest.mark.parametrize(
    ("first", "last", "before", "after"),
    [
        ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
        ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
        ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
        ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
        ("169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
        ("127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
        ("::1", "::1", "::", "::2"),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::"),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::"),
    ],
)
def test_edges_of_a_network(first: str, last: str, before: str, after: str) -> None:
    assert _private(first, last, before, after) == [True, True, False, False]


def test_other_networks() -> None:
    assert _private("10.0.0.1", "8.8.8.8", "2001:db8::1", networks=("8.8.8.0/24", "2001:db8::/32")) == [False, True, True]


def test_no_network_leaves_all_public() -> None:
    assert _private("10.0.0.1", "::1", networks=()) == [False, False]
