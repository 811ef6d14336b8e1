"""Servers that a shell script installs, starts and stops."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from flink.distribution import cache_folder
from tests.servers.registry import ServerUnavailableError

TIMEOUT_S: Final = 900.0  # the first start downloads the server


class ScriptedServer:
    """One server, driven through `script`; `env` are its settings."""

    def __init__(self, script: Path, env: Mapping[str, str]) -> None:
        self._script = script
        self._env = dict(env)

    def is_running(self) -> bool:
        """Whether the server's process lives."""
        return self.call("status").returncode == 0

    def start(self) -> None:
        """Install if need be, start, and return once the server takes requests."""
        done = self.call("start")
        if done.returncode:
            said = (done.stdout + done.stderr).strip().splitlines() or ["it said nothing"]
            raise ServerUnavailableError(f"{self._script.stem} did not start: {said[-1]}")

    def stop(self) -> None:
        """Shut down in good order."""
        self.call("stop")

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL); its data stays."""
        self.call("kill")

    def restart(self) -> None:
        """Stop and start again, on the same port and data."""
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Stop and remove all data."""
        self.call("wipe")

    def call(self, verb: str) -> subprocess.CompletedProcess[str]:
        """Run the script with one verb."""
        env = os.environ | {"NEPHRITE_CACHE": str(cache_folder())} | self._env
        command = [str(self._script), verb]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
