"""The compiled range table equals painting one range after the other."""

import ipaddress

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columns.ranges import NOWHERE, AddressRange, build_range_table, halves, network_range

_IPV4 = 0xFFFF << 32
_EDGES = (0, _IPV4, _IPV4 + (1 << 32), 1 << 64, 1 << 127)
_ADDRESS = st.one_of(
    st.builds(lambda edge, step: min(max(edge + step, 0), (1 << 128) - 1), st.sampled_from(_EDGES), st.integers(-12, 12)),
    st.integers(0, (1 << 128) - 1),
    st.just((1 << 128) - 1),
)
_BOUNDS = st.lists(st.tuples(_ADDRESS, _ADDRESS), max_size=12)


def _column(addresses: list[int]) -> pa.FixedSizeBinaryArray:
    return pa.array([address.to_bytes(16, "big") for address in addresses], pa.binary(16))


@given(_BOUNDS, st.lists(_ADDRESS, max_size=40))
def test_equals_painting(bounds: list[tuple[int, int]], addresses: list[int]) -> None:
    ranges = [AddressRange(min(pair), max(pair), value) for value, pair in enumerate(bounds)]
    addresses += [edge for each in ranges for edge in (each.first, each.last)]
    found = build_range_table(ranges).look_up(halves(_column(addresses)))
    painted = [max((r.value for r in ranges if r.first <= address <= r.last), default=NOWHERE) for address in addresses]
    assert found.tolist() == painted


def test_halves_of_a_slice() -> None:
    column = _column([1, 2 << 64 | 3, 4])[1:]
    assert halves(column).high.tolist() == [2, 0]
    assert halves(column).low.tolist() == [3, 4]


def test_a_network_has_no_host_bits() -> None:
    assert network_range("10.0.0.0/31") == AddressRange(_IPV4 + (10 << 24), _IPV4 + (10 << 24) + 1, 0)
    assert network_range("fc00::/7").last == int(ipaddress.ip_address("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
    with pytest.raises(ValueError, match="has host bits set"):
        network_range("10.0.0.1/8")
