"""The arrows of the design: which room may import which. A violation names the file and line."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent

MAY_IMPORT: Final = {
    "flowpb": set[str](),
    "common": {"flowpb"},
    "bus": {"flowpb", "common"},
    "columns": {"flowpb", "common"},
    "stores": {"flowpb", "common"},
    "ingest": {"flowpb", "common", "bus"},
    "transforms": {"flowpb", "common", "columns"},
    "pipelines": {"flowpb", "common", "bus", "columns", "transforms", "stores", "inventory"},
    "query": {"flowpb", "common", "columns", "stores"},
    "inventory": {"flowpb", "common", "columns"},
    "flink": {"flowpb", "common", "bus", "columns", "transforms", "stores", "pipelines", "inventory"},
}
FOLDERS: Final = {name: ROOT / ("proto/flowpb" if name == "flowpb" else name) for name in MAY_IMPORT}


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.split(".")[0]


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_room_imports_only_what_it_may(room: str) -> None:
    files = sorted(FOLDERS[room].rglob("*.py"))
    assert files, f"{room} has no module"
    allowed = MAY_IMPORT[room] | {room}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files
        for line, name in imports_of(path)
        if name in MAY_IMPORT and name not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ["columns", "ingest", "query", "bus", "common", "flowpb", "stores"])
def test_room_never_imports_beam(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in FOLDERS[room].rglob("*.py")
        for line, name in imports_of(path)
        if name == "apache_beam"
    ]
    assert wrong == []


def test_the_protocols_know_no_sockets_clocks_or_logs() -> None:
    forbidden = {"socket", "asyncio", "kafka", "logging", "time", "threading"}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in (ROOT / "ingest/protocols").rglob("*.py")
        for line, name in imports_of(path)
        if name in forbidden
    ]
    assert wrong == []


def test_data_files_lie_in_packages_so_that_an_installation_has_them() -> None:
    data = [path for folder in FOLDERS.values() for path in folder.rglob("*.*") if path.suffix in {".csv", ".sh", ".yaml", ".html"}]
    assert data
    assert [str(path.relative_to(ROOT)) for path in data if not (path.parent / "__init__.py").exists()] == []
