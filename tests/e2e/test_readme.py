"""What README.md and the other pages say can be done: every command is one, every file is there, the cheap ones give answers."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import typer

import nephrite as program
from tests.e2e.command import ROOT, nephrite

README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAME: Final = re.compile(r"^(?:[A-Z_]+=\S+ +)*(?:\.venv/bin/)?nephrite +(?P<rest>[a-z].*)$")


def code_of(text: str) -> Iterator[tuple[str, bool]]:
    """Lines of code blocks (True), continued ones as one, and code within sentences (False)."""
    parts = text.split("```")
    for block in parts[1::2]:
        yield from ((line.strip(), True) for line in block.replace("\\\n", " ").splitlines())
    for prose in parts[0::2]:
        yield from ((code, False) for code in re.findall(r"`([^`]+)`", prose))


def commands_of(text: str) -> Iterator[tuple[list[str], bool]]:
    """Arguments of every `nephrite` command, and whether it is said in full; `a|b|c` means the first."""
    for line, in_full in code_of(text):
        if match := NAME.match(line):
            words = shlex.split(re.split(r" [|>&]|;", match["rest"])[0], comments=True)
            yield [word.split("|")[0].strip("[]") for word in words if word not in ("...", "…")], in_full


CASES: Final = [(page, *found) for page in PAGES for found in commands_of(page.read_text(encoding="utf-8"))]
IDS: Final = [f"{page.stem}: {' '.join(words)}" for page, words, _ in CASES]


@pytest.mark.parametrize(("page", "words", "in_full"), CASES, ids=IDS)
def test_a_command_of_the_pages_exists_with_these_options(page: Path, words: list[str], in_full: bool) -> None:
    command = typer.main.get_command(program.app)
    context = command.make_context("nephrite", [], resilient_parsing=True)
    while words and hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        assert command is not None, f"{page.name}: no command {name}"
        if hasattr(command, "resolve_command"):
            context = command.make_context(name, [], parent=context, resilient_parsing=True)
    if in_full:
        command.make_context(command.name, words, parent=context)
    else:
        command.make_parser(context).parse_args(words)


def test_the_pages_have_commands() -> None:
    readme = [words for page, words, _ in CASES if page.name == "README.md"]
    assert {words[0] for words in readme} >= {"up", "exporters", "top", "series", "flows", "generate", "decode", "replay"}


def test_every_hop_of_the_table_is_where_it_says() -> None:
    table = README.partition("## Where each hop lives")[2].partition("\n## ")[0]
    lines = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(lines) >= 10
    for hop, folders, files in lines:
        places = re.findall(r"`([^`]+)`", folders)
        assert places, hop
        assert all((ROOT / place).exists() for place in places), hop
        for file in re.findall(r"`([^`]+)`", files):
            assert any((ROOT / place / file).is_file() for place in [".", *places]), f"{hop}: {file}"


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_targets_of_make_exist() -> None:
    rules = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z]+)", README)) <= set(rules)


def test_the_cheap_commands_give_answers(tmp_path: Path) -> None:
    capture = tmp_path / "FILE.pcap"
    assert nephrite("generate", "demo", "--pcap", capture, "--rate", "50", "--duration", "3").code == 0
    assert nephrite("decode", capture).code == 0
    replayed = nephrite("replay", capture, "--data-dir", tmp_path)
    assert replayed.code == 0
    folder = re.findall(r"--data-dir (\S+)", replayed.err)[0]
    for question in ("exporters", "top applications", "series --format csv", "flows --limit 20 --format json"):
        done = nephrite(*question.split(), "--data-dir", folder)
        assert done.code == 0, done.err
        assert done.out
