"""Several ingest processes on the same ports, so that all cores are used.

In: settings with `ingest.processes` above 1. Out: that many children, each a collector of its own with its own state, bus spool and
dead letters below `data_dir/process-N`, and each with one socket of every listener. A child that ends is started again with the
same sockets: what arrives meanwhile waits in their buffers. The parent only opens sockets, watches, and passes signals on.
"""

import logging
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.config import Listener, Settings
from common.errors import ConfigError, NephriteError
from common.process import WITH_PARENT
from ingest.listeners.dispensing import DISPENSED, dispensable
from ingest.listeners.steering import open_group
from ingest.listeners.tcp import bind_stream

_RESTART_S: Final = (1.0, 30.0)
_STEADY_S: Final = 60.0
_STOP_S: Final = 30.0
_log = logging.getLogger(__name__)


def check_processes(settings: Settings) -> None:
    """Raises ConfigError where several processes cannot work."""
    if settings.ingest.processes > 1 and not settings.bus.url.startswith("kafka:"):
        raise ConfigError(["ingest.processes: more than one needs a Kafka bus, a spool has one writer"])


def settings_of_process(settings: Settings, number: int, collector: str) -> Settings:
    """Settings of one child: a name, a folder and a watch port of its own."""
    ingest = settings.ingest
    port = ingest.watch_port + number if ingest.watch_port else ingest.watch_port
    captures = () if number else ingest.captures  # each is to be read once
    own = ingest.model_copy(update={"collector": f"{collector}.{number}", "watch_port": port, "captures": captures})
    return settings.model_copy(update={"data_dir": str(Path(settings.data_dir) / f"process-{number}"), "ingest": own})


@dataclass(slots=True)
class _Child:
    sockets: list[socket.socket | None]
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    due_s: float = 0.0
    delay_s: float = _RESTART_S[0]


class ProcessGroup:
    """`command` starts one child; it gets `--process N --inherit FD,FD,...` appended."""

    def __init__(self, listeners: Sequence[Listener], processes: int, command: Sequence[str]) -> None:
        self._command = list(command)
        self._children = [_Child([]) for _ in range(processes)]
        faults: list[str] = []
        for listener in listeners:
            try:
                group: Sequence[socket.socket | None] = _open(listener, processes)
            except ConfigError as error:
                if not dispensable(listener, error):
                    faults.extend(error.problems)
                group = [None] * processes
            for child, each in zip(self._children, group, strict=True):
                child.sockets.append(each)
        if faults:
            self.close()
            raise ConfigError(faults)

    def keep_running(self) -> None:
        """Start what does not run; raises NephriteError when a child cannot use its configuration."""
        now_s = time.monotonic()
        for number, child in enumerate(self._children):
            if child.process is None:
                if now_s >= child.due_s:
                    self._start(number, child, now_s)
                continue
            code = child.process.poll()
            if code is None:
                continue
            if code == ConfigError.exit_code:
                raise NephriteError(f"ingest process {number} cannot start, see above")
            _close_input(child.process)
            child.process = None
            child.delay_s = _RESTART_S[0] if now_s - child.started_s > _STEADY_S else min(child.delay_s * 2, _RESTART_S[1])
            child.due_s = now_s + child.delay_s
            _log.warning("ingest process %d ended with code %d, starting it again in %.0f s", number, code, child.delay_s)

    def pids(self) -> list[int]:
        """Processes that run now."""
        return [child.process.pid for child in self._children if child.process is not None]

    def signal(self, number: int) -> None:
        """Pass a signal on to all children."""
        for child in self._children:
            if child.process is not None:
                child.process.send_signal(number)

    def stop(self) -> None:
        """Let all children flush and end, end those that do not, and close the sockets."""
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _close_input(process)
        self.close()

    def close(self) -> None:
        """Let go of the sockets."""
        for child in self._children:
            for each in child.sockets:
                if each is not None:
                    each.close()

    def _start(self, number: int, child: _Child, now_s: float) -> None:
        fds = [DISPENSED if each is None else each.fileno() for each in child.sockets]
        child.started_s = now_s
        child.process = subprocess.Popen(
            [*self._command, "--process", str(number), "--inherit", ",".join(map(str, fds))],
            pass_fds=[fd for fd in fds if fd != DISPENSED],
            stdin=subprocess.PIPE,
            env={**os.environ, WITH_PARENT: "1"},
            start_new_session=True,
        )


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _open(listener: Listener, processes: int) -> Sequence[socket.socket]:
    """One socket for each process; of TCP and TLS it is the same, which all processes accept from."""
    if listener.transport == "udp":
        return open_group(listener, processes)
    first = bind_stream(listener)
    return [first, *(first.dup() for _ in range(processes - 1))]
