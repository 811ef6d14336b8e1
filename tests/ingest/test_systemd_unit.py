"""The systemd unit we ship: what it starts exists, it is no superuser, and its stop is longer than ours."""

import shlex
from pathlib import Path

import typer
from typer.testing import CliRunner

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
