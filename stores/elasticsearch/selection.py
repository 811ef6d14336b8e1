"""Fields that the raw documents of some exporters do without.

In: rules of a network and columns, and the columns of a chunk. Out: the same columns, null where a rule says so, which leaves the
field out of the document. Refuses to know documents. Addresses are looked at once per distinct exporter.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.addresses import format_address
from flowpb.schema import BY_NAME

NEEDED: Final = frozenset({"exported_ms", "delta_switched_ms", "last_switched_ms", "exporter_addr"})
"""What every document has."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Documents of exporters in `network` have none of `columns`."""

    network: str
    columns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """`NETWORK~column,column`; raises ValueError."""
        network, _, names = text.partition("~")
        columns = tuple(filter(None, names.split(",")))
        if not columns or not set(columns) <= set(BY_NAME) - NEEDED:
            raise ValueError(text)
        return cls(str(ipaddress.ip_network(network)), columns)

    def covers(self, packed: bytes | None) -> bool:
        """Whether an exporter's canonical address lies in the network."""
        return packed is not None and ipaddress.ip_address(format_address(packed)) in ipaddress.ip_network(self.network)


def without(arrays: dict[str, pa.Array], drops: Sequence[Drop]) -> dict[str, pa.Array]:
    """The columns after all rules; `arrays` has `exporter_addr`."""
    exporter, kept = arrays["exporter_addr"], dict(arrays)
    for drop in drops:
        covered = np.array([drop.covers(packed) for packed in exporter.dictionary.to_pylist()])
        mask = pa.array(covered[exporter.indices.to_numpy()])
        for name in drop.columns:
            if name in kept:
                kept[name] = _nulled(kept[name], mask)
    return kept


def _nulled(column: pa.Array, mask: pa.BooleanArray) -> Any:
    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(_nulled(column.indices, mask), column.dictionary)
    return pc.if_else(mask, pa.scalar(None, column.type), column)
