"""The `nephrite rules` commands, as a user types them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from columns.rules.commands import app_commands
from common.errors import ConfigError, InputError, NephriteError, UsageError
from inventory.compile import Content, compile_content
from inventory.model import Node

_RULES = "name;protocol;srcAddress;srcPort;dstAddress;dstPort;exporterFilter;omnidirectional\n"


def _app() -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)
    app_commands(app)
    app.callback()(lambda: None)
    return app


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(_app(), ["rules", *map(str, arguments)])


def _fails(error: type[NephriteError], *arguments: str | Path) -> str:
    result = _run(*arguments)
    assert isinstance(result.exception, error)
    return str(result.exception)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.csv"
    path.write_text(_RULES + "site;tcp;;;10.0.0.0/8;443;;true\nhidden;tcp;;;10.1.0.0/16;443;;false\n")
    return path


def test_import_and_export(tmp_path: Path) -> None:
    older, target = tmp_path / "older.csv", tmp_path / "new" / "rules.csv"
    older.write_text("name;ipAddress;port;protocol\nhttp2;127.0.0.1;;TCP,UDP\n")
    assert _run("import", older, "--into", target).output == f"1 rules imported into {target}\n"
    assert target.read_text() == _RULES + "http2;TCP,UDP;;;127.0.0.1;;;false\n"
    assert _run("export", "--rules", target).output == target.read_text()
    assert len(_run("export", "--group", "pre-defined").output.splitlines()) == 11_489


def test_a_bad_file_is_not_imported(tmp_path: Path, rules: Path) -> None:
    before = rules.read_text()
    bad = tmp_path / "bad.csv"
    bad.write_text("a;tcpp;;;;;;\nb;;;;;;;\n")
    assert _fails(ConfigError, "import", bad, "--into", rules).splitlines() == [
        f"{bad}: line 1, protocol: 'tcpp' is no IANA protocol keyword or number",
        f"{bad}: line 2, line: a rule needs at least one condition",
    ]
    assert rules.read_text() == before
    assert "give --into FILE" in _fails(UsageError, "import", rules)
    assert "CSV file only" in _fails(UsageError, "import", rules, "--into", tmp_path / "book.yaml")
    assert "no group 'x'; there are user-defined, pre-defined" in _fails(UsageError, "export", "--rules", rules, "--group", "x")


def test_rules_that_can_never_match(rules: Path) -> None:
    found = json.loads(_run("test", rules, "--format", "json").stdout)
    assert found == [{"application": "hidden", "group": "user-defined", "line": 3, "hidden by": "site"}]


def test_cases(tmp_path: Path, rules: Path) -> None:
    cases = tmp_path / "cases.yaml"
    cases.write_text("- {name: ours, flow: {protocol: tcp, dstAddress: 10.1.1.1, dstPort: 443}, application: site}\n")
    assert _run("test", rules, "--cases", cases, "--format", "csv").stdout == "verdict,case,expected,found\npassed,ours,site,site\n"
    cases.write_text(cases.read_text().replace("application: site", "application: other"))
    assert _fails(InputError, "test", rules, "--cases", cases) == f"{cases}: 1 of 1 cases failed"


def test_dry_run_over_stored_flows(tmp_path: Path, rules: Path) -> None:
    table = pa.table(
        {
            "dst_addr": ["10.0.0.1", "192.0.2.1", None],
            "dst_port": pa.array([443, 443, 80], pa.uint16()),
            "protocol": pa.array([6, 6, 6], pa.uint8()),
            "bytes": pa.array([100, 50, 10], pa.uint64()),
        }
    )
    folder = tmp_path / "raw" / "2026-11-25"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "a.parquet")
    result = _run("test", rules, "--flows", tmp_path / "raw", "--format", "csv")
    assert result.stderr == "100 of 160 octets move (62.5%)\n"
    assert result.stdout == "before,after,flows,octets\nhttps,site,1,100\n"


def test_what_the_inventory_knows_of_exporters(tmp_path: Path) -> None:
    compile_content(Content([Node(addresses=("10.9.9.9",), categories=("Routers",))])).write(tmp_path / "inventory.arrow", 1)
    rules = tmp_path / "rules.csv"
    rules.write_text("ours;tcp;;;;443;catincRouters;\n")
    columns = {
        "exporter_addr": ["10.9.9.9", "10.9.9.8"],
        "dst_port": pa.array([443] * 2, pa.uint16()),
        "protocol": pa.array([6] * 2, pa.uint8()),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    known = ("--inventory", tmp_path / "inventory.arrow", "--format", "csv")
    assert _run("test", rules, "--flows", tmp_path / "a.parquet", *known).stdout == "before,after,flows,octets\nhttps,ours,1,0\n"
    flow = ("--rules", rules, "--protocol", "tcp", "--dst-port", "443", "--exporter")
    assert _run("explain", *flow, "10.9.9.9", *known).stdout.splitlines()[1].startswith("ours,user-defined,1,wins")
    assert _run("explain", *flow, "10.9.9.8", *known).stdout.splitlines()[1].startswith("https,pre-defined")


def test_explain(rules: Path) -> None:
    reply = ("--protocol", "tcp", "--src-address", "10.1.1.1", "--src-port", "443", "--dst-port", "4000")
    found = json.loads(_run("explain", "--rules", rules, *reply, "--format", "json").stdout)
    assert [(row["application"], row["verdict"]) for row in found][:2] == [
        ("site", "wins, ends interchanged"),
        ("https", "fits too, ends interchanged"),
    ]
    (row,) = json.loads(_run("explain", "--rules", rules, *reply, "--why-not", "hidden", "--format", "json").stdout)
    assert (row["verdict"], row["because"]) == (
        "does not fit",
        "dstAddress 10.1.0.0/16: no address port 4000 does not fit; dstPort 443: no address port 4000 does not fit",
    )


def test_a_flow_that_is_none(rules: Path) -> None:
    message = _fails(UsageError, "explain", "--rules", rules, "--protocol", "tcpp", "--src-address", "x", "--dst-port", "70000")
    assert message.splitlines() == [
        "protocol: 'tcpp' is no IANA protocol keyword or number",
        "srcAddress: 'x' does not appear to be an IPv4 or IPv6 address",
        "dstPort: Input should be less than or equal to 65535",
    ]
    assert "no rule of the name 'x'" in _fails(UsageError, "explain", "--rules", rules, "--why-not", "x")


def test_flows_that_are_none(tmp_path: Path, rules: Path) -> None:
    assert "no Parquet file of flows" in _fails(InputError, "test", rules, "--flows", rules)
    (tmp_path / "empty").mkdir()
    assert "no Parquet files among" in _fails(InputError, "test", rules, "--flows", tmp_path / "empty")
