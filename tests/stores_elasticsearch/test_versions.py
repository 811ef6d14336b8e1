"""The newest Elasticsearch: the same templates, documents, answers and repairs as on the one that all other tests use."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bus.memory import MemoryLog
from ingest.loadgen.batches import BusEntry
from stores.elasticsearch.client import Client
from stores.elasticsearch.repairs import read_queue
from stores.elasticsearch.setup import install
from stores.questions import Filters, Items, Span, TopQuery, TotalsQuery
from tests.pipelines.line import newest
from tests.pipelines.test_repair import repaired_documents
from tests.servers.elasticsearch import ElasticsearchServer
from tests.servers.registry import ServerUnavailableError
from tests.stores.literals import MINUTE, T0, batch_of, flow
from tests.stores.stores import elasticsearch_opener, target_of, wipe
from tests.stores_elasticsearch.stored import aggregate_rows
from tests.stores_elasticsearch.test_repair import Written, entries, fill, log, repaired, written

__all__ = ["entries", "log", "written"]
pytestmark = [pytest.mark.server("elasticsearch"), pytest.mark.campaign]


@pytest.fixture(scope="module")
def newest_server() -> Iterator[ElasticsearchServer]:
    try:
        server = ElasticsearchServer(version="9.5.3")
        server.start()
    except ServerUnavailableError as error:
        pytest.skip(str(error))
    yield server
    server.wipe()


def test_raw_flows_are_written_and_answered(newest_server: ElasticsearchServer) -> None:
    flows = [flow(0, 60, application="dns", src_addr="10.0.0.1", dst_addr="2001:db8::1"), flow(30, 90, bytes=50, application="ntp")]
    with elasticsearch_opener(newest_server)(batches=[batch_of(flows)]) as store:
        span = Span(T0, T0 + 2 * MINUTE)
        assert store.totals(TotalsQuery(span, Filters(), "raw")).measures.bytes_total == 150
        top = store.top(TopQuery(Items.APPLICATIONS, span, Filters(), "raw", 2))
        assert [(item.key, item.measures.bytes_total) for item in top.items] == [(("dns",), 100), (("ntp",), 50)]


def test_aggregates_are_repaired(
    newest_server: ElasticsearchServer, log: MemoryLog, entries: list[BusEntry], written: Written
) -> None:
    client = Client.open(replace(target_of(newest_server), prefix=newest_server.new_prefix()))
    told = list(install(client, {}))
    assert "version 9.5.3" in told[0]
    fill(client, written, log)
    repaired(client, log)
    assert newest(aggregate_rows(client)) == repaired_documents(entries)
    assert read_queue(client).entries == []
    wipe(client)
