"""Targets: what a URL says, and every fault of one at once."""

from pathlib import Path

import pytest

from common.errors import ConfigError
from stores.elasticsearch.client import Client
from stores.elasticsearch.target import Target
from tests.stores_elasticsearch.scripted import FINE, scripted


def test_a_url_says_everything() -> None:
    target = Target.parse(
        "elasticsearch://one,two:9201/?profile=opennms&fields=src_mac,vrf_in&tls=true&in_flight=5&raw=false&prefix=x-"
    )
    assert target == Target(("one:9200", "two:9201"), "x-", "opennms", ("src_mac", "vrf_in"), raw=False, tls=True, in_flight=5)


def test_all_faults_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Target.parse(
            "elasticsearch://?profile=big&fields=nonsense&tls=perhaps&in_flight=x&what=1&user=me&retry_s=0&drop=10.0.0.0/8~host"
        )
    assert [problem.partition(": ")[2].partition(":")[0].partition(";")[0] for problem in caught.value.problems] == [
        "expected elasticsearch",
        "tls=perhaps",
        "in_flight=x",
        "no option 'what'",
        "drop=10.0.0.0/8~host",
        "profile",
        "fields",
        "user and password_file go together",
        "retry_s must be above 0",
    ]


def test_secrets_are_read_where_they_are_needed_and_named_when_they_are_missing() -> None:
    target = Target.parse("elasticsearch://one?api_key_file=/nowhere/key")
    with pytest.raises(ConfigError, match="/nowhere/key: cannot be read"):
        Client.open(target)


@pytest.mark.parametrize(
    ("options", "header"),
    [("api_key_file={}", "ApiKey a2V5"), ("user=me&password_file={}", "Basic bWU6YTJWNQ=="), ("tls=false", "")],
)
def test_the_way_to_be_let_in(tmp_path: Path, options: str, header: str) -> None:
    (tmp_path / "secret").write_text("a2V5\n")
    with scripted(FINE) as script:
        Client.open(Target.parse(f"elasticsearch://127.0.0.1:{script.port}?{options.format(tmp_path / 'secret')}")).ask(
            "POST", "/", {}
        )
    assert script.authorization == header
