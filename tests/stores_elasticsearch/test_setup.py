"""`nephrite setup`: what it installs, what it says, what it deletes; and the ways to be let in."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import typer
from typer.testing import CliRunner

from common.config import Settings
from common.errors import StoreError
from pipelines.reachable import try_out
from stores.commands import app_commands
from stores.elasticsearch.client import NDJSON, Client
from stores.elasticsearch.layout import AGGREGATES, RAW
from stores.elasticsearch.setup import expire, install, require_templates
from stores.elasticsearch.target import Target
from tests.servers.elasticsearch import PASSWORD, ElasticsearchServer
from tests.servers.registry import ServerUnavailableError
from tests.stores.stores import target_of, wipe

pytestmark = pytest.mark.server("elasticsearch")
DAYS = {RAW: 7.0, AGGREGATES: 365.0}


def test_the_command_installs_templates_and_says_that_there_are_no_lifecycles(elasticsearch: ElasticsearchServer) -> None:
    app = typer.Typer()
    app_commands(app)
    prefix = elasticsearch.new_prefix()
    url = f"elasticsearch://127.0.0.1:{elasticsearch.port}?prefix={prefix}&profile=opennms"
    for _ in range(2):
        result = CliRunner().invoke(app, [url, "--expire"])
        assert result.exit_code == 0, result.output
    assert f"index template {prefix}netflow for {prefix}netflow-*" in result.output
    assert "this server has no lifecycle management" in result.output
    client = Client.open(Target.parse(url))
    mapping = client.ask("GET", f"/_index_template/{prefix}netflow")["index_templates"][0]["index_template"]["template"]["mappings"]
    assert mapping["_source"] == {"enabled": False}
    assert mapping["properties"]["netflow"]["properties"]["convo_key"] == {"type": "keyword", "index": False}
    wipe(client)


def test_only_old_daily_indices_of_this_prefix_go(elasticsearch: ElasticsearchServer) -> None:
    client = Client.open(replace(target_of(elasticsearch), prefix=elasticsearch.new_prefix()))
    prefix = client.target.prefix
    names = ["netflow-2026-01-01", "netflow-2026-01-02", "netflow-notes", "netflow_agg-2025-01-01", "netflow_agg-2026-01-01"]
    for name in names:
        client.ask("PUT", f"/{prefix}{name}")
    now_s = 1_767_225_600 + 9 * 86_400  # 2026-01-10
    assert list(expire(client, DAYS, now_s)) == [f"{prefix}netflow-2026-01-01", f"{prefix}netflow_agg-2025-01-01"]
    left = client.ask("GET", f"/{prefix}*?filter_path=*.settings.index.uuid")
    assert sorted(left) == [
        f"{prefix}{name}" for name in names if name in ("netflow-2026-01-02", "netflow-notes", "netflow_agg-2026-01-01")
    ]
    wipe(client)


def test_a_server_that_was_not_set_up_is_not_written_to(elasticsearch: ElasticsearchServer) -> None:
    client = Client.open(replace(target_of(elasticsearch), prefix=elasticsearch.new_prefix()))
    with pytest.raises(StoreError, match=r"index template .*netflow is missing: run `nephrite setup`"):
        require_templates(client)
    list(install(client, {}))
    require_templates(client)
    wipe(client)


def test_config_check_says_what_a_server_lacks_until_it_is_set_up(elasticsearch: ElasticsearchServer) -> None:
    prefix = elasticsearch.new_prefix()
    url = f"elasticsearch://127.0.0.1:{elasticsearch.port}?prefix={prefix}"
    settings = Settings.model_validate({"store": {"url": url}, "data_dir": "/nowhere"})
    [before] = [finding for finding in try_out(settings) if finding.what == "store.url"]
    place = f"elasticsearch 127.0.0.1:{elasticsearch.port}"
    assert before == ("store.url", f"{place}: index template {prefix}netflow is missing: run `nephrite setup`", True)
    client = Client.open(Target.parse(url))
    list(install(client, {}))
    [after] = [finding for finding in try_out(settings) if finding.what == "store.url"]
    assert after == ("store.url", f"{place} answers, version {elasticsearch.version}; its templates are installed", False)
    wipe(client)


@pytest.fixture(scope="module")
def secure() -> Iterator[ElasticsearchServer]:
    try:
        server = ElasticsearchServer(secure=True)
        server.start()
    except ServerUnavailableError as error:
        pytest.skip(str(error))
    yield server
    server.wipe()


ROLE: Final = {
    "cluster": ["monitor", "manage_index_templates"],
    "indices": [
        {"names": ["netflow*", "nephrite*"], "privileges": ["create_index", "index", "read", "maintenance", "view_index_metadata"]}
    ],
}


@pytest.fixture
def secure_with_keys() -> Iterator[ElasticsearchServer]:
    """Keys are kept in an index that the smallest server cannot make."""
    try:
        server = ElasticsearchServer(secure=True, modules=True)
        server.start()
    except ServerUnavailableError as error:
        pytest.skip(str(error))
    yield server
    server.wipe()


@pytest.mark.campaign
def test_a_key_with_the_least_privileges_sets_up_and_writes(secure_with_keys: ElasticsearchServer, tmp_path: Path) -> None:
    secure = secure_with_keys
    (tmp_path / "password").write_text(PASSWORD)
    options = Target((f"localhost:{secure.port}",), tls=True, ca_file=str(secure.certificate))
    admin = Client.open(replace(options, user="elastic", password_file=str(tmp_path / "password")))
    made = admin.ask("POST", "/_security/api_key", {"name": "nephrite", "role_descriptors": {"nephrite": ROLE}})
    (tmp_path / "key").write_text(made["encoded"])
    client = Client.open(replace(options, api_key_file=str(tmp_path / "key")))
    list(install(client, DAYS))
    require_templates(client)
    line = b'{"create":{"_id":"1"}}\n{"@timestamp":1}\n'
    assert client.send("POST", "/netflow-2026-01-02/_bulk", line, NDJSON).content["errors"] is False
    denied = client.send("POST", "/other/_bulk", line, NDJSON).content
    assert denied["items"][0]["create"]["status"] == 403
    admin.ask("DELETE", "/_security/api_key", {"ids": [made["id"]]})
    with pytest.raises(StoreError, match="status 401") as refused:
        client.ask("GET", "/")
    assert made["encoded"] not in str(refused.value)


def test_password_and_certificate(secure: ElasticsearchServer, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    host = (f"localhost:{secure.port}",)
    target = Target(host, tls=True, ca_file=str(secure.certificate), user="elastic", password_file=str(tmp_path / "password"))
    client = Client.open(target)
    assert any("no lifecycle" in step for step in install(client, DAYS))
    line = b'{"create":{"_id":"1"}}\n{"@timestamp":1}\n'
    assert client.send("POST", "/netflow-2026-01-01/_bulk", line, NDJSON).content["errors"] is False
    (tmp_path / "password").write_text("wrong")
    with pytest.raises(StoreError, match="status 401") as refused:
        Client.open(target).ask("GET", "/")
    assert "wrong" not in str(refused.value)
    with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
        Client.open(Target(host, tls=True)).ask("GET", "/")
