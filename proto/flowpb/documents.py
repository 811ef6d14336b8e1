"""The shapes of the documents: AGGREGATE, one row per (window, group, slot), and their JSON names.

In: nothing. Out: the Arrow schema of aggregate tables and the name, meaning and Elasticsearch mapping of each field. Refuses
to know how they are computed or stored. Names are Nephron's where it has the field (docs/explanation/numbers.md says what each
number means).
"""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

LEVEL_MINUTE: Final = "1m"
LEVEL_HOUR: Final = "1h"
LEVEL_DAY: Final = "1d"


@dataclass(frozen=True, slots=True)
class Field:
    """One column of AGGREGATE; `json` is its path in a document, `es_type` its Elasticsearch mapping."""

    name: str
    type: pa.DataType
    json: str
    es_type: str
    help: str


_TEXT = pa.dictionary(pa.int32(), pa.string())

AGGREGATE: Final[tuple[Field, ...]] = (
    Field("window_start_ms", pa.int64(), "range_start", "date", "start of the window"),
    Field("window_end_ms", pa.int64(), "range_end", "date", "end of the window, exclusive; also @timestamp"),
    Field("grouped_by", _TEXT, "grouped_by", "keyword", "the grouping's name (flowpb.groupings)"),
    Field("aggregation_type", _TEXT, "aggregation_type", "keyword", "TOTAL, TOPK or OTHER"),
    Field("slot", pa.int16(), "slot", "short", "rank inside the group from 0; Other has slot K; a total has slot 0"),
    Field("location", _TEXT, "location", "keyword", "location of the exporter; null at system scope"),
    Field("exporter_addr", _TEXT, "exporter.address", "ip", "address of the exporter, as text; null above exporter scope"),
    Field("if_index", pa.int64(), "if_index", "long", "ifIndex, 0 where none was exported; null above interface scope"),
    Field("dscp", pa.int16(), "dscp", "short", "DSCP, null where the grouping has none"),
    Field("application", _TEXT, "application", "keyword", "item of APPLICATION groupings; null: no rule matched, or Other"),
    Field("host_address", _TEXT, "host_address", "keyword", "item of HOST groupings; null: no address exported, or Other"),
    Field("conversation_key", _TEXT, "conversation_key", "keyword", "item of CONVERSATION groupings; null: Other"),
    Field(
        "item",
        _TEXT,
        "item",
        "keyword",
        "item of other groupings (AS, COUNTRY, PROTOCOL, own ones) as text; null: not known, or Other",
    ),
    Field("bytes_ingress", pa.int64(), "bytes_ingress", "long", "scaled octets, in-side"),
    Field("bytes_egress", pa.int64(), "bytes_egress", "long", "scaled octets, out-side"),
    Field("bytes_total", pa.int64(), "bytes_total", "long", "the ranked value"),
    Field("packets_ingress", pa.int64(), "packets_ingress", "long", "scaled packets, in-side"),
    Field("packets_egress", pa.int64(), "packets_egress", "long", "scaled packets, out-side"),
    Field("packets_total", pa.int64(), "packets_total", "long", "as bytes_total"),
    Field("flows_ingress", pa.int64(), "flows_ingress", "long", "flows that end in this window, in-side"),
    Field("flows_egress", pa.int64(), "flows_egress", "long", "flows that end in this window, out-side"),
    Field("flows_total", pa.int64(), "flows_total", "long", "as bytes_total"),
    Field("bytes_unscaled", pa.int64(), "bytes_unscaled", "long", "octets as exported, both sides that count"),
    Field("packets_unscaled", pa.int64(), "packets_unscaled", "long", "sampled packets, both sides that count"),
    Field("congestion_encountered", pa.bool_(), "congestion_encountered", "boolean", "some flow had ECN 3"),
    Field("non_ect", pa.bool_(), "non_ect", "boolean", "some flow had ECN 0 or none"),
    Field("error", pa.int64(), "error", "long", "the true bytes_total lies in [bytes_total, bytes_total + error]"),
    Field("floor", pa.int64(), "floor", "long", "an item that is absent here is at most max(floor, first one left out)"),
    Field("rows", pa.int64(), "rows", "long", "shares merged into the group: the version of its documents"),
    Field("mark", pa.int8(), "mark", "byte", "which mark wrote the document: 1, 2 or 3; 4 is a repair"),
    Field("final", pa.bool_(), "final", "boolean", "written by the last mark"),
    Field("lane", pa.int16(), "lane", "short", "lane of the exporter; null above exporter scope"),
    Field("foreign_source", _TEXT, "exporter.foreign_source", "keyword", "the exporter's node; null: not in the inventory"),
    Field("foreign_id", _TEXT, "exporter.foreign_id", "keyword", "as foreign_source"),
    Field("node_id", pa.int64(), "exporter.node_id", "long", "as foreign_source"),
    Field("item_name", _TEXT, "item_name", "keyword", "name of the item, of AS groupings that of the AS; null: none, or not known"),
    Field("rules_version", _TEXT, "rules_version", "keyword", "rules in force when it was written; null: the pre-defined ones"),
    Field("inventory_version", _TEXT, "inventory_version", "keyword", "inventory in force when it was written; null: none"),
    Field("group_id", pa.uint64(), "group_id", "keyword", "hash of the group without the window (columns/documents.py)"),
)

AGGREGATE_SCHEMA: Final = pa.schema([pa.field(f.name, f.type) for f in AGGREGATE])
NODE: Final = ("foreign_source", "foreign_id", "node_id")
NAMED: Final = (*NODE, "item_name", "rules_version", "inventory_version")
"""Columns that the inventory and the rules in force fill when a document is written (columns/naming.py)."""
NOT_COMPARED: Final = ("mark", "final", *NAMED)
"""Columns that say when a document was written, and by which names; only they depend on how batches were bundled."""
