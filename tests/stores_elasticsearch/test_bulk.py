"""Bulk requests against answers that a server seldom gives, and against a real one that refuses, conflicts and dies."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest

from common.errors import StoreError
from stores.elasticsearch.bulk import Bulk, Clock, DeadLetter
from stores.elasticsearch.client import Answer, Client
from stores.elasticsearch.dead_letters import burial
from stores.elasticsearch.documents import Documents
from stores.elasticsearch.layout import DEAD_LETTERS, RAW
from stores.elasticsearch.setup import install
from stores.elasticsearch.target import Target
from tests.servers.elasticsearch import ElasticsearchServer
from tests.servers.ports import free_block
from tests.stores.stores import target_of, wipe
from tests.stores_elasticsearch.scripted import FINE, Scripted, errors, scripted
from tests.stores_elasticsearch.stored import hits, raw_count


class Time:
    """A clock that goes on by being waited for."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wait(self, seconds: float) -> None:
        self.seconds += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, self.wait, lambda: 1.0)


class Sent:
    """A stream to a scripted server, and what became of it."""

    def __init__(self, port: int, **options: int) -> None:
        self.time = Time()
        self.buried: list[DeadLetter] = []
        target = replace(Target((f"127.0.0.1:{port}",), in_flight=1), **options)  # type: ignore[arg-type]
        self.bulk = Bulk(Client.open(target), self.buried.extend, self.time.clock())

    def send(self, count: int, size: int = 10) -> None:
        try:
            self.bulk.add(lines(count, size))
            self.bulk.flush()
        finally:
            self.bulk.close()

    def numbers(self) -> tuple[int, int, int, int]:
        tallies = self.bulk.tallies
        return tallies.documents, tallies.conflicts, tallies.dead_letters, tallies.repeats


def lines(count: int, size: int = 10) -> Documents:
    """Documents numbered from 0, the text of each `size` long."""
    text = "x" * size
    return Documents("netflow-2026-01-01", pa.array([f'{{"create":{{"_id":"{i}"}}}}\n{{"a":"{text}"}}\n' for i in range(count)]))


def ids(script: Scripted) -> list[list[str]]:
    """Ids in each request."""
    return [[line.split(b'"')[5].decode() for line in body.splitlines()[::2]] for body in script.bodies]


def test_everything_taken_is_one_request() -> None:
    with scripted(FINE) as script:
        sent = Sent(script.port)
        sent.send(3)
    assert (sent.numbers(), ids(script)) == ((3, 0, 0, 0), [["0", "1", "2"]])


def test_a_conflict_is_success() -> None:
    with scripted(errors("version_conflict_engine_exception")) as script:
        sent = Sent(script.port)
        sent.send(3)
    assert sent.numbers() == (3, 1, 0, 0)


def test_a_refused_document_becomes_a_dead_letter_and_its_neighbours_are_taken() -> None:
    asked_again = errors(None, "document_parsing_exception", "version_conflict_engine_exception")
    with scripted(errors("document_parsing_exception"), asked_again) as script:
        sent = Sent(script.port)
        sent.send(3)
    [letter] = sent.buried
    assert (letter.reason, letter.message, letter.index) == ("document_parsing_exception", "because", "netflow-2026-01-01")
    assert letter.lines == b'{"create":{"_id":"1"}}\n{"a":"xxxxxxxxxx"}\n'
    assert sent.numbers() == (2, 1, 1, 0)
    assert ids(script) == [["0", "1", "2"]] * 2


@pytest.mark.parametrize(("kind", "status"), [("es_rejected_execution_exception", 429), ("cluster_block_exception", 403)])
def test_documents_refused_for_now_are_sent_again_alone(kind: str, status: int) -> None:
    some = errors(None, kind, None, status=status)
    with scripted(some, some, FINE) as script:
        sent = Sent(script.port)
        sent.send(3)
    assert ids(script) == [["0", "1", "2"], ["0", "1", "2"], ["1"]]
    assert sent.numbers() == (3, 0, 0, 1)
    assert sent.time.seconds == pytest.approx(0.1)


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_busy_server_is_asked_again_after_growing_pauses(status: int) -> None:
    busy = (status, {"error": {"type": "busy", "reason": "later"}})
    with scripted(busy, busy, busy, FINE) as script:
        sent = Sent(script.port)
        sent.send(2)
    assert sent.numbers() == (2, 0, 0, 6)
    assert sent.time.seconds == pytest.approx(0.1 + 0.2 + 0.4)


def test_patience_ends_with_the_servers_reason() -> None:
    with scripted((503, {"error": {"type": "unavailable", "reason": "no master"}})) as script:
        sent = Sent(script.port, retry_s=30)
        with pytest.raises(StoreError, match="2 documents not taken within 30 s: status 503: unavailable: no master"):
            sent.send(2)
    assert 10 < sent.time.seconds <= 30


def test_nobody_there_is_a_store_error_after_the_stated_time() -> None:
    sent = Sent(free_block(1), retry_s=5)
    with pytest.raises(StoreError, match=r"1 documents not taken within 5 s: http://127\.0\.0\.1:\d+: no answer"):
        sent.send(1)


def test_requests_that_are_too_large_are_cut() -> None:
    with scripted((413, "too large"), (413, "too large"), FINE) as script:
        sent = Sent(script.port)
        sent.send(40, 100_000)
        sizes = [len(body) for body in script.bodies]
    assert sizes[0] > 3_900_000
    assert sorted(sizes[2:]) == pytest.approx([1_000_000, 1_000_000, 2_000_000], rel=0.01)
    assert sent.bulk.tallies.documents == 40


def test_quick_answers_make_requests_larger() -> None:
    with scripted(FINE) as script:
        Sent(script.port).send(200, size=64 << 10)
    counts = [len(each) for each in ids(script)]
    assert (counts, sum(counts)) == ([63, 63, 71, 3], 200)  # 4 MiB; an eighth more behind each, cut while the one before is away


def test_so_many_requests_are_on_their_way_at_once_and_no_more() -> None:
    """The server answers nobody before three have come: with fewer at a time the barrier breaks."""
    together, lock, here, most = threading.Barrier(3), threading.Lock(), [0], [0]

    class Slow(Client):
        def send(self, *_: object, **__: object) -> Answer:
            with lock:
                here[0] += 1
                most[0] = max(most[0], here[0])
            together.wait(timeout=30)
            with lock:
                here[0] -= 1
            return Answer(200, {"errors": False})

    bulk = Bulk(Slow.open(Target(("127.0.0.1:1",), in_flight=3)), lambda _: None)
    for _ in range(6):
        bulk.add(lines(1))
    bulk.flush()
    bulk.close()
    assert (bulk.tallies.documents, most[0]) == (6, 3)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_what_no_repetition_mends_fails_at_once(status: int) -> None:
    with scripted((status, {"error": {"type": "security_exception", "reason": "no"}})) as script:
        sent = Sent(script.port)
        with pytest.raises(StoreError, match=f"status {status}: security_exception: no"):
            sent.send(1)
    assert len(script.bodies) == 1


def test_a_document_that_the_user_may_not_write_is_no_dead_letter() -> None:
    with scripted(errors("security_exception", status=403)) as script:
        sent = Sent(script.port)
        with pytest.raises(StoreError, match="not allowed: security_exception"):
            sent.send(1)
    assert sent.buried == []


def test_after_a_failure_a_new_stream_begins() -> None:
    with scripted((400, {}), FINE) as script:
        sent = Sent(script.port)
        sent.bulk.add(lines(1))
        with pytest.raises(StoreError):
            sent.bulk.flush()
        sent.bulk.abandon()
        sent.send(1)
    assert sent.bulk.tallies.documents == 1


@pytest.fixture
def client(elasticsearch: ElasticsearchServer) -> Iterator[Client]:
    client = Client.open(replace(target_of(elasticsearch), prefix=elasticsearch.new_prefix()))
    list(install(client, {}))
    yield client
    wipe(client)


def stored(client: Client, values: list[str], create: str = "create") -> Documents:
    text = [f'{{"{create}":{{"_id":"{i}"}}}}\n{{"@timestamp":{value}}}\n' for i, value in enumerate(values)]
    return Documents(f"{client.target.prefix}{RAW}-2026-01-01", pa.array(text))


@pytest.mark.server("elasticsearch")
def test_a_real_server_refuses_one_takes_the_rest_and_knows_them_again(client: Client) -> None:
    bulk = Bulk(client, burial(client, lambda: 1_790_000_040.0))
    for _ in range(2):
        bulk.add(stored(client, ["1790000040000", '"no date"', "1790000040001"]))
        bulk.flush()
    bulk.close()
    assert (bulk.tallies.documents, bulk.tallies.dead_letters) == (4, 2)
    assert bulk.tallies.conflicts == 4, "the second time, and when the first request was asked for its faults"
    assert raw_count(client) == 2
    [dead] = hits(client, DEAD_LETTERS, [{"field": "reason"}, {"field": "id"}, {"field": "index"}])
    assert dead["fields"]["reason"] == ["document_parsing_exception"]
    assert dead["fields"]["id"] == ["1"]
    assert client.ask("GET", f"/{dead['_index']}/_doc/{dead['_id']}")["_source"]["document"] == '{"@timestamp":"no date"}'


@pytest.mark.server("elasticsearch")
def test_an_outage_is_sat_out(client: Client, elasticsearch: ElasticsearchServer) -> None:
    elasticsearch.kill()
    back = threading.Thread(target=elasticsearch.start)
    patient = Bulk(Client.open(replace(client.target, retry_s=120)), burial(client))
    patient.add(stored(client, ["1790000040000"] * 5))
    back.start()
    try:
        patient.flush()
    finally:
        back.join()
        patient.close()
    assert (raw_count(client), patient.tallies.documents) == (5, 5)
    assert patient.tallies.repeats > 0
