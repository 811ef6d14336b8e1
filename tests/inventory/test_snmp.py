"""The poller against a real agent: versions, communities, back-off, and what stays when a device fails."""

from collections.abc import Callable

import pytest

from common.errors import ConfigError, InputError
from inventory.model import Node
from inventory.settings import SnmpSource
from inventory.snmp import SnmpPoller, Target, parse_target, poller_of
from tests.servers.snmpd import AUTH_KEY, COMMUNITY, PRIVACY_KEY, SYS_NAME, USER, Snmpd


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GOOD": COMMUNITY,
        "WRONG": "nothing",
        "AUTH": AUTH_KEY,
        "PRIVACY": PRIVACY_KEY,
        "BAD": "bad-password",
    }.items():
        monkeypatch.setenv(f"NEPHRITE_TEST_{name}", value)


def _poller(*targets: str, clock: Callable[[], float] = lambda: 0.0, **settings: object) -> SnmpPoller:
    fields: dict[str, object] = {"type": "snmp", "targets": targets, "timeout_s": 0.3, "retries": 0, "location": "Berlin"}
    return poller_of(SnmpSource.model_validate(fields | settings), clock)


def _user(**keys: str) -> dict[str, str]:
    return {"user": USER, "auth": "sha", "auth_key_env": "NEPHRITE_TEST_AUTH"} | keys


@pytest.mark.server("snmpd")
def test_version_2c_with_several_communities(snmpd: Snmpd) -> None:
    poller = _poller(f"127.0.0.1:{snmpd.port}", communities_env=("NEPHRITE_TEST_WRONG", "NEPHRITE_TEST_GOOD"))
    gathered = poller.gather()
    (node,) = gathered.nodes
    assert gathered.problems == ()
    assert (node.label, node.vendor, node.location, node.addresses[0]) == (SYS_NAME, "Net-SNMP", "Berlin", "127.0.0.1")
    assert "lo" in [interface.name for interface in node.interfaces]
    assert poller.devices[0].credential == 1, "the community that worked is tried first the next time"


@pytest.mark.server("snmpd")
def test_version_3(snmpd: Snmpd) -> None:
    user = _user(privacy="aes", privacy_key_env="NEPHRITE_TEST_PRIVACY")
    (node,) = _poller(f"127.0.0.1:{snmpd.port}", users=(user,)).gather().nodes
    assert node.label == SYS_NAME


@pytest.mark.server("snmpd")
@pytest.mark.parametrize(
    "user",
    [
        _user(),
        _user(auth_key_env="NEPHRITE_TEST_BAD", privacy="aes", privacy_key_env="NEPHRITE_TEST_PRIVACY"),
        _user(user="stranger", privacy="aes", privacy_key_env="NEPHRITE_TEST_PRIVACY"),
    ],
)
def test_version_3_refused(snmpd: Snmpd, user: dict[str, str]) -> None:
    gathered = _poller(f"127.0.0.1:{snmpd.port}", users=(user,)).gather()
    assert gathered.nodes == ()
    assert [problem.place for problem in gathered.problems] == [f"snmp 127.0.0.1:{snmpd.port}"]


def test_a_device_that_fails_rests_ever_longer_and_keeps_its_last_answer() -> None:
    now = [0.0]
    poller = _poller(
        "127.0.0.1:9", clock=lambda: now[0], communities_env=("NEPHRITE_TEST_GOOD",),
        timeout_s=0.01, backoff_s=60, backoff_most_s=200,
    )  # fmt: skip
    former = Node(label="former", addresses=("127.0.0.1",))
    poller.recall([former, Node(label="other", addresses=("10.0.0.1", "127.0.0.1"))])
    rests = []
    for _ in range(4):
        assert poller.gather().nodes == (former,)
        rests.append(poller.devices[0].rest_until_s - now[0])
        poller.gather()
        now[0] = poller.devices[0].rest_until_s
    assert rests == [60, 120, 200, 200]
    assert poller.devices[0].failures == 4, "a resting device is not asked"


def test_the_nodes_of_other_sources_are_asked_too() -> None:
    poller = _poller("127.0.0.1:9", nodes=True)
    poller.follow([Node(location="Rome", addresses=("127.0.0.9", "10.0.0.1")), Node(label="without an address")])
    assert [(device.target.address, device.location) for device in poller.devices] == [
        ("127.0.0.1", "Berlin"),
        ("127.0.0.9", "Rome"),
    ]
    poller.follow([])
    assert [device.target.address for device in poller.devices] == ["127.0.0.1"]
    unasked = _poller("127.0.0.1:9")
    unasked.follow([Node(addresses=("127.0.0.9",))])
    assert len(unasked.devices) == 1


def test_without_credentials_or_secrets() -> None:
    (problem,) = _poller("127.0.0.1").gather().problems
    assert problem.message == "no community or user is configured; asked again after 60 s"
    with pytest.raises(ConfigError, match="NOT_SET is not set"):
        _poller("127.0.0.1", communities_env=("NOT_SET",))


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("10.0.0.1", Target("10.0.0.1", 161)),
        ("10.0.0.1:1161", Target("10.0.0.1", 1161)),
        ("2001:db8::1", Target("2001:db8::1", 161)),
        ("[2001:db8::1]:1161", Target("2001:db8::1", 1161)),
    ],
)
def test_targets(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize("text", ["", "host", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:70000", "10.0.0.1:x"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(InputError, match="is no ADDRESS"):
        parse_target(text)
