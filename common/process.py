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

_MALLOC: Final = {  # parameters of glibc's malloc.h
    -8: 2,  # arenas that all threads share: each keeps what it once had, and there would be one per thread
    -3: 32 << 20,  # octets from which on memory is mapped anew each time
    -1: 256 << 20,  # free octets at the end that are kept
}


def keep_memory() -> None:
    """Let the C library use large buffers again instead of giving them back, in few arenas; without such a library nothing is done.

    The same as MALLOC_ARENA_MAX, MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ in the environment.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in _MALLOC.items():
            mallopt(parameter, value)


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
