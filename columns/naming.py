"""Who the exporter of an aggregate is, and by which rules and inventory it was named: the last touch to a table of documents.

In: documents of one (lane, window), as columns.emit makes them, and the enricher in force. Out: the same with the NAMED columns.
Numbers and identities never depend on names: what nobody knows stays null.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from columns.enrich import Enricher
from columns.inventory import inventory_columns
from columns.snapshot import Snapshot
from common.addresses import pack_address
from flowpb.documents import AGGREGATE_SCHEMA, NODE
from flowpb.groupings import AUTONOMOUS_SYSTEM
from flowpb.schema import ADDRESS

_SYSTEMS: Final = f"_{AUTONOMOUS_SYSTEM.name}"


def named(documents: pa.Table, enricher: Enricher) -> pa.Table:
    """The documents with node, rule version and inventory version; raises ConfigError as the enricher does.

    A node that flows have brought stays: it is the one that raw flows have, too.
    """
    if not documents.num_rows:
        return documents
    if version := enricher.rules_version():
        documents = _with(documents, "rules_version", pa.array([version] * documents.num_rows))
    inventory = enricher.snapshot()
    if inventory is None:
        return documents
    documents = _with(documents, "item_name", _system_names(documents, inventory.snapshot))
    exporters = documents["exporter_addr"].combine_chunks()
    addresses = pa.array([pack_address(text) for text in exporters.dictionary.to_pylist()], pa.binary(16))
    flows = pa.record_batch(
        {
            "exporter_addr": pa.DictionaryArray.from_arrays(exporters.indices, addresses).cast(ADDRESS),
            "location": documents["location"].combine_chunks(),
        }
    )
    known = inventory_columns(flows, inventory.snapshot)
    brought = _or([documents[name].combine_chunks().is_valid() for name in NODE])
    for name in NODE:
        if (column := known.get(f"exporter_{name}")) is not None:
            documents = _with(documents, name, _chosen(brought, documents[name].combine_chunks(), column))
    return _with(documents, "inventory_version", known["inventory_version"])


def _or(masks: Sequence[pa.Array]) -> pa.Array:
    return reduce(pc.or_, masks)


def _chosen(first: pa.Array, brought: pa.Array, known: pa.Array) -> pa.Array:
    if not pc.any(first).as_py():
        return known
    return pc.if_else(first, *(c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in (brought, known)))


def _system_names(documents: pa.Table, snapshot: Snapshot) -> pa.Array:
    """Names of the autonomous systems that are items; null where there is none, or where the inventory does not know it."""
    kind = documents["grouped_by"].combine_chunks()
    is_system = np.array([*(name.endswith(_SYSTEMS) for name in kind.dictionary.to_pylist()), False])
    ranks_systems = is_system[kind.indices.fill_null(-1).to_numpy()]
    item = documents["item"].combine_chunks()
    texts = item.dictionary.to_pylist()
    numbers = np.array([int(text) if text.isascii() and text.isdigit() else -1 for text in texts], np.int64)
    rows = np.where(numbers >= 0, snapshot.systems_of(np.maximum(numbers, 0)), -1)
    names = snapshot.tables["systems"].field("name").cast(pa.string())
    of_text = names.take(pa.array(np.maximum(rows, 0), mask=rows < 0))
    known = ranks_systems & item.is_valid().to_numpy(zero_copy_only=False)
    return of_text.take(pa.array(np.where(known, item.indices.fill_null(0).to_numpy(), 0), mask=~known))


def _with(documents: pa.Table, name: str, column: pa.Array) -> pa.Table:
    index = AGGREGATE_SCHEMA.get_field_index(name)
    return documents.set_column(index, AGGREGATE_SCHEMA.field(index), column.cast(AGGREGATE_SCHEMA.field(index).type))
