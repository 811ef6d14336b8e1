"""The node that the tests use: what is written is read back, also after a crash."""

import json
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.servers.elasticsearch import VERSION, ElasticsearchServer

pytestmark = pytest.mark.server("elasticsearch")


def ask(server: ElasticsearchServer, method: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(server.url + path, data, {"Content-Type": "application/json"}, method=method)
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_documents_survive_a_crash(elasticsearch: ElasticsearchServer) -> None:
    index = elasticsearch.new_prefix() + "flows"
    assert ask(elasticsearch, "GET", "/")["version"]["number"] == VERSION
    ask(elasticsearch, "PUT", f"/{index}/_doc/1?refresh=true", {"bytes": 7})
    elasticsearch.kill()
    assert not elasticsearch.is_running()
    elasticsearch.start()
    assert ask(elasticsearch, "GET", f"/{index}/_doc/1")["_source"] == {"bytes": 7}
