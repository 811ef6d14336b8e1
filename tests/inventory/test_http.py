"""Nodes over HTTP, from a server that answers well, and from one that does not."""

import base64
from collections.abc import Mapping

import pytest

from inventory.http import HttpAccess, SourceError
from inventory.json_api import JsonApi, value_at
from inventory.model import Interface, Node, Vrf
from inventory.opennms import OpenNms
from inventory.options import OptionsPage
from tests.inventory.conftest import JsonServer

_PAGE = "?limit=500&offset=0"
_QUICK = HttpAccess(timeout_s=2.0)


def _opennms(server: JsonServer) -> None:
    rest = "/opennms/rest/nodes"
    server.answers |= {
        f"{rest}{_PAGE}": {
            "node": [
                {"id": "3", "label": "core", "foreignSource": "lab", "foreignId": "r1", "location": "Berlin",
                 "categories": [{"id": 1, "name": "Routers"}, {"id": 2, "name": "Core"}]},
                {"id": 4, "label": "bare"},
                {"id": "x"},
            ]
        },
        f"{rest}/3/ipinterfaces{_PAGE}": {"ipInterface": [{"ipAddress": "10.0.0.1"}, {"ipAddress": "2001:db8::1"}]},
        f"{rest}/3/snmpinterfaces{_PAGE}": {
            "snmpInterface": [
                {"ifIndex": 1, "ifName": "xe-0", "ifAlias": "up", "ifSpeed": 10_000_000_000},
                {"ifIndex": 2, "ifDescr": "two", "ifSpeed": 0},
                {"ifIndex": None},
            ]
        },
        f"{rest}/4/ipinterfaces{_PAGE}": {"ipInterface": [{"ipAddress": "10.0.0.4"}]},
        f"{rest}/4/snmpinterfaces{_PAGE}": 204,
    }  # fmt: skip


def test_opennms(json_server: JsonServer) -> None:
    _opennms(json_server)
    gathered = OpenNms(f"{json_server.url}/opennms/", _QUICK).gather()
    assert gathered.nodes == (
        Node(
            "lab", "r1", 3, "core", "Berlin", None, ("Routers", "Core"), ("10.0.0.1", "2001:db8::1"),
            (Interface(1, "xe-0", "up", 10_000_000_000), Interface(2, "two")),
        ),
        Node(node_id=4, label="bare", addresses=("10.0.0.4",)),
    )  # fmt: skip
    assert [problem.message for problem in gathered.problems] == ["a node has the id 'x'"]


def test_opennms_in_pages(json_server: JsonServer) -> None:
    nodes = [{"id": number, "label": str(number)} for number in range(501)]
    rest = "/rest/nodes"
    json_server.answers |= {
        f"{rest}?limit=500&offset=0": {"node": nodes[:500]},
        f"{rest}?limit=500&offset=500": {"node": nodes[500:]},
    }
    for number in range(501):
        json_server.answers[f"{rest}/{number}/ipinterfaces{_PAGE}"] = {
            "ipInterface": [{"ipAddress": f"10.0.{number // 256}.{number % 256}"}]
        }
        json_server.answers[f"{rest}/{number}/snmpinterfaces{_PAGE}"] = {"snmpInterface": []}
    gathered = OpenNms(json_server.url, _QUICK).gather()
    assert [node.node_id for node in gathered.nodes] == list(range(501))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (500, "HTTP status 500"),
        (302, "HTTP status 302"),
        (b"<html>", "answer is no JSON"),
        ({"other": []}, "answer has no list 'node'"),
        ([], "answer has no list 'node'"),
        ({"node": "none"}, "answer has no list 'node'"),
    ],
)
def test_opennms_that_misbehaves(json_server: JsonServer, answer: object, message: str) -> None:
    json_server.answers[f"/rest/nodes{_PAGE}"] = answer
    with pytest.raises(SourceError, match=message):
        OpenNms(json_server.url, _QUICK).gather()


def test_half_an_inventory_is_not_taken_for_a_whole_one(json_server: JsonServer) -> None:
    _opennms(json_server)
    json_server.answers[f"/opennms/rest/nodes/4/ipinterfaces{_PAGE}"] = 503
    with pytest.raises(SourceError, match="HTTP status 503"):
        OpenNms(f"{json_server.url}/opennms", _QUICK).gather()


def _netbox(server: JsonServer, **changes: object) -> JsonApi:
    fields: dict[str, object] = {
        "url": f"{server.url}/api/devices/",
        "access": _QUICK,
        "records": "results",
        "next": "next",
        "constants": {"foreign_source": "netbox"},
        "fields": {
            "foreign_id": "id", "label": "name", "location": "site.slug", "addresses": ["ip4.address", "ip6.address"],
            "categories": "tags[].slug", "interfaces": "ports",
        },
        "interface_fields": {"index": "snmp", "name": "name", "speed": "rate.bps"},
    }  # fmt: skip
    return JsonApi(**(fields | changes))  # type: ignore[arg-type]


def test_a_mapping_of_any_json(json_server: JsonServer) -> None:
    json_server.answers |= {
        "/api/devices/": {
            "next": f"{json_server.url}/api/devices/?offset=1",
            "results": [
                {"id": 7, "name": "r1", "site": {"slug": "berlin"}, "ip4": {"address": "10.0.0.1/24"}, "ip6": None,
                 "tags": [{"slug": "core"}, {"other": 1}], "ports": [{"snmp": 1, "name": "one", "rate": {"bps": 1000}}]},
                "nonsense",
            ],
        },
        "/api/devices/?offset=1": {"next": None, "results": [{"id": 8, "site": [], "ip4": "x", "tags": 5}]},
    }  # fmt: skip
    gathered = _netbox(json_server).gather()
    assert gathered.nodes == (
        Node("netbox", "7", None, "r1", "berlin", None, ("core",), ("10.0.0.1",), (Interface(1, "one", None, 1000),)),
        Node("netbox", "8"),
    )
    assert gathered.problems == ()


def test_credentials_stay_with_their_host(json_server: JsonServer) -> None:
    json_server.answers["/api/devices/"] = {"next": "http://127.0.0.1:9/api/", "results": []}
    with pytest.raises(SourceError, match="the next page is on another host"):
        _netbox(json_server).gather()


@pytest.mark.parametrize(("records", "message"), [("elsewhere", "no list at 'elsewhere'"), ("", "no list at 'top level'")])
def test_a_changed_schema(json_server: JsonServer, records: str, message: str) -> None:
    json_server.answers["/api/devices/"] = {"results": []}
    with pytest.raises(SourceError, match=message):
        _netbox(json_server, records=records).gather()


def test_credentials_are_sent_and_never_said(json_server: JsonServer) -> None:
    seen: list[Mapping[str, str]] = []

    def answer(headers: Mapping[str, str]) -> object:
        seen.append(headers)
        return 403

    json_server.answers["/x"] = answer
    basic = HttpAccess(user="flows", password="hidden-word")
    token = HttpAccess(headers={"Authorization": "Token hidden-word"})
    for access in (basic, token):
        with pytest.raises(SourceError) as caught:
            access.get(f"{json_server.url}/x")
        assert "hidden-word" not in f"{caught.value}{access!r}"
    assert [headers["Authorization"] for headers in seen] == [
        f"Basic {base64.b64encode(b'flows:hidden-word').decode()}",
        "Token hidden-word",
    ]


def test_bounds(json_server: JsonServer) -> None:
    json_server.answers["/x"] = "a" * 1000
    with pytest.raises(SourceError, match="larger than 100 octets"):
        HttpAccess(max_bytes=100).get(f"{json_server.url}/x")
    with pytest.raises(SourceError, match="takes longer than 0 s"):
        HttpAccess(total_s=0).get(f"{json_server.url}/x")
    with pytest.raises(SourceError, match="ConnectionError: no answer"):
        _QUICK.get("http://127.0.0.1:9/x")


def test_names_that_a_collector_has(json_server: JsonServer) -> None:
    json_server.answers["/names"] = [
        {"exporter": "10.0.0.1", "domain": 0, "kind": "interface", "id": "2", "name": "xe-0", "description": "up"},
        {"exporter": "10.0.0.1", "domain": 0, "kind": "interface", "id": "1", "name": "lo", "description": ""},
        {"exporter": "10.0.0.1", "domain": 0, "kind": "vrf", "id": "1", "name": "red", "description": ""},
        {"exporter": "x", "kind": "interface", "id": "1", "name": "lo"},
        {"exporter": "10.0.0.1", "kind": "interface", "id": "one", "name": "lo"},
        5,
    ]
    gathered = OptionsPage(f"{json_server.url}/names", _QUICK, "Berlin").gather()
    assert gathered.nodes == (
        Node(
            location="Berlin", addresses=("10.0.0.1",),
            interfaces=(Interface(1, "lo"), Interface(2, "xe-0", "up")), vrfs=(Vrf(1, "red"),),
        ),
    )  # fmt: skip
    assert [problem.place.partition(": ")[2] for problem in gathered.problems] == ["[3]", "[4]"]
    json_server.answers["/names"] = {"names": []}
    with pytest.raises(SourceError, match="answer is no list"):
        OptionsPage(f"{json_server.url}/names", _QUICK).gather()


@pytest.mark.parametrize(
    ("value", "path", "found"),
    [
        ({"a": {"b": 1}}, "a.b", 1),
        ({"a": [{"b": 1}, {"b": 2}, {}, 3]}, "a[].b", [1, 2]),
        ({"a": "text"}, "a[]", None),
        ({"a": 1}, "a.b", None),
        ([1], "", [1]),
        (None, "a", None),
    ],
)
def test_paths(value: object, path: str, found: object) -> None:
    assert value_at(value, path) == found  # type: ignore[arg-type]
