"""The `nephrite` command as a stranger runs it: in a process of its own, from any folder, with a limit in time."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
NEPHRITE: Final = (sys.executable, "-m", "nephrite")
LIMIT_S: Final = 60.0
ALL_TIMES: Final = ("--from", "2000-01-01", "--to", "2100-01-01")
EXACT: Final = {"NEPHRITE_PIPELINE__CANDIDATES_YOUNG": "1000000", "NEPHRITE_PIPELINE__CANDIDATES_OLD": "1000000"}
"""Bounds that no test reaches: then every document is exact."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """Lines on standard error that say what went wrong."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without settings of Nephrite, with this checkout on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEPHRITE_")}
    return {**kept, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "proto"))), **(changes or {})}


def nephrite(
    *arguments: str | Path, limit_s: float = LIMIT_S, changes: Mapping[str, str] | None = None, before: Sequence[str] = ()
) -> Done:
    """Runs one command to its end; one that takes longer fails the test."""
    done = subprocess.run(
        [*before, *NEPHRITE, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=limit_s,
        env=environment(changes),
        stdin=subprocess.DEVNULL,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def rows(*arguments: str | Path) -> list[dict[str, Any]]:
    """The rows of an answer."""
    done = nephrite(*arguments, "--format", "json")
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)["rows"]
    return found


def flows(data_dir: Path, *arguments: str) -> list[dict[str, Any]]:
    """All raw flows of a data set; none where there are none yet."""
    done = nephrite("flows", "--data-dir", data_dir, *ALL_TIMES, "-n", "1000000", "--format", "ndjson", *arguments)
    return [json.loads(line) for line in done.out.splitlines()]


class Service:
    """A `nephrite` service that runs, in a process group of its own, and the lines that it prints on standard error."""

    def __init__(self, *arguments: str | Path, changes: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [*NEPHRITE, *map(str, arguments)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment(changes),
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, text: str, limit_s: float = LIMIT_S) -> str:
        """The next line with this text."""
        until = time.monotonic() + limit_s
        while True:
            try:
                line = self._queue.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {text!r} within {limit_s:.0f} s, only {self.lines}") from None
            assert line is not None, f"ended without {text!r}: {self.lines}"
            if text in line:
                return line

    def child(self, name: str) -> int:
        """Process id of the service `name` that this one started."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii").split()
        return next(int(pid) for pid in found if name in _words_of(int(pid)))

    def end(self, number: int = signal.SIGTERM, limit_s: float = 40.0) -> int:
        """Sends a signal where it still runs; returns the exit code once it and all its children let go of standard error."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(limit_s)
        self._reader.join(limit_s)
        assert not self._reader.is_alive(), "a child outlived its parent"
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.lines.append(line.rstrip("\n"))
                self._queue.put(line)
        self._queue.put(None)


@contextmanager
def running(*arguments: str | Path, changes: Mapping[str, str] | None = None) -> Iterator[Service]:
    """A service for the length of a block; whatever happens there, it is gone afterwards."""
    service = Service(*arguments, changes=changes)
    try:
        yield service
        service.end()
    finally:
        if service.process.poll() is None:
            service.end(signal.SIGKILL)


def _words_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
    except FileNotFoundError:
        return []


def free_port() -> int:
    """A UDP port that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(reached: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    """Looks again and again; a condition that does not come fails the test."""
    until = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < until, f"not within {limit_s:.0f} s: {what}"
        time.sleep(0.02)


def files_below(folder: Path) -> set[Path]:
    """Every file below a folder."""
    return {path for path in folder.rglob("*") if path.is_file()}
