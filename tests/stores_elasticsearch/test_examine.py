"""What `nephrite config check --connect` says to a server that cannot be used: one line, and what to do."""

from pathlib import Path

import pytest

from common.config import Settings
from common.errors import ConfigError
from pipelines.reachable import Finding, try_out
from tests.stores_elasticsearch.scripted import Reply, scripted

FINE: Reply = (200, {"version": {"number": "8.19.8"}})


def found(url: str, data_dir: Path) -> Finding:
    settings = Settings.model_validate({"store": {"url": url}, "data_dir": str(data_dir)})
    [finding] = [finding for finding in try_out(settings) if finding.what == "store.url"]
    assert "\n" not in finding.found
    return finding


@pytest.mark.parametrize(
    ("replies", "told"),
    [
        ([(401, {"error": {"type": "security_exception", "reason": "missing credentials"}})], "does not know us: look at api_key"),
        ([(403, {"error": {"type": "security_exception", "reason": "no"}})], "not as one who may do this: look at the privileges"),
        ([(200, {"version": {"number": "8.11.4"}})], "version 8.11.4 is too old, 8.19 or later is needed"),
        ([(200, {"version": {"number": "7.10.2", "distribution": "opensearch"}})], "opensearch 7.10.2 is not Elasticsearch"),
        ([(200, {"hello": 1})], "answers, but not as Elasticsearch does"),
        ([(502, {"error": "bad gateway"})], "answers, but not as Elasticsearch does (status 502: bad gateway)"),
        ([FINE, (404, {})], "index template netflow is missing: run `nephrite setup`"),
    ],
)
def test_a_server_that_cannot_be_used_is_one_line(replies: list[Reply], told: str, tmp_path: Path) -> None:
    with scripted(*replies) as server:
        finding = found(f"elasticsearch://127.0.0.1:{server.port}", tmp_path)
    assert finding.wrong
    assert finding.found.startswith(f"elasticsearch 127.0.0.1:{server.port}: ")
    assert told in finding.found


def test_a_server_that_can_be_used(tmp_path: Path) -> None:
    with scripted((200, {"version": {"number": "9.5.3"}}), (403, {})) as server:
        finding = found(f"elasticsearch://127.0.0.1:{server.port}", tmp_path)
    assert not finding.wrong
    assert finding.found.endswith("version 9.5.3; whether `nephrite setup` was run this user may not see")


def test_nobody_there_and_tls_with_one_who_speaks_none(tmp_path: Path) -> None:
    nobody = found("elasticsearch://127.0.0.1:1", tmp_path)
    assert (nobody.wrong, nobody.found.startswith("http://127.0.0.1:1: no answer: ")) == (True, True)
    with scripted(FINE) as server:
        plain = found(f"elasticsearch://127.0.0.1:{server.port}?tls=true", tmp_path)
    assert plain.wrong
    assert "SSL" in plain.found


def test_a_url_that_is_none(tmp_path: Path) -> None:
    finding = found("elasticsearch://host?profil=x", tmp_path)
    assert finding.wrong
    assert "no option 'profil'" in finding.found


def test_a_url_of_another_kind_is_refused_at_once(tmp_path: Path) -> None:
    config = tmp_path / "nephrite.yaml"
    config.write_text("store: {url: 'http://host:9200'}", encoding="utf-8")
    from common.config import load_settings

    with pytest.raises(ConfigError, match=r"store\.url"):
        load_settings(config)
