"""The question side of the command line: every format to the byte, and every way to have no answer."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from common.errors import NephriteError, StoreError, UsageError
from query.commands import app_commands
from stores.contract import NAMES
from stores.parquet.manifest import Manifest
from tests.servers.elasticsearch import ElasticsearchServer
from tests.stores.literals import MINUTE, T0, A, B, Doc, batch_of, fill
from tests.stores.stores import filled, target_of
from tests.stores.test_ledger_answers import row, table

GOLDEN: Final = Path(__file__).parent.parent / "data" / "query"
RANGE: Final = ("--from", "2026-09-21T14:14", "--to", str(T0 + 2 * MINUTE))

app = typer.Typer(pretty_exceptions_enable=False)
app_commands(app)


def documents() -> list[Doc]:
    key = '["Default",6,"10.0.0.1","10.0.0.2","http"]'
    return [
        Doc("EXPORTER", (7_512_345, 1000, 7_512_345)),
        Doc("EXPORTER_APPLICATION", (7_000_000, 0, 7_000_000), "http"),
        Doc("EXPORTER_APPLICATION", (400_000, 1000, 400_000), None, slot=1),
        Doc("EXPORTER_APPLICATION", (112_345, 0, 112_345), slot=2, other=True),
        Doc("EXPORTER", (90_000, 0, 90_000), minute=1),
        Doc("EXPORTER_APPLICATION", (90_000, 0, 90_000), "http", minute=1),
        Doc("EXPORTER_HOST", (7_512_345, 1000, 7_512_345), "10.0.0.1"),
        Doc("EXPORTER_HOST", (7_512_345, 1000, 7_512_345), None, slot=1),
        Doc("EXPORTER_CONVERSATION", (7_000_000, 0, 7_000_000), key),
        Doc("EXPORTER_INTERFACE", (7_512_345, 0, 7_512_345), interface=1),
        Doc("EXPORTER_INTERFACE", (0, 1000, 1000), interface=12),
        Doc("EXPORTER_INTERFACE_APPLICATION", (0, 1000, 1000), "ssh", interface=12),
        Doc("EXPORTER", (50, 0, 50), exporter=B),
        Doc("EXPORTER_AS", (7_000_000, 1000, 7_000_000), "64500"),
        Doc("EXPORTER_AS", (512_345, 0, 512_345), None, slot=1),
        Doc("EXPORTER_INTERFACE_PROTOCOL", (0, 1000, 1000), "6", interface=12),
    ]


def flows() -> list[dict[str, object]]:
    common: dict[str, object] = {"exporter_addr": A, "location": "Default", "protocol_version": 9, "direction": 0}
    return [
        common
        | {"src_addr": "10.0.0.1", "src_port": 49_152, "dst_addr": "10.0.0.2", "dst_port": 80, "protocol": 6, "tcp_flags": 27}
        | {"in_if": 1, "out_if": 12, "bytes": 1500, "packets": 3, "application": "http"}
        | {"first_switched_ms": T0 + 500, "last_switched_ms": T0 + 2750, "sampling_interval": 100.0}
        | {"exporter_label": "edge1", "exporter_foreign_source": "site", "exporter_foreign_id": "r1", "in_if_name": "Gi0/1"}
        | {"in_if_alias": "uplink", "dst_hostname": "www.example.org", "src_label": "pc7"},
        common
        | {"src_addr": "2001:db8::1", "src_port": 53, "dst_addr": "2001:db8::2", "dst_port": 5353, "protocol": 17}
        | {"location": "Branch", "bytes": 80, "packets": 1, "first_switched_ms": T0 + MINUTE, "last_switched_ms": T0 + MINUTE},
        common
        | {"src_addr": "10.0.0.9", "dst_addr": "10.0.0.10", "protocol": 1, "bytes": 64, "packets": 1, "protocol_version": 10}
        | {"exporter_foreign_source": "site", "exporter_foreign_id": "r1"}
        | {"first_switched_ms": T0 + MINUTE, "last_switched_ms": T0 + MINUTE},
    ]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("store"), [documents()], [batch_of(flows())], [ledger()])


def ledger() -> pa.Table:
    """Receive minutes of the documents' range, and one that is only joined because of the active timeout."""
    lossy = {"flows_lost": 25, "flows_dropped": 5, "missing_packets": 3, "received_packets": 97, "flows_undecodable": 4}
    return table(
        row(0, A, datagrams=100, duplicates=2, flows_decoded=900, flows_received=900, flows_late=10, **lossy),
        row(1, A, datagrams=10, flows_decoded=60, flows_received=60, packets_sampled=400, packets_scaled=40_000),
        row(9, B, datagrams=7, flows_decoded=3, flows_received=3, awaited_templates=1, until_ms=T0 + 10 * MINUTE),
        row(0, None, batches=50, batches_missing=1, flows_lost_on_bus=18),
    )


def ask(data_dir: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--data-dir", str(data_dir)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def fail(*arguments: str) -> NephriteError:
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, NephriteError), result.output
    assert result.stdout == ""
    return result.exception


QUESTIONS: Final[tuple[tuple[str, Sequence[str]], ...]] = (
    ("top-applications", ("top", "applications")),
    ("top-hosts", ("top", "hosts", "-n", "1")),
    ("top-conversations", ("top", "conversations")),
    ("top-interfaces", ("top", "interfaces")),
    ("top-exporters", ("top", "exporters")),
    ("top-applications-of-interface", ("top", "applications", "--exporter", A, "--interface", "12")),
    ("top-hosts-of-application", ("top", "hosts", "--application", "http")),
    ("top-as", ("top", "as")),
    ("top-protocols-of-interface", ("top", "protocols", "--interface", "12")),
    ("series", ("series", "--step", "1m")),
    ("series-applications", ("series", "applications", "-n", "1")),
    ("flows", ("flows", "--order", "oldest")),
    ("flows-of-host", ("flows", "--host", "2001:db8:0::1")),
    ("exporters", ("exporters",)),
    ("ledger", ("ledger",)),
    ("ledger-of-exporter", ("ledger", "-e", A, "--step", "1m", "--each")),
)


@pytest.fixture(scope="module")
def in_elasticsearch(elasticsearch: ElasticsearchServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A configuration that names an Elasticsearch with the same contents."""
    target = replace(target_of(elasticsearch), prefix=elasticsearch.new_prefix(), fields=NAMES)
    config = tmp_path_factory.mktemp("config") / "nephrite.yaml"
    config.write_text(
        f"store: {{url: 'elasticsearch://{target.hosts[0]}?prefix={target.prefix}&replicas=false'}}", encoding="utf-8"
    )
    with filled(target, [documents()], [batch_of(flows())], [ledger()]):
        yield config


@pytest.mark.server("elasticsearch")
@pytest.mark.parametrize(("name", "question"), QUESTIONS, ids=[name for name, _ in QUESTIONS])
def test_elasticsearch_gives_the_same_answers(in_elasticsearch: Path, name: str, question: Sequence[str]) -> None:
    asked = [*question, *RANGE, "--format", "json", "--config", str(in_elasticsearch)]
    result = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.stdout == (GOLDEN / f"{name}.json").read_text(encoding="utf-8")


def test_a_store_that_does_not_answer_is_one_line(tmp_path: Path, data_dir: Path) -> None:
    config = tmp_path / "nephrite.yaml"
    config.write_text("store: {url: 'elasticsearch://127.0.0.1:1'}", encoding="utf-8")
    told = str(fail("top", "hosts", "--config", str(config)))
    assert told.startswith("http://127.0.0.1:1: no answer: ")
    assert "\n" not in told
    arguments = ["top", "hosts", *RANGE, "--config", str(config), "-d", str(data_dir)]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0  # the command line names a folder


@pytest.mark.parametrize("form", ["table", "json", "csv", "ndjson"])
@pytest.mark.parametrize(("name", "question"), QUESTIONS, ids=[name for name, _ in QUESTIONS])
def test_output_is_golden(data_dir: Path, name: str, question: Sequence[str], form: str) -> None:
    """Write them again with NEPHRITE_TEST_GOLDEN=write, and read the difference."""
    found = ask(data_dir, *question, *RANGE, "--format", form)
    path = GOLDEN / f"{name}.{'txt' if form == 'table' else form}"
    if os.environ.get("NEPHRITE_TEST_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


def test_rows_for_programs_add_up(data_dir: Path) -> None:
    answer = json.loads(ask(data_dir, "top", "hosts", "-n", "1", *RANGE, "--format", "json"))
    assert sum(row["bytes_total"] for row in answer["rows"]) == answer["multiplicity"] * answer["total"]["bytes_total"]


def test_without_a_range_old_data_is_shown_with_a_note(data_dir: Path) -> None:
    result = CliRunner().invoke(app, ["top", "exporters", "--data-dir", str(data_dir)], catch_exceptions=False)
    assert "Top exporters: 2026-09-21T14:14:00Z to 14:16:00Z (from 1m aggregates)" in result.stdout
    assert "; this is the latest" in result.stderr


def test_people_are_told_how_much_may_be_missing(tmp_path: Path) -> None:
    more = [Doc("EXPORTER", (9, 0, 9), minute=1), Doc("EXPORTER_APPLICATION", (9, 0, 9), "ssh", minute=1)]
    fill(tmp_path, [documents()[:4], more])
    result = CliRunner().invoke(app, ["top", "applications", *RANGE, "-d", str(tmp_path)], catch_exceptions=False)
    assert "note: an item may have up to 112 kB more than shown: some minutes rank only the largest" in result.stderr
    assert "ssh" in result.stdout
    assert "+ 112 kB" in result.stdout


def test_own_groupings_are_asked_by_their_name(data_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "nephrite.yaml"
    own = "{name: gateway, columns: [next_hop]}, {name: flags, columns: [tcp_flags], scopes: [system]}"
    config.write_text(f"data_dir: {data_dir}\npipeline: {{groupings: {{kinds: [], own: [{own}]}}}}\n")
    for name, shown in (("flags", ["27", "None"]), ("protocols", ["6", "17", "1"])):  # no aggregate has them: raw flows have
        result = CliRunner().invoke(app, ["top", name, *RANGE, "--config", str(config), "--format", "json"], catch_exceptions=False)
        assert [str(row["item"]) for row in json.loads(result.stdout)["rows"][:-1]] == shown
    answer = CliRunner().invoke(app, ["top", "gateway", *RANGE, "-c", str(config), "--format", "json"], catch_exceptions=False)
    assert json.loads(answer.stdout)["source"] == "1m"


def test_the_folder_may_come_from_the_configuration(data_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "nephrite.yaml"
    config.write_text(f"data_dir: {data_dir}\n")
    result = CliRunner().invoke(app, ["exporters", "--config", str(config), "--format", "csv"], catch_exceptions=False)
    assert result.stdout.splitlines()[1].startswith(A)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("top", "applications", "--exporter", "192.0.2.300"), "--exporter 192.0.2.300: not an IP address"),
        (("flows", "--host", "router"), "--host router: not an IP address"),
        (("series", "--from", "soon"), "'soon' is no time"),
        (("top", "rivers"), "nothing is ranked as 'rivers': there are applications, hosts, "),
        (("series", "rivers"), "conversations, interfaces, exporters, as, countries, protocols"),
        (("series", "--step", "90s"), "--step 90s: steps are whole minutes"),
        (("top", "hosts", "--from", "now", "--to", "-1h"), "is empty: --from must be before --to"),
    ],
)
def test_bad_arguments_are_the_callers_fault(data_dir: Path, arguments: Sequence[str], message: str) -> None:
    error = fail(*arguments, "--data-dir", str(data_dir))
    assert isinstance(error, UsageError)
    assert error.exit_code == 2
    assert message in str(error)


@pytest.mark.parametrize("arguments", [("top",), ("top", "hosts", "-n", "0"), ("flows", "--format", "xml")])
def test_what_the_parser_refuses(arguments: Sequence[str]) -> None:
    assert CliRunner().invoke(app, list(arguments)).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("top", "hosts", "--from", "-1h"), "the store has 2026-09-21T14:14:00Z to 14:16:00Z"),
        (("top", "hosts", "--exporter", "192.0.2.77", *RANGE), "no traffic matches in 2026-09-21T14:14:00Z to 14:16:00Z"),
        (("flows", "--host", "192.0.2.77", *RANGE), "no traffic matches in 2026-09-21T14:14:00Z to 14:16:00Z"),
    ],
)
def test_no_answer_is_one_line(data_dir: Path, arguments: Sequence[str], message: str) -> None:
    error = fail(*arguments, "--data-dir", str(data_dir))
    assert isinstance(error, StoreError)
    assert message in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("command", ["exporters", "flows", "series", "retention"])
def test_no_folder_is_one_line_and_makes_none(tmp_path: Path, command: str) -> None:
    error = fail(command, "--data-dir", str(tmp_path / "nowhere"))
    assert (error.exit_code, "no data here yet" in str(error)) == (1, True)
    assert not (tmp_path / "nowhere").exists()


def test_help_loads_nothing_heavy() -> None:
    program = "import sys, query.commands; print(sorted({'pyarrow', 'duckdb', 'numpy', 'apache_beam'} & set(sys.modules)))"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_an_empty_store_is_one_line(tmp_path: Path) -> None:
    error = fail("exporters", "--data-dir", str(fill(tmp_path)))
    assert str(error) == "the store has no data yet"


def test_retention_says_what_it_did_and_not_beside_a_writer(tmp_path: Path) -> None:
    fill(tmp_path, [[Doc("EXPORTER", (1, 0, 1), minute=-60 * 24 * 400)], documents()[:1], documents()[1:2]])
    with Manifest.open(tmp_path, writer=True):
        assert "is writing this store" in str(fail("retention", "--data-dir", str(tmp_path)))
    assert ask(tmp_path, "retention").startswith("expired files: 1 (")
    with Manifest.open(tmp_path, writer=False) as manifest:
        assert [level.files for level in manifest.status().levels] == [1]
