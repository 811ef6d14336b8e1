"""Index templates, generated from FLOW, AGGREGATE and LEDGER, so that a column declared once is mapped everywhere.

In: a target. Out: composable templates as JSON objects. Refuses to send them (stores/elasticsearch/setup.py does). Only what the
basic licence has; no field is guessed (`dynamic` false), and what nobody filters on has no index: a query on such a field reads its
column, which daily indices keep short.
"""

from collections.abc import Mapping
from typing import Any, Final

from flowpb.documents import AGGREGATE
from flowpb.ledger import LEDGER as LEDGER_FIELDS
from stores.elasticsearch.fields import raw_fields
from stores.elasticsearch.layout import AGGREGATES, DAYS, DEAD_LETTERS, HOURS, LEDGER, PARTIALS, RAW, REPAIRS, pattern
from stores.elasticsearch.target import Target

PRIORITY: Final = 260
"""Above OpenNMS's own templates for the same names (250): of equal priorities the server refuses the second."""
_INDEXED_RAW: Final[Mapping[str, frozenset[str]]] = {
    "compact": frozenset({"netflow.last_switched"}),
    "opennms": frozenset({"@timestamp", "netflow.delta_switched", "netflow.last_switched", "host", "node_exporter.node_id"}),
}
_INDEXED_AGGREGATE: Final = frozenset(
    {"range_start", "range_end", "grouped_by", "aggregation_type", "exporter.address", "if_index", "application", "host_address"}
)
_DATE: Final = {"type": "date", "format": "epoch_millis||strict_date_optional_time"}


def templates(target: Target) -> dict[str, dict[str, Any]]:
    """Index templates by name."""
    kinds = {
        RAW: ("all raw flows", _raw_mapping(target), target.keeps_source(raw=True)),
        AGGREGATES: ("minute aggregates", _aggregate_mapping(), target.keeps_source(raw=False)),
        LEDGER: ("the ledger: what came and what was lost per minute", _ledger_mapping(), target.keeps_source(raw=False)),
        REPAIRS: ("windows that wait for a repair", _repair_mapping(), True),
        HOURS: ("hours", _aggregate_mapping(), target.keeps_source(raw=False)),
        DAYS: ("days", _aggregate_mapping(), target.keeps_source(raw=False)),
        PARTIALS: ("what longer windows are made of", _partial_mapping(), True),
        DEAD_LETTERS: ("documents that were refused", _dead_letter_mapping(), True),
    }
    return {
        f"{target.prefix}{kind}": {
            "index_patterns": [pattern(target.prefix, kind)],
            "priority": PRIORITY,
            "template": {
                "settings": _settings(target),
                "mappings": {"dynamic": False, "_source": {"enabled": source}, "properties": _nested(mapping)},
            },
            "_meta": {"description": f"Nephrite: {what}", "managed_by": "nephrite setup"},
        }
        for kind, (what, mapping, source) in kinds.items()
    }


def with_lifecycle(template: dict[str, Any], policy: str) -> dict[str, Any]:
    """The same template with a lifecycle policy for its indices."""
    inner = template["template"]
    settings = {"index": {**inner["settings"]["index"], "lifecycle": {"name": policy}}}
    return {**template, "template": {**inner, "settings": settings}}


def _settings(target: Target) -> dict[str, Any]:
    return {
        "index": {
            "codec": "best_compression",
            "number_of_shards": target.shards,
            "auto_expand_replicas": target.replicas,
            "refresh_interval": f"{target.refresh_s}s",
        }
    }


def _raw_mapping(target: Target) -> dict[str, dict[str, Any]]:
    indexed = _INDEXED_RAW[target.profile]
    return {field.path: _mapping(field.es_type, field.path in indexed) for field in raw_fields(target.profile, target.fields)}


def _aggregate_mapping() -> dict[str, dict[str, Any]]:
    fields = {field.json: _mapping(field.es_type, field.json in _INDEXED_AGGREGATE) for field in AGGREGATE}
    return {"@timestamp": _mapping("date", indexed=True), **fields, "bound": _mapping("long", indexed=False)}


def _ledger_mapping() -> dict[str, dict[str, Any]]:
    fields = {field.json: _mapping(field.es_type, field.merge == "key") for field in LEDGER_FIELDS}
    return {"@timestamp": _mapping("date", indexed=True), **fields}


def _partial_mapping() -> dict[str, dict[str, Any]]:
    return {
        **{name: {"type": "date", "format": "epoch_millis"} for name in ("range_start", "range_end")},
        "lane": {"type": "short"},
        "rows": {"type": "long"},
        "made_of": {"type": "keyword", "index": False},
        "state": {"type": "binary"},
    }


def _dead_letter_mapping() -> dict[str, dict[str, Any]]:
    keywords = {name: {"type": "keyword"} for name in ("reason", "index", "id")}
    text = {name: {"type": "keyword", "index": False, "doc_values": False} for name in ("message", "document")}
    return {"@timestamp": _DATE, **keywords, **text}


def _repair_mapping() -> dict[str, dict[str, Any]]:
    return {"@timestamp": _DATE, "lane": {"type": "short"}, "problem": {"type": "keyword"}}


def _mapping(es_type: str, indexed: bool) -> dict[str, Any]:
    if es_type == "flattened":
        return {"type": es_type}
    kind = _DATE if es_type == "date" else {"type": es_type}
    return dict(kind) if indexed else {**kind, "index": False}


def _nested(mapping: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Dotted paths as objects with properties."""
    tree: dict[str, Any] = {}
    for path, field in mapping.items():
        *heads, last = path.split(".")
        below = tree
        for head in heads:
            below = below.setdefault(head, {"properties": {}})["properties"]
        below[last] = field
    return tree
