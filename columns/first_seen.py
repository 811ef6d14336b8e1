"""Which end of a conversation began it?

In: flows of one batch. Out: the end that each flow's conversation was begun by, where the batch has both of its directions. Refuses
to remember: the same batch always gives the same answer.
"""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from columns.dictionaries import integers, places
from columns.rules.ports import NO_PORT, NO_PROTOCOL
from flowpb.schema import Client

UNKNOWN: Final = 0
_NEEDED: Final = frozenset(("exporter_addr", "src_addr", "dst_addr", "src_port", "dst_port", "protocol", "first_switched_ms"))
_NEVER: Final = np.iinfo(np.int64).max
_PORT_BITS: Final = 17


def first_seen(flows: pa.RecordBatch, asked: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Values of `flowpb.schema.Client` for the flows that are `asked` for, UNKNOWN for others and where it cannot be told.

    The directions of a conversation are told apart by addresses and ports, and compared within one exporter, by one clock. Where
    both began in the same millisecond, or an end has no address, nothing is said.
    """
    client = np.full(flows.num_rows, UNKNOWN, np.uint8)
    rows = np.flatnonzero(asked) if frozenset(flows.schema.names) >= _NEEDED else np.empty(0, np.int64)
    if not len(rows):
        return client
    source, destination = _ends(flows, rows)
    from_lower = source < destination
    conversation = _numbered(
        np.minimum(source, destination),
        np.maximum(source, destination),
        integers(flows, "protocol", NO_PROTOCOL)[rows].astype(np.int64),
        places(flows.column("exporter_addr"))[rows].astype(np.int64),
    )
    began = flows.column("first_switched_ms").fill_null(_NEVER).to_numpy(zero_copy_only=False)[rows]
    lower, upper = (_least(conversation[of], began[of], len(rows)) for of in (from_lower, source > destination))
    known = (lower != upper) & (lower != _NEVER) & (upper != _NEVER)
    began_by_source = (lower < upper)[conversation] == from_lower
    found = np.where(began_by_source, Client.SOURCE, Client.DESTINATION)
    is_told = known[conversation] & (source != destination) & (source >= 0) & (destination >= 0)
    client[rows] = np.where(is_told, found, UNKNOWN)
    return client


def _ends(flows: pa.RecordBatch, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A number per address and port, the same on both sides; below 0 without an address."""
    columns = [flows.column(name) for name in ("src_addr", "dst_addr")]
    codes = pa.concat_arrays([column.dictionary for column in columns]).dictionary_encode().indices.fill_null(-1)
    of_source, of_destination = np.split(codes.to_numpy(zero_copy_only=False), [len(columns[0].dictionary)])
    ports = [integers(flows, name, NO_PORT)[rows].astype(np.int64) for name in ("src_port", "dst_port")]
    addresses = [
        np.append(of_end, -1)[places(column)[rows]].astype(np.int64)
        for of_end, column in zip((of_source, of_destination), columns, strict=True)
    ]
    source, destination = (address << _PORT_BITS | port for address, port in zip(addresses, ports, strict=True))
    return source, destination


def _numbered(*parts: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number per distinct combination, below the number of rows."""
    number = np.zeros(len(parts[0]), np.int64)
    for part in parts:
        codes = pa.array(part).dictionary_encode()
        joined = number * len(codes.dictionary) + codes.indices.to_numpy(zero_copy_only=False)
        number = pa.array(joined).dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return number


def _least(group: NDArray[np.int64], value: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    least = np.full(groups, _NEVER, np.int64)
    np.minimum.at(least, group, value)
    return least
