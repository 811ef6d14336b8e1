"""Rules over HTTP, as a client of OpenNMS asks for them."""

import json
from pathlib import Path
from typing import Any

import pytest

from columns.rules.rest import CSV, Classifications, Request, Response
from columns.rules.shelf import open_shelf

_RULE = {
    "name": "web",
    "protocols": ["tcp", "udp"],
    "dstAddress": "10.0.0.1",
    "dstPort": "80,443",
    "srcAddress": None,
    "srcPort": None,
    "exporterFilter": None,
    "omnidirectional": True,
}


@pytest.fixture
def api(tmp_path: Path) -> Classifications:
    return Classifications(open_shelf(tmp_path / "rules.yaml"))


def _ask(api: Classifications, method: str, path: str, body: object = None, **query: str) -> Response:
    return api.handle(Request(method, path, query, {}, b"" if body is None else json.dumps(body).encode()))


def _json(response: Response) -> Any:
    assert response.headers["Content-Type"] == "application/json"
    return json.loads(response.body)


def _id(response: Response) -> str:
    assert response.status == 201
    return response.headers["Location"].removeprefix("/rest/classifications")


def _user(api: Classifications) -> int:
    return next(group.number for group in api.shelf.book.groups if not group.predefined)


def test_a_rule_is_saved_read_changed_and_deleted(api: Classifications) -> None:
    path = _id(_ask(api, "POST", "", _RULE))
    found = _json(_ask(api, "GET", path))
    assert {name: found[name] for name in _RULE} == _RULE
    assert (found["position"], found["group"]["name"], found["group"]["readOnly"]) == (0, "user-defined", False)
    changed = _json(_ask(api, "PUT", path, {**_RULE, "name": "other", "position": 3, "protocols": []}))
    assert (changed["name"], changed["position"], changed["protocols"]) == ("other", 3, [])
    assert _ask(api, "DELETE", path).status == 204
    assert _ask(api, "GET", path).status == 404


def test_lists_have_pages(api: Classifications) -> None:
    group = str(_user(api))
    assert _ask(api, "GET", "", groupFilter=group).status == 204
    for number in range(12):
        _ask(api, "POST", "", {**_RULE, "name": f"rule {number}"})
    first = _ask(api, "GET", "/", groupFilter=group)
    assert ([rule["name"] for rule in _json(first)], first.headers["Content-Range"]) == (
        [f"rule {n}" for n in range(10)],
        "items 0-9/12",
    )
    assert len(_json(_ask(api, "GET", "", groupFilter=group, limit="0"))) == 12
    assert [rule["name"] for rule in _json(_ask(api, "GET", "", groupFilter=group, offset="11"))] == ["rule 11"]
    assert [rule["name"] for rule in _json(_ask(api, "GET", "", query="RULE 7"))] == ["rule 7"]
    assert _ask(api, "DELETE", "", groupId=group).status == 204
    assert _ask(api, "GET", "", groupFilter=group).status == 204


def test_groups(api: Classifications) -> None:
    names = [(group["name"], group["ruleCount"], group["readOnly"]) for group in _json(_ask(api, "GET", "/groups"))]
    assert names == [("user-defined", 0, False), ("pre-defined", 11_488, True)]
    path = _id(_ask(api, "POST", "/groups", {"name": "trial", "position": 4, "description": "a trial"}))
    _ask(api, "POST", "", {**_RULE, "group": {"id": int(path.rpartition("/")[2])}})
    assert _json(_ask(api, "PUT", path, {"enabled": False}))["enabled"] is False
    assert _ask(api, "GET", "", query="web", groupFilter=path.rpartition("/")[2]).status == 204, (
        "rules of disabled groups are not listed"
    )
    assert _json(_ask(api, "GET", path))["ruleCount"] == 1
    assert _ask(api, "DELETE", path).status == 204
    assert _ask(api, "GET", path).status == 404


def test_csv(api: Classifications) -> None:
    path = f"/groups/{_user(api)}"
    bad = b"name;protocol;srcAddress;srcPort;dstAddress;dstPort;exporterFilter;omnidirectional\na;tcpp;;x;;;;\nb;;;;;;;\n"
    refused = api.handle(Request("POST", path, {"hasHeader": "true"}, {}, bad))
    assert refused.status == 400
    assert json.loads(refused.body) == {
        "success": False,
        "errors": {
            "2": {"context": "protocol", "key": "rule.protocol.invalid", "message": "'tcpp' is no IANA protocol keyword or number"},
            "3": {"context": "entity", "key": "rule.entity.invalid", "message": "a rule needs at least one condition"},
        },
    }
    assert api.handle(Request("POST", path, {"hasHeader": "false"}, {}, b"a;tcp;;;;80;;\n")).status == 204
    exported = api.handle(Request("GET", path, {}, {"accept": CSV}))
    assert (exported.headers["Content-Type"], exported.body.decode().splitlines()[1:]) == (CSV, ["a;tcp;;;;80;;false"])
    assert api.handle(Request("GET", path, {"format": "csv"})).body == exported.body
    assert api.handle(Request("POST", path, {}, {}, b"\xff")).status == 400


def test_classify(api: Classifications) -> None:
    flow = {"protocol": "tcp", "srcAddress": "10.0.0.5", "srcPort": "60123", "dstAddress": "10.0.0.1", "dstPort": "443"}
    assert _json(_ask(api, "POST", "/classify", flow)) == {"classification": "https"}
    _ask(api, "POST", "", _RULE)
    assert _json(_ask(api, "POST", "/classify", {**flow, "exporterAddress": "10.0.0.55"})) == {"classification": "web"}
    assert _ask(api, "POST", "/classify", {"protocol": "icmp"}).status == 204


def test_protocols(api: Classifications) -> None:
    assert {"decimal": 6, "keyword": "tcp"} in _json(_ask(api, "GET", "/protocols"))


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "context"),
    [
        ("POST", "", {"name": "a", "srcPort": "x"}, {}, "srcPort"),
        ("POST", "", {"name": "a"}, {}, "entity"),
        ("POST", "", [], {}, "body"),
        ("POST", "", {"name": 5}, {}, "name"),
        ("POST", "", {**_RULE, "group": {"id": 1}}, {}, "group"),
        ("POST", "/groups", {"name": "user-defined"}, {}, "name"),
        ("PUT", "/groups/1", {"name": "mine"}, {}, "group"),
        ("DELETE", "/1000000000", None, {}, "group"),
        ("POST", "/classify", {"dstPort": "70000"}, {}, "dstPort"),
        ("POST", "/classify", {"srcAddress": "x"}, {}, "srcAddress"),
        ("DELETE", "", None, {}, "groupId"),
        ("GET", "", None, {"limit": "x"}, "limit"),
        ("GET", "", None, {"groupFilter": "x"}, "groupFilter"),
    ],
)
def test_refusals(api: Classifications, method: str, path: str, body: object, query: dict[str, str], context: str) -> None:
    response = _ask(api, method, path, body, **query)
    assert (response.status, json.loads(response.body)["context"]) == (400, context)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("PATCH", "", 405),
        ("POST", "/5", 405),
        ("GET", "/99", 404),
        ("PUT", "/groups/99", 404),
        ("GET", "/groups/99999999999999999999", 404),
    ],
)
def test_paths(api: Classifications, method: str, path: str, status: int) -> None:
    assert _ask(api, method, path, {}).status == status
