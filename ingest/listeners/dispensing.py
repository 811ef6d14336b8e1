"""Listeners that ingest can do without: the customary ports that are open by default, where another program has one of them."""

import errno
import logging
from typing import Final

from common.config import Listener
from common.errors import ConfigError

DISPENSED: Final = -1
"""Stands for the descriptor of a socket that a parent process did without."""
_log = logging.getLogger(__name__)


def dispensable(listener: Listener, error: ConfigError) -> bool:
    """Whether to go on without this listener, which could not be opened; says so if it is."""
    cause = error.__cause__
    if not listener.optional or not isinstance(cause, OSError) or cause.errno != errno.EADDRINUSE:
        return False
    _log.warning("%s: not listened on; a list of listeners without it says that this is meant", error.problems[0])
    return True
