"""A writer killed after any step, started again, leaves the same store as one that was never killed."""

import os
from pathlib import Path

from stores.parquet.layout import find_file
from stores.parquet.manifest import Carried, Manifest
from tests.stores.killed_writer import write


def content(data_dir: Path) -> tuple[Carried, dict[str, str], list[str]]:
    """What a reader finds: the carried state, the text of every live file, and all names on disk."""
    with Manifest.open(data_dir, writer=False) as manifest:
        paths = {file.name: find_file(data_dir, file) for file in manifest.files("raw", "raw", 0, 1 << 60)}
        names = sorted(str(path.relative_to(data_dir)) for path in data_dir.rglob("*") if path.is_file())
        return manifest.load(), {name: path.read_text() if path else "" for name, path in paths.items()}, names


def kill_after(data_dir: Path, step: int) -> int:
    """Exit code of a process of its own that writes until it is killed after a step."""
    child = os.fork()
    if not child:
        write(data_dir, step)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_every_step_can_be_the_last(tmp_path: Path) -> None:
    steps = write(tmp_path / "whole", kill_at=0)
    expected = content(tmp_path / "whole")
    assert steps == 27
    assert expected[0].run == 3
    assert expected[1] == {"1": "rows of 1", "2a": "rows of 2a", "2b": "rows of 2b", "3a": "rows of 3a", "3b": "rows of 3b"}
    for step in range(1, steps + 1):
        data_dir = tmp_path / str(step)
        assert kill_after(data_dir, step) == 9, f"step {step} was not reached"
        readable = content(data_dir)
        assert "" not in readable[1].values(), f"killed after step {step}: a committed file is nowhere"
        write(data_dir, kill_at=0)
        assert content(data_dir) == expected, f"killed after step {step}"
