"""The systemd unit we ship: what it starts exists, it is no superuser, and its stop is longer than ours."""

import re
import shlex
from pathlib import Path

import typer
from typer.testing import CliRunner

from common.config import load_settings
from common.errors import ConfigError
from ingest.commands import app_commands
from ingest.service import STOP_S

UNIT = Path(__file__).parent.parent.parent / "deploy" / "systemd" / "nephrite-ingest.service"


def entries() -> dict[str, str]:
    lines = (line for line in UNIT.read_text(encoding="utf-8").splitlines() if "=" in line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def test_the_command_and_its_options_exist() -> None:
    program, command, *arguments = shlex.split(entries()["ExecStart"])
    app = typer.Typer()
    app_commands(app)
    usage = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
    assert Path(program).name == "nephrite"
    assert [option in usage for option in arguments if option.startswith("--")] == [True, True]


def test_it_is_no_superuser_and_has_time_to_flush() -> None:
    unit = entries()
    assert unit["User"] not in ("", "root")
    assert unit["ExecReload"].endswith("-HUP $MAINPID")
    assert int(unit["TimeoutStopSec"]) > STOP_S + 10
    assert unit["RestartPreventExitStatus"] == str(ConfigError.exit_code)
    assert unit["NoNewPrivileges"] == "yes"


def test_the_configuration_we_ship_listens_on_the_customary_ports() -> None:
    settings = load_settings(UNIT.with_name("nephrite.yaml"), {})
    places = {(listener.transport, listener.port) for listener in settings.ingest.listeners}
    assert places == {("udp", 9999), ("udp", 2055), ("udp", 4739), ("udp", 6343), ("tcp", 4739)}


def test_what_is_commented_out_there_can_be_used_too(tmp_path: Path) -> None:
    lines = UNIT.with_name("nephrite.yaml").read_text(encoding="utf-8").splitlines()
    everything = tmp_path / "all.yaml"
    everything.write_text("\n".join(re.sub(r"^(  +)# ", r"\1", line) for line in lines))
    settings = load_settings(everything, {})
    assert [listener.port for listener in settings.ingest.listeners if listener.transport == "tls"] == [4740]
    assert settings.ingest.processes == 4
    assert [len(entry.networks) for entry in settings.ingest.exporter_settings] == [1, 1]
