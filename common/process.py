"""How a service stops: on a signal, or when the process that started it is gone; and how it treats its garbage."""

import ctypes
import gc
import os
import signal
import sys
import threading
from types import FrameType
from typing import Final

_COLLECT_RARELY: Final = (20_000, 20, 50)
WITH_PARENT: Final = "NEPHRITE_WITH_PARENT"
"""Set in the environment of a child whose standard input is a pipe that its parent holds open."""

_M_ARENA_MAX: Final = -8  # of glibc's malloc.h


def use_few_arenas() -> None:
    """Let all threads share two of the C library's memory arenas: each keeps what it once had, and there would be one per thread.

    Where there is no such library nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)


def stop_event() -> threading.Event:
    """An event that SIGTERM, SIGINT, or the death of a parent that asked for it, sets. A second signal ends the process at once."""
    stopped = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        if stopped.is_set():
            os._exit(128 + number)
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if os.environ.get(WITH_PARENT):
        threading.Thread(target=_stop_at_end_of_input, args=(stopped,), daemon=True, name="parent-watch").start()
    return stopped


def _stop_at_end_of_input(stopped: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stopped.set()


def collect_rarely() -> None:
    """For processes that decode: modules stay for ever, and datagrams make no cycles; looking for them costs 4 % of the thread."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_RARELY)
