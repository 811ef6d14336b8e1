"""A service that fails, dawdles, changes or lies costs nothing that was known: the last good snapshot stays, its age is seen."""

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from columns.snapshot import open_snapshot
from inventory.gather import Gatherer
from inventory.serve import exposition
from inventory.settings import InventorySettings
from inventory.sources import sources_of
from tests.inventory.conftest import JsonServer

_GOOD = {"results": [{"name": "core-1", "ip": "10.0.0.1"}]}


def _dawdle(_headers: Mapping[str, str]) -> object:
    threading.Event().wait(0.6)
    return _GOOD


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (500, "HTTP status 500"),
        (204, "answer has no list"),
        (_dawdle, "Timeout"),
        (b"", "answer is no JSON"),
        (b"<html>", "answer is no JSON"),
        (b"[" * 100_000, "answer is no JSON"),
        ({"devices": []}, "answer has no list"),
        ({"results": "none"}, "answer has no list"),
        ({"results": []}, "answer has no nodes, the last one had 1: it stays"),
        ({"results": [{"name": {"de": "x"}, "ip": 5}, 7, None]}, "answer has no nodes"),
    ],
)
def test_the_last_good_snapshot_stays(json_server: JsonServer, folder: Path, answer: object, message: str) -> None:
    source = {"type": "json", "name": "box", "url": f"{json_server.url}/x", "records": "results", "timeout_s": 0.3}
    settings = InventorySettings.model_validate({"sources": [{**source, "fields": {"label": "name", "addresses": "ip"}}]})
    now = [1_000]
    gatherer = Gatherer(settings, folder, sources_of(settings, folder), lambda: now[0])
    json_server.answers["/x"] = _GOOD
    assert gatherer.refresh()
    json_server.answers["/x"] = answer
    now[0] = 61_000
    assert not gatherer.refresh()
    assert open_snapshot(folder / "inventory.arrow").tables["nodes"].field("label").to_pylist() == ["core-1"]
    assert message in gatherer.states["box"].problems[0]
    families = {family.name: family for family in text_string_to_metric_families(exposition(gatherer).decode())}
    (age,) = families["inventory_source_age_seconds"].samples
    (failures,) = families["inventory_source_failures"].samples
    assert (age.value, failures.value) == (60.0, 1.0)
    json_server.answers["/x"] = {"results": [{"name": "core-2", "ip": "10.0.0.2"}]}
    assert gatherer.refresh()
    assert not gatherer.states["box"].failed
