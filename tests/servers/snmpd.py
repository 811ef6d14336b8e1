"""A real SNMP agent (Net-SNMP's snmpd) on 127.0.0.1, with two communities and a user of version 3."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers.ports import free_block
from tests.servers.registry import ServerUnavailableError

COMMUNITY: Final = "flows-read"
USER: Final = "flows"
AUTH_KEY: Final = "authentication"
PRIVACY_KEY: Final = "encryption-key"
SYS_NAME: Final = "edge-1.example"
_PATHS: Final = "/usr/sbin:/usr/local/sbin"


@dataclass(frozen=True, slots=True)
class Snmpd:
    """A running agent."""

    port: int
    version: str


@contextmanager
def running_snmpd(folder: Path) -> Iterator[Snmpd]:
    """An agent for as long as the block lasts; raises ServerUnavailableError where there is none."""
    program = shutil.which("snmpd") or shutil.which("snmpd", path=_PATHS)
    if program is None:
        raise ServerUnavailableError("snmpd is not installed (Debian: apt-get install snmpd)")
    port = free_block(1)
    configuration = folder / "snmpd.conf"
    configuration.write_text(
        f"rocommunity {COMMUNITY} 127.0.0.1\nsysName {SYS_NAME}\nrouser {USER} priv\n"
        f"createUser {USER} SHA {AUTH_KEY} AES {PRIVACY_KEY}\n"
    )
    environment = os.environ | {"SNMP_PERSISTENT_DIR": str(folder), "SNMPCONFPATH": str(folder), "MIBS": ""}
    command = [program, "-f", "-Lo", "-C", "-c", str(configuration), "-I", "-smux,-agentx", f"udp:127.0.0.1:{port}"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield Snmpd(port, _ready(process))
        finally:
            process.terminate()
            if process.stdout:
                process.stdout.read()


def _ready(process: subprocess.Popen[str]) -> str:
    """The line with the version, which the agent writes when its socket is bound."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("NET-SNMP version"):
            return line.strip()
    raise ServerUnavailableError("snmpd ended before it was ready")
