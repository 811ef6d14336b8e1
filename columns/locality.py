"""Is an address private or public?

In: the distinct addresses of a column. Out: one truth per address. Refuses to know flows.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from columns.ranges import NOWHERE, Halves, RangeTable, build_range_table, network_range

PRIVATE_NETWORKS: Final = (
    "10.0.0.0/8",  # RFC 1918
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",  # RFC 6598, carrier-grade NAT
    "169.254.0.0/16",  # RFC 3927, link-local
    "127.0.0.0/8",  # RFC 1122, loopback
    "::1/128",  # RFC 4291, loopback
    "fe80::/10",  # RFC 4291, link-local
    "fc00::/7",  # RFC 4193, unique local
)


def is_private(addresses: Halves, networks: Sequence[str] = PRIVATE_NETWORKS) -> NDArray[np.bool_]:
    """Whether each address lies in one of the networks; raises ValueError for a network that is none or has host bits set."""
    inside: NDArray[np.bool_] = _table(tuple(networks)).look_up(addresses) != NOWHERE
    return inside


@lru_cache(maxsize=16)
def _table(networks: tuple[str, ...]) -> RangeTable:
    return build_range_table(network_range(network) for network in networks)
