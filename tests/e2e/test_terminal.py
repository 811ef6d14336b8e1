"""Answers on a real terminal of the usual 80 columns, without colours, and in a locale that knows ASCII only."""

import fcntl
import os
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from tests.e2e.command import ALL_TIMES, NEPHRITE, environment, flows, nephrite, rows

COLOUR = re.compile(r"\x1b\[(?:\d+;)*[34]\d(?:;\d+)*m")


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal")
    made = nephrite("generate", "small", "--pcap", folder / "a.pcap", "--rate", "20", "--duration", "5")
    assert made.code == 0, made.err
    done = nephrite(
        "replay", folder / "a.pcap", "--data-dir", folder, "--into", "set", changes={"NEPHRITE_INGEST__LOCATION": "Zürich 東京"}
    )
    assert done.code == 0, done.err
    return folder / "replay" / "set"


def on_terminal(*arguments: str, columns: int = 80, **changes: str) -> str:
    """What a command writes to a terminal so wide."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([*NEPHRITE, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(changes))
    os.close(theirs)
    written = b""
    try:
        while piece := os.read(ours, 1 << 16):
            written += piece
    except OSError:  # EIO is how Linux says that the other end is closed
        pass
    os.close(ours)
    assert process.wait(30) == 0, written
    return written.decode("utf-8")


def test_no_address_is_broken_at_80_columns(data_set: Path) -> None:
    text = on_terminal("top", "hosts", *ALL_TIMES, "--data-dir", str(data_set))
    ranked = [row["host"] for row in rows("top", "hosts", *ALL_TIMES, "--data-dir", data_set) if row["host"]]
    assert len(ranked) == 10
    assert [host for host in ranked if host not in text] == []


def test_no_colour_where_none_is_wanted(data_set: Path) -> None:
    assert not COLOUR.search(on_terminal("exporters", *ALL_TIMES, "--data-dir", str(data_set), NO_COLOR="1"))


@pytest.mark.parametrize(
    "question", [("top", "hosts"), ("exporters",), ("flows", "-n", "3"), ("flows", "-n", "3", "--format", "csv")]
)
def test_a_locale_of_ascii(question: tuple[str, ...], data_set: Path) -> None:
    plain = {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = nephrite(*question, *ALL_TIMES, "--data-dir", data_set, changes=plain)
    assert "Traceback" not in done.err
    assert done.code == 0, done.err


def test_a_location_keeps_its_letters(data_set: Path) -> None:
    assert {flow["location"] for flow in flows(data_set)} == {"Zürich 東京"}
    assert "Zürich 東京" in nephrite("flows", "--format", "csv", *ALL_TIMES, "--data-dir", data_set).out
