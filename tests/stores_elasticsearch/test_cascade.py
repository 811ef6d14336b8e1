"""Hours and days in Elasticsearch: made of the partials that a job has written, once, and again where one has changed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest

from columns.lane import combine
from columns.partials import partial_of
from flowpb.documents import AGGREGATE
from flowpb.partials import partial_row
from ingest.loadgen.batches import BusEntry
from pipelines.elasticsearch_sinks import spelled
from pipelines.rollup import Rules, due_of, roll_up
from stores.elasticsearch.bulk import Bulk
from stores.elasticsearch.cascade import SLACK_MS, ElasticsearchCascade
from stores.elasticsearch.client import Client
from stores.elasticsearch.layout import KIND_OF
from stores.elasticsearch.partials import partial_documents
from stores.elasticsearch.setup import install
from stores.elasticsearch.target import Target
from stores.parquet.cascade import ParquetCascade
from stores.parquet.manifest import Manifest
from tests.pipelines.line import ENRICHER, EXACT, driver_of, fill, newest
from tests.pipelines.longer import every_item, longer_documents
from tests.pipelines.test_rollup import DAY, DAY0, HOUR, MINUTE, hours_of, played
from tests.servers.elasticsearch import ElasticsearchServer
from tests.stores.stores import refuse, wipe
from tests.stores_elasticsearch.stored import hits, row_of_fields

pytestmark = pytest.mark.server("elasticsearch")
RULES: Final = Rules(EXACT, ENRICHER)


@pytest.fixture(scope="module")
def entries() -> list[BusEntry]:
    starts = (DAY0 + HOUR - 30_000, DAY0 + DAY + HOUR + 30 * MINUTE)
    return [entry for seed, start in enumerate(starts) for entry in played(start, seed, rate=4)]


@pytest.fixture(scope="module")
def partials(entries: list[BusEntry], tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """What a job writes at the last marks."""
    folder = Path(tmp_path_factory.mktemp("partials"))
    with Manifest.open(folder, writer=True) as manifest:
        driver_of(fill(entries), manifest).drain()
        cascade = ParquetCascade(manifest)
        rows = []
        for one in cascade.kept("1m"):
            [state] = cascade.states("1m", one.window_start_ms, one.window_start_ms + 1, one.lane)
            rows.append(partial_of(state, one.lane, one.window_start_ms, EXACT))
    return pa.concat_tables(rows)


@pytest.fixture
def cascade(elasticsearch: ElasticsearchServer, partials: pa.Table) -> Iterator[ElasticsearchCascade]:
    target = Target.parse(f"elasticsearch://127.0.0.1:{elasticsearch.port}?prefix={elasticsearch.new_prefix()}&replicas=false")
    client = Client.open(target)
    list(install(client, {}))
    write(client, partials)
    with ElasticsearchCascade(Client.open(target), spelled) as opened:
        yield opened
    wipe(client)


def write(client: Client, partials: pa.Table) -> None:
    bulk = Bulk(client, refuse)
    for documents in partial_documents(client.target.prefix, partials):
        bulk.add(documents)
    bulk.flush()
    bulk.close()
    client.ask("POST", f"/{client.target.prefix}nephrite_partials-*/_refresh")


def documents_of(client: Client, level: str) -> list[dict[str, Any]]:
    fields = [{"field": f.json, **({"format": "epoch_millis"} if f.es_type == "date" else {})} for f in AGGREGATE]
    return newest(row_of_fields(hit["fields"]) for hit in hits(client, KIND_OF[level], fields))


def test_hours_and_days_are_the_oracles_minutes_added_up(cascade: ElasticsearchCascade, entries: list[BusEntry]) -> None:
    client = cascade.client
    last = max(one.window_start_ms for one in cascade.kept("1m"))
    assert cascade.final_through() == last + MINUTE - SLACK_MS
    assert hours_of(list(roll_up(cascade, RULES))) == [("1h", 0), ("1h", 1), ("1d", 0)]
    minutes = every_item((entry.value for entry in entries), DAY0, DAY0 + DAY)
    assert documents_of(client, "1h") == longer_documents(minutes, HOUR)
    assert documents_of(client, "1d") == longer_documents(minutes, DAY)
    assert list(roll_up(cascade, RULES)) == []


def test_a_changed_minute_makes_its_hour_and_day_again_and_no_slot_is_left(cascade: ElasticsearchCascade) -> None:
    client = cascade.client
    list(roll_up(cascade, RULES))
    one = cascade.kept("1m")[0]
    [state] = cascade.states("1m", one.window_start_ms, one.window_start_ms + 1, one.lane)
    write(client, partial_row(one.lane, one.window_start_ms, one.rows + 1, combine([state, state], EXACT), made_of="repaired"))
    stale = {"index": {"_id": "stale", "version": 1, "version_type": "external"}}
    place = f"{client.target.prefix}nephrite_1h-2023.11"
    client.ask("PUT", f"/{place}/_doc/{stale['index']['_id']}", {"range_start": DAY0})
    assert hours_of(list(roll_up(cascade, RULES))) == [("1h", 0), ("1d", 0)]
    assert "stale" not in {hit["_id"] for hit in hits(client, KIND_OF["1h"], [])}
    assert list(due_of("1h", cascade.kept("1m"), cascade.kept("1h"), DAY0 + DAY)) == []


def test_indices_of_partials_go_when_all_their_windows_are_old(cascade: ElasticsearchCascade) -> None:
    kept = len(cascade.kept("1m"))
    first_day = sum(one.window_start_ms < DAY0 + DAY for one in cascade.kept("1m"))
    assert cascade.forget("1m", DAY0 + DAY - 1) == 0
    assert cascade.forget("1m", DAY0 + DAY) == first_day
    assert len(cascade.kept("1m")) == kept - first_day
