"""Aggregate documents: bounds as they are defined, and versions that never go back."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from columns.documents import ids_of, to_json
from stores.elasticsearch.aggregates import aggregate_documents, bounds
from stores.elasticsearch.bulk import Bulk
from stores.elasticsearch.client import Client
from stores.elasticsearch.layout import AGGREGATES
from stores.elasticsearch.setup import install
from tests.servers.elasticsearch import ElasticsearchServer
from tests.stores.literals import MINUTE, T0, B, Doc, table_of
from tests.stores.stores import refuse, target_of, wipe
from tests.stores_elasticsearch.stored import aggregate_rows, hits

APPS = "EXPORTER_APPLICATION"
NODE = {"foreign_source": "lab", "foreign_id": "r1", "node_id": 42}


@pytest.mark.parametrize(
    ("floor", "other", "last", "ranked", "bound"),
    [
        (0, None, 50, 2, 0),  # all items are listed
        (0, 90, 50, 2, 50),  # K ranked: what was left out is no larger than the last
        (0, 20, 50, 2, 20),  # nor than Other
        (15, 90, 50, 2, 65),  # what was left out may have an error up to the floor
        (15, 90, 50, 1, 15),  # fewer than K ranked: only pruned items are missing
    ],
)
def test_bound_of_an_absent_item(floor: int, other: int | None, last: int, ranked: int, bound: int) -> None:
    items = [Doc(APPS, (last, 0, last), f"app{place}", slot=place, floor=floor) for place in range(ranked)]
    rest = [] if other is None else [Doc(APPS, (other, 0, other), slot=2, other=True, floor=floor)]
    elsewhere = [
        Doc(APPS, (7, 0, 7), "x", minute=1),
        Doc(APPS, (3, 0, 3), "x", exporter=B),
        Doc(APPS, (1, 0, 1), slot=1, other=True, exporter=B),
    ]
    found = bounds(table_of([elsewhere[0], *items, *rest, *elsewhere[1:]])).tolist()
    assert found == [0, *[bound] * (len(items) + len(rest)), 1, 1]


def test_documents_are_by_the_day_of_their_window_and_keep_their_order() -> None:
    day = 24 * 60
    table = table_of([Doc("EXPORTER", (1, 0, 1), minute=minute, rows=minute + 1) for minute in (0, day, 1)])
    found = aggregate_documents("x-", table, ["a", "b", "c"], to_json(table))
    assert [(each.index, len(each)) for each in found] == [("x-netflow_agg-2026-09-21", 2), ("x-netflow_agg-2026-09-22", 1)]
    assert bytes(found[1].content).split(b"\n")[0] == b'{"index":{"_id":"b","version":1441,"version_type":"external_gte"}}'


@pytest.fixture
def client(elasticsearch: ElasticsearchServer) -> Iterator[Client]:
    client = Client.open(replace(target_of(elasticsearch), prefix=elasticsearch.new_prefix(), source="aggregates"))
    list(install(client, {}))
    yield client
    wipe(client)


def write(client: Client, documents: list[Doc]) -> Bulk:
    table, bulk = table_of(documents), Bulk(client, refuse)
    for each in aggregate_documents(client.target.prefix, table, ids_of(table), to_json(table)):
        bulk.add(each)
    bulk.flush()
    bulk.close()
    return bulk


@pytest.mark.server("elasticsearch")
def test_an_older_mark_that_is_replayed_changes_nothing(client: Client) -> None:
    newer, older = ([Doc(APPS, (octets, 0, octets), "dns", rows=rows)] for octets, rows in ((50, 3), (20, 2)))
    write(client, newer)
    assert write(client, older).tallies.conflicts == 1
    assert write(client, newer).tallies.conflicts == 0
    assert [(row["bytes_total"], row["rows"]) for row in aggregate_rows(client)] == [(50, 3)]


@pytest.mark.server("elasticsearch")
def test_a_document_has_nephrons_fields_and_ours(client: Client) -> None:
    write(client, [Doc(APPS, (50, 7, 50), "dns", rows=3, extra={"dscp": 46, **NODE})])
    [found] = hits(client, AGGREGATES, [])
    source = client.ask("GET", f"/{found['_index']}/_doc/{found['_id']}")["_source"]
    nephron = {
        "@timestamp": T0 + MINUTE, "range_start": T0, "range_end": T0 + MINUTE, "grouped_by": APPS, "aggregation_type": "TOPK",
        "bytes_ingress": 50, "bytes_egress": 7, "bytes_total": 50, "dscp": 46, "application": "dns",
    }  # fmt: skip
    assert {name: source[name] for name in nephron} == nephron
    assert source["exporter"] == {"address": "192.0.2.1", **NODE}
    assert (source["slot"], source["bound"], source["packets_total"]) == (0, 0, 5)
