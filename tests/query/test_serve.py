"""The HTTP service over real sockets."""

import base64
import errno
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from columns.rules.rest import CSV
from common.config import Settings, load_settings
from common.errors import ConfigError
from inventory.compile import Content, compile_content
from inventory.model import Node
from nephrite import app
from query import serve
from query.serve import serving

RULES = "/rest/classifications"


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str]


def lowered(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body or None, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return Answer(answer.status, answer.read(), lowered(answer.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(), lowered(error.headers))


def settings_in(folder: Path, rules: str = "rules.yaml", token: str = "") -> Settings:
    tree = {"enrichment": {"rules": str(folder / rules)}, "query": {"port": 0, "token": token}}
    return Settings.model_validate(tree)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with serving(settings_in(tmp_path)) as under_test:
        yield under_test


def user_group(port: int) -> int:
    groups = json.loads(ask(port, "GET", f"{RULES}/groups").body)
    return next(int(group["id"]) for group in groups if not group["readOnly"])


def test_health(port: int) -> None:
    assert ask(port, "GET", "/healthz")[:2] == (200, b"ok\n")
    assert ask(port, "GET", "/none").status == 404


def test_a_rule_lives_and_dies(port: int, tmp_path: Path) -> None:
    rule = {"name": "ours", "protocols": ["tcp"], "dstPort": "443"}
    made = ask(port, "POST", RULES, json.dumps(rule).encode())
    assert made.status == 201
    path = made.headers["location"]
    assert path.startswith(f"{RULES}/")
    assert json.loads(ask(port, "GET", path).body)["name"] == "ours"
    flow = json.dumps({"protocol": "tcp", "srcAddress": "10.0.0.1", "srcPort": 50_000, "dstAddress": "10.0.0.2", "dstPort": 443})
    assert json.loads(ask(port, "POST", f"{RULES}/classify", flow.encode()).body) == {"classification": "ours"}
    assert "ours;tcp;;;;443;;false" in (tmp_path / f"rules-{user_group(port)}.csv").read_text().replace("\r", "")
    assert ask(port, "DELETE", path).status == 204
    assert ask(port, "GET", path).status == 404
    assert ask(port, "PATCH", path).status == 405


def test_pages_and_their_range(port: int) -> None:
    page = ask(port, "GET", f"{RULES}?limit=3&offset=2&query=http")
    assert page.status == 200
    assert len(json.loads(page.body)) == 3
    assert page.headers["content-range"].startswith("items 2-4/")
    assert ask(port, "GET", f"{RULES}/?query=no-such-rule").status == 204


def test_csv_in_and_out(port: int) -> None:
    group = f"{RULES}/groups/{user_group(port)}"
    bad = b"name;protocol;srcAddress;srcPort;dstAddress;dstPort;exporterFilter;omnidirectional\na;tcpp;;;;;;\nb;tcp;;;;80;;true\n"
    refused = ask(port, "POST", f"{group}?hasHeader=true", bad, **{"Content-Type": "text/comma-separated-values"})
    assert (refused.status, json.loads(refused.body)["success"]) == (400, False)
    assert {line: fault["context"] for line, fault in json.loads(refused.body)["errors"].items()} == {"2": "protocol"}
    assert ask(port, "POST", f"{group}?hasHeader=false", b"b;tcp;;;;80;;true\n").status == 204
    exported = ask(port, "GET", group, Accept="text/comma-separated-values")
    assert exported.headers["content-type"] == "text/comma-separated-values"
    assert exported.body.decode().splitlines()[1:] == ["b;tcp;;;;80;;true"]
    assert json.loads(ask(port, "GET", group).body)["ruleCount"] == 1


def test_csv_without_a_group_goes_into_the_first(port: int) -> None:
    kind = {"Content-Type": f"{CSV}; charset=utf-8"}
    assert ask(port, "POST", f"{RULES}?hasHeader=false", b"b;tcp;;;;80;;true\n", **kind).status == 204
    assert ask(port, "GET", f"{RULES}/groups/{user_group(port)}?format=csv").body.decode().splitlines()[1:] == ["b;tcp;;;;80;;true"]


def test_the_inventory_knows_the_exporter(tmp_path: Path) -> None:
    node = Node(label="core", addresses=("10.0.0.9",), categories=("Routers",))
    compile_content(Content([node])).write(tmp_path / "inventory.arrow", 1)
    settings = settings_in(tmp_path)
    enrichment = settings.enrichment.model_copy(update={"inventory": str(tmp_path / "inventory.arrow")})
    flow = {"protocol": "tcp", "dstAddress": "10.0.0.2", "dstPort": 443, "exporterAddress": "10.0.0.9"}
    with serving(settings.model_copy(update={"enrichment": enrichment})) as port:
        ask(port, "POST", f"{RULES}?hasHeader=false", b"ours;tcp;;;;443;catincRouters;\n", **{"Content-Type": CSV})
        known = ask(port, "POST", f"{RULES}/classify", json.dumps(flow).encode())
        other = ask(port, "POST", f"{RULES}/classify", json.dumps({**flow, "categories": ["Switches"]}).encode())
    assert [json.loads(answer.body)["classification"] for answer in (known, other)] == ["ours", "https"]


def test_the_predefined_group_is_read_only(port: int) -> None:
    predefined = next(g["id"] for g in json.loads(ask(port, "GET", f"{RULES}/groups").body) if g["readOnly"])
    refused = ask(port, "DELETE", f"{RULES}/groups/{predefined}")
    assert (refused.status, json.loads(refused.body)["context"]) == (400, "group")


def test_a_body_without_end_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_LARGEST_BODY", 1000)
    assert ask(port, "POST", RULES, b"x" * 1001).status == 413
    assert ask(port, "POST", RULES, b"x" * 1000).status == 400


def test_a_disk_that_gives_nothing_is_told(port: int, tmp_path: Path) -> None:
    group = user_group(port)
    target = tmp_path / f"rules-{group}.csv"
    target.unlink()
    target.mkdir()
    refused = ask(port, "POST", f"{RULES}/groups/{group}?hasHeader=false", b"b;tcp;;;;80;;true\n")
    assert refused.status == 500
    assert f"{target}: cannot be read" in json.loads(refused.body)["message"]
    target.rmdir()
    target.write_text("c;tcp;;;;81;;\n")
    assert json.loads(ask(port, "GET", f"{RULES}/groups/{group}").body)["ruleCount"] == 1


def test_a_disk_that_takes_nothing_is_told(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _text: str, encoding: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    group = user_group(port)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        refused = ask(port, "POST", f"{RULES}/groups/{group}?hasHeader=false", b"b;tcp;;;;80;;true\n")
    assert refused.status == 500
    assert "cannot be written: [Errno 28]" in json.loads(refused.body)["message"]
    assert json.loads(ask(port, "GET", f"{RULES}/groups/{group}").body)["ruleCount"] == 0


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    with serving(settings_in(tmp_path, token="open sesame")) as port:
        assert ask(port, "GET", "/healthz").status == 200
        refused = ask(port, "GET", f"{RULES}/groups")
        assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Bearer realm="nephrite"')
        basic = base64.b64encode(b"admin:open sesame").decode()
        for credentials, status in (
            ("Bearer open sesame", 200),
            (f"Basic {basic}", 200),
            ("Bearer open", 401),
            ("Basic ???", 401),
            ("Digest open sesame", 401),
        ):
            assert ask(port, "GET", f"{RULES}/groups", Authorization=credentials).status == status


def test_the_token_is_never_shown() -> None:
    shown = CliRunner().invoke(app, ["config", "dump"], env={"NEPHRITE_QUERY__TOKEN": "open sesame"})
    assert shown.exit_code == 0
    assert "sesame" not in shown.output
    assert load_settings(None, {"NEPHRITE_QUERY__TOKEN": "open sesame"}).query.token.get_secret_value() == "open sesame"


@pytest.mark.parametrize("rules", ["", "rules.csv"])
def test_without_a_book_there_is_nothing_to_edit(tmp_path: Path, rules: str) -> None:
    (tmp_path / "rules.csv").write_text("a;tcp;;;;80;;\n")
    with serving(settings_in(tmp_path, rules)) as port:
        refused = ask(port, "GET", f"{RULES}/groups")
        assert (refused.status, json.loads(refused.body)["context"]) == (503, "enrichment.rules")
        assert ask(port, "GET", "/healthz").status == 200


def test_a_port_in_use_and_bad_rules_are_told_at_start(port: int, tmp_path: Path) -> None:
    taken = Settings.model_validate({"query": {"port": port}})
    with pytest.raises(ConfigError, match=rf"query\.port: 127\.0\.0\.1 port {port}"), serving(taken):
        pass
    (tmp_path / "bad.yaml").write_text("groups: 7\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml: groups"), serving(settings_in(tmp_path, "bad.yaml")):
        pass
