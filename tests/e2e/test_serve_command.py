"""`nephrite serve` as a service: ready, asked, told to stop, gone; and rules that outlive it."""

import json
import urllib.request
from http.client import HTTPConnection
from pathlib import Path

from tests.e2e.command import nephrite, running


def _changes(folder: Path, port: int = 0) -> dict[str, str]:
    return {"NEPHRITE_QUERY__PORT": str(port), "NEPHRITE_ENRICHMENT__RULES": str(folder / "rules.yaml")}


def test_serve_is_ready_answers_and_stops_with_a_client_connected(tmp_path: Path) -> None:
    with running("serve", changes=_changes(tmp_path)) as service:
        url = service.wait_for("serve ready: ").split()[-1]
        rule = urllib.request.Request(
            f"{url}/rest/classifications", b'{"name": "ours", "protocols": ["tcp"], "dstPort": "443"}', method="POST"
        )
        with urllib.request.urlopen(rule, timeout=10) as answer:
            assert answer.status == 201
        idle = HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]), timeout=10)
        idle.request("GET", "/healthz")
        assert idle.getresponse().read() == b"ok\n"
        taken = nephrite("serve", changes=_changes(tmp_path, idle.port))
        assert (taken.code, taken.errors) == (2, [f"error: query.port: 127.0.0.1 port {idle.port}: Address already in use"])
        assert service.end() == 0
        idle.close()
    explained = nephrite(
        "rules", "explain", "--rules", tmp_path / "rules.yaml", "--protocol", "tcp", "--dst-port", "443", "--format", "json"
    )
    assert explained.code == 0, explained.err
    assert json.loads(explained.out)[0]["application"] == "ours"
