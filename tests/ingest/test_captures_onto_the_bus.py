"""`nephrite ingest FILE...`: captures on the bus as a live collector would have put them there; the same file twice is a repeat."""

from contextlib import closing
from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from bus.open import open_source
from common.config import Bus
from ingest.commands import app_commands
from tests.ingest.load import numbers, read_all
from tests.ingest.packets import v5, v9_flows
from tests.ingest.test_replay_of_captures import write


def run(data: Path, *arguments: object) -> Result:
    app = typer.Typer()
    app_commands(app)
    return CliRunner().invoke(app, ["ingest", "-d", str(data), *map(str, arguments)], env={"NEPHRITE_INGEST__COLLECTOR": "c"})


def test_files_and_folders_are_put_on_the_bus_once(tmp_path: Path) -> None:
    folder, data = tmp_path / "captures", tmp_path / "data"
    folder.mkdir()
    single = write(tmp_path / "single.pcap", [(n * 0.1, v5(1, n)) for n in range(30)])
    write(folder / "b.pcap", [(n * 0.1, v5(1, 100 + n)) for n in range(20)])
    write(folder / "a.pcap", [(0.0, v5(1, 200)), (0.1, v9_flows(2))])
    result = run(data, single, folder)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        f"{single}: 30 datagrams, 30 flows; problems: none",
        f"{folder / 'a.pcap'}: 2 datagrams, 1 flows; problems: parked_expired 1, template_missing 1",
        f"{folder / 'b.pcap'}: 20 datagrams, 20 flows; problems: none",
    ]
    assert run(data, single).exit_code == 0
    with closing(open_source(Bus(), data)) as source:
        entries = read_all(source)
    assert set(numbers(entries)) == {*range(30), *range(100, 120), 200}
    assert set(numbers(entries).values()) == {1}
    assert {header.collector for header, _ in entries} == {"c/single.pcap", "c/a.pcap", "c/b.pcap"}


def test_captures_do_not_go_with_listening_and_have_to_exist(tmp_path: Path) -> None:
    result = run(tmp_path / "data", tmp_path, "--listen", "127.0.0.1:0")
    assert "captures are read in place of listening" in str(result.exception)
    result = run(tmp_path / "data", tmp_path)
    assert "a folder without a capture" in str(result.exception)
