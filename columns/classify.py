"""Which application is a flow?

In: the columns protocol, src_port and dst_port of a batch. Out: the column `application`: the name of the first rule that fits,
null where none does. Refuses to know where rules come from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from columns.registries import services
from columns.rules.ports import NO_PORT, NO_PROTOCOL, PortEntry, PortTable, build_port_table
from flowpb.schema import TEXT

_NO_RULE: Final = -1


@dataclass(frozen=True, slots=True)
class Classifier:
    """Rules by rank, compiled: the table gives the rank, `name_of_rank` the place of its name in `names`.

    `name_of_rank` has one entry more than there are ranks, for no rule.
    """

    ports: PortTable
    name_of_rank: NDArray[np.int32]
    names: pa.StringArray

    def applications(self, flows: pa.RecordBatch) -> pa.DictionaryArray:
        """The column `application` of these flows; absent columns count as null. Its dictionary has only names in use."""
        ranks = self.ports.look_up(
            _column(flows, "protocol", NO_PROTOCOL),
            _column(flows, "src_port", NO_PORT),
            _column(flows, "dst_port", NO_PORT),
        )
        found = self.name_of_rank[np.minimum(ranks, len(self.name_of_rank) - 1)]
        return _as_text(found, self.names)


@cache
def default_classifier() -> Classifier:
    """IANA's services, each for both directions; of two that fit the ends of a flow the first in the registry wins."""
    names = [service.name for service in services()]
    distinct = {name: place for place, name in enumerate(dict.fromkeys(names))}
    name_of_rank = np.array([*(distinct[name] for name in names), _NO_RULE], np.int32)
    return Classifier(build_port_table(_default_entries()), name_of_rank, pa.array(list(distinct), pa.string()))


def _default_entries() -> Iterator[PortEntry]:
    for rank, service in enumerate(services()):
        protocols = frozenset({service.protocol})
        yield PortEntry(rank, protocols, "dst", service.port, service.port)
        yield PortEntry(rank, protocols, "src", service.port, service.port)


def _column(flows: pa.RecordBatch, name: str, null: int) -> NDArray[np.integer]:
    """A column as integers, with `null` for nulls and where it is absent."""
    if name not in flows.schema.names:
        return np.full(flows.num_rows, null, np.int32)
    column = flows.column(name)
    if column.null_count:
        column = pc.fill_null(column.cast(pa.int32()), null)
    values: NDArray[np.integer] = column.to_numpy(zero_copy_only=False)
    return values


def _as_text(found: NDArray[np.int32], names: pa.StringArray) -> pa.DictionaryArray:
    """Dictionary column of `names[found]`, null where `found` is negative."""
    used = np.zeros(len(names) + 1, np.bool_)
    used[found] = True
    places = np.cumsum(used[:-1], dtype=np.int32) - 1
    indices = pa.array(places[found], mask=found < 0)
    return pa.DictionaryArray.from_arrays(indices, names.take(pa.array(np.flatnonzero(used[:-1])))).cast(TEXT)
