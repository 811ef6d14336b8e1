"""Processes that outlive the command that started them, known by a pid file (Linux).

In: a program and a pid file. Out: a process in a session of its own, found again later by that file. A pid alone is
no proof, since numbers are used again: a process counts as ours only while its environment names our folder.
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

POLL_S = 0.05
EXEC_S = 2.0


def spawn(command: Sequence[str], env: Mapping[str, str], output: Path, pid_file: Path) -> int:
    """Start `command`, its output appended to `output`, its pid written to `pid_file`; returns the pid."""
    into_log = (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), into_log, (os.POSIX_SPAWN_DUP2, 1, 2)]
    pid = os.posix_spawn(command[0], list(command), dict(env), file_actions=actions, setsid=True)
    pid_file.write_text(f"{pid}\n")
    return pid


def running_pid(pid_file: Path, folder: Path) -> int | None:
    """The pid in `pid_file` while that process lives and has `folder` in its environment, else None."""
    try:
        pid = int(pid_file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    _reap(pid)
    return pid if str(folder).encode() in _environment(pid) else None


def end(pid_file: Path, folder: Path, how: signal.Signals, timeout_s: float) -> None:
    """Signal the process of `pid_file` and return when it is gone; after `timeout_s` it is killed."""
    until = time.monotonic() + timeout_s
    pid = running_pid(pid_file, folder)
    if pid is not None:
        os.kill(pid, how)
    while (pid := running_pid(pid_file, folder)) is not None:
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)
    pid_file.unlink(missing_ok=True)


def children(parent: int) -> list[int]:
    """Pids of the living children of `parent`, in order."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return sorted(pid for pid in pids if _parent(pid) == parent and command_line(pid))


def command_line(pid: int) -> bytes:
    """The NUL-separated command line of a process, empty when it is gone or a zombie."""
    return _proc(pid, "cmdline")


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has taken so far, its threads included and its children not; 0 when it is gone."""
    return _cpu_seconds(_proc(pid, "stat"))


def cpu_seconds_of_threads(pid: int, named: bytes) -> float:
    """The same of the living threads whose names start so."""
    stats = [_proc(pid, f"task/{thread.name}/stat") for thread in Path("/proc", str(pid), "task").glob("*")]
    return sum(_cpu_seconds(stat) for stat in stats if stat.partition(b"(")[2].startswith(named))


def _cpu_seconds(stat: bytes) -> float:
    fields = stat.rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def resident_bytes(pid: int) -> int:
    """Memory that a process holds now; 0 when it is gone."""
    fields = _proc(pid, "statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def _environment(pid: int) -> bytes:
    """The environment of a living process; while it replaces its program (exec) the kernel shows none for a moment."""
    until = time.monotonic() + EXEC_S
    while not (found := _proc(pid, "environ")) and _is_alive(pid) and time.monotonic() < until:
        time.sleep(0.001)
    return found


def _is_alive(pid: int) -> bool:
    stat = _proc(pid, "stat")
    return bool(stat) and stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def _parent(pid: int) -> int:
    stat = _proc(pid, "stat")
    # the second field, the name in brackets, may itself hold spaces and brackets
    return int(stat.rpartition(b")")[2].split()[1]) if stat else 0


def _proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # another process started it
