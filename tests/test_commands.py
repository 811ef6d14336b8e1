"""The table of sub-commands says what their owners say, and the list of them costs no imports."""

import importlib
import subprocess
import sys

import pytest
import typer

import nephrite
from tests.e2e.command import ROOT, environment

OWNERS = sorted({owner for owner, _ in nephrite.COMMANDS.values() if owner})


@pytest.mark.parametrize("owner", OWNERS)
def test_the_table_has_what_an_owner_registers(owner: str) -> None:
    registered = typer.Typer()
    importlib.import_module(owner).app_commands(registered)
    assert set(typer.main.get_group(registered).commands) == {
        name for name, (owned_by, _) in nephrite.COMMANDS.items() if owned_by == owner
    }


def test_every_owner_of_commands_is_in_the_table() -> None:
    rooms = [path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"]
    files = [path.relative_to(ROOT) for room in rooms for path in room.rglob("*commands.py")]
    owning = {str(file) for file in files if "def app_commands" in (ROOT / file).read_text(encoding="utf-8")}
    assert {file.removesuffix(".py").replace("/", ".") for file in owning} == set(OWNERS)


def test_the_list_of_commands_imports_no_columns() -> None:
    script = "import sys, nephrite; nephrite.app(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment())
    text, _, modules = done.stdout.rstrip("\n").rpartition("\n")
    assert {"numpy", "pyarrow", "apache_beam", "duckdb"} & set(modules.split()) == set()
    for name in nephrite.COMMANDS:
        assert f"\n  {name} " in text


def test_a_command_that_does_not_exist_gets_a_suggestion() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nephrite", "generat"], capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 2
    assert "generate" in done.stderr
