"""Free ports on 127.0.0.1, in blocks, out of the range that $NEPHRITE_TEST_PORTS names."""

import os
import socket
from typing import Final

RANGE: Final = "21000-21999"


class NoPortError(RuntimeError):
    """The whole range is taken."""


def free_block(count: int) -> int:
    """First of `count` adjacent ports that nobody listens on.

    The search starts at a place that depends on the process, so that parallel test sessions seldom meet.
    """
    first, last = map(int, os.environ.get("NEPHRITE_TEST_PORTS", RANGE).split("-"))
    blocks = (last + 1 - first) // count
    for step in range(blocks):
        port = first + (os.getpid() + step) % blocks * count
        if all(_is_free(port + offset) for offset in range(count)):
            return port
    raise NoPortError(f"no {count} adjacent ports are free in {first}-{last}; set NEPHRITE_TEST_PORTS")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT does not matter
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
