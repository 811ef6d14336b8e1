"""What an Elasticsearch has, read field by field without the store's own reader."""

from typing import Any, Final

from flowpb.documents import AGGREGATE
from stores.elasticsearch.client import Client
from stores.elasticsearch.layout import AGGREGATES, RAW, pattern

PAGE: Final = 10_000


def aggregate_rows(client: Client) -> list[dict[str, Any]]:
    """All aggregate documents as rows of AGGREGATE, from their columns."""
    fields = [{"field": f.json, **({"format": "epoch_millis"} if f.es_type == "date" else {})} for f in AGGREGATE]
    return [row_of_fields(hit["fields"]) for hit in hits(client, AGGREGATES, fields)]


def hits(client: Client, kind: str, fields: list[dict[str, str]]) -> list[Any]:
    """All documents of a kind, after a refresh."""
    path = f"/{pattern(client.target.prefix, kind)}"
    client.ask("POST", f"{path}/_refresh?allow_no_indices=true")
    body: dict[str, Any] = {"size": PAGE, "docvalue_fields": fields, "_source": False}
    opened = client.ask("POST", f"{path}/_pit?keep_alive=1m&allow_no_indices=true")["id"]
    body |= {"pit": {"id": opened}, "sort": ["_shard_doc"]}
    found: list[Any] = []
    while page := client.ask("POST", "/_search", body)["hits"]["hits"]:
        found += page
        body["search_after"] = page[-1]["sort"]
    client.ask("DELETE", "/_pit", {"id": opened})
    return found


def raw_count(client: Client) -> int:
    """How many raw documents there are."""
    return count_of(client, RAW)


def count_of(client: Client, kind: str) -> int:
    """How many documents of a kind there are, after a refresh."""
    path = f"/{pattern(client.target.prefix, kind)}"
    client.ask("POST", f"{path}/_refresh?allow_no_indices=true")
    count: int = client.ask("POST", f"{path}/_count?allow_no_indices=true")["count"]
    return count


def row_of_fields(fields: dict[str, list[Any]]) -> dict[str, Any]:
    """Values of document fields as a row of AGGREGATE."""
    row: dict[str, Any] = {}
    for field in AGGREGATE:
        value = fields.get(field.json, [None])[0]
        numeric = field.es_type in ("date", "long", "short", "byte") or field.name == "group_id"
        row[field.name] = int(value) if numeric and value is not None else value
    return row
