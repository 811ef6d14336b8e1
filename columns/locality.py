"""Is an address private or public, and a flow?

In: the address columns of a batch. Out: the columns src_locality, dst_locality and flow_locality. A flow is public if either end
is, whatever the other; null where that cannot be told. Each distinct address is looked at once.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columns.dictionaries import places
from columns.ranges import NOWHERE, Halves, RangeTable, build_range_table, halves, network_range

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

_PUBLIC: Final = 0
_PRIVATE: Final = 1
_UNKNOWN: Final = 2
_NAMES: Final = pa.array(["public", "private"], pa.string())

Localities = NDArray[np.int8]
"""_PUBLIC, _PRIVATE or _UNKNOWN of each flow."""
_OF_FLOW: Final = np.array([[_PUBLIC, _PUBLIC, _PUBLIC], [_PUBLIC, _PRIVATE, _UNKNOWN], [_PUBLIC, _UNKNOWN, _UNKNOWN]], np.int8)
"""By the localities of both ends."""


def locality_columns(flows: pa.RecordBatch, networks: Sequence[str] = PRIVATE_NETWORKS) -> dict[str, pa.DictionaryArray]:
    """The three columns; raises ValueError for a network that is none or has host bits set."""
    source, destination = (_localities(flows, name, networks) for name in ("src_addr", "dst_addr"))
    columns = {"src_locality": source, "dst_locality": destination, "flow_locality": _OF_FLOW[source, destination]}
    return {name: _column(localities) for name, localities in columns.items()}


def is_private(addresses: Halves, networks: Sequence[str] = PRIVATE_NETWORKS) -> NDArray[np.bool_]:
    """Whether each address lies in one of the networks; raises ValueError for a network that is none or has host bits set."""
    inside: NDArray[np.bool_] = _table(tuple(networks)).look_up(addresses) != NOWHERE
    return inside


def _localities(flows: pa.RecordBatch, name: str, networks: Sequence[str]) -> Localities:
    if name not in flows.schema.names:
        return np.full(flows.num_rows, _UNKNOWN, np.int8)
    column = flows.column(name)
    distinct = np.full(len(column.dictionary) + 1, _UNKNOWN, np.int8)
    distinct[:-1] = is_private(halves(column.dictionary), networks)
    of_flows: Localities = distinct[places(column)]
    return of_flows


def _column(localities: Localities) -> pa.DictionaryArray:
    unknown = localities == _UNKNOWN
    indices = pa.array(localities.astype(np.int32), mask=unknown if unknown.any() else None)
    return pa.DictionaryArray.from_arrays(indices, _NAMES)


@lru_cache(maxsize=16)
def _table(networks: tuple[str, ...]) -> RangeTable:
    return build_range_table(network_range(network) for network in networks)
