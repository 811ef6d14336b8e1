"""Who the exporter of an aggregate is, and by which rules and inventory it was named: the last touch to a table of documents.

In: documents of one (lane, window), as columns.emit makes them, and the enricher in force. Out: the same with the NAMED columns.
Numbers and identities never depend on names: what nobody knows stays null.
"""

from typing import Final

import pyarrow as pa

from columns.enrich import Enricher
from columns.inventory import inventory_columns
from common.addresses import pack_address
from flowpb.documents import AGGREGATE_SCHEMA
from flowpb.schema import ADDRESS

_NODE: Final = {"foreign_source": "exporter_foreign_source", "foreign_id": "exporter_foreign_id", "node_id": "exporter_node_id"}


def named(documents: pa.Table, enricher: Enricher) -> pa.Table:
    """The documents with node, rule version and inventory version; raises ConfigError as the enricher does."""
    if not documents.num_rows:
        return documents
    if version := enricher.rules_version():
        documents = _with(documents, "rules_version", pa.array([version] * documents.num_rows))
    inventory = enricher.snapshot()
    if inventory is None:
        return documents
    exporters = documents["exporter_addr"].combine_chunks()
    addresses = pa.array([pack_address(text) for text in exporters.dictionary.to_pylist()], pa.binary(16))
    flows = pa.record_batch(
        {
            "exporter_addr": pa.DictionaryArray.from_arrays(exporters.indices, addresses).cast(ADDRESS),
            "location": documents["location"].combine_chunks(),
        }
    )
    known = inventory_columns(flows, inventory.snapshot)
    for name, column in _NODE.items():
        if column in known:
            documents = _with(documents, name, known[column])
    return _with(documents, "inventory_version", known["inventory_version"])


def _with(documents: pa.Table, name: str, column: pa.Array) -> pa.Table:
    index = AGGREGATE_SCHEMA.get_field_index(name)
    return documents.set_column(index, AGGREGATE_SCHEMA.field(index), column.cast(AGGREGATE_SCHEMA.field(index).type))
