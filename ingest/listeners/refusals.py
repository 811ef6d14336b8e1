"""Why a socket cannot be had, and what to do about it, in words."""

import errno
from typing import Final

_REMEDIES: Final = {
    errno.EADDRINUSE: "`ss -lnp` shows who has it",
    errno.EACCES: "ports below 1024 take root or CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "no interface of this machine has this address",
}


def refusal(error: OSError) -> str:
    """The system's words, and the remedy where there is one."""
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{error.strerror}; {remedy}" if remedy else str(error.strerror)
