"""What all receivers of a collector have in common: a thread, its end, and who is judged to be an exporter.

In: the body of the thread and what closes the sockets, from those who know them. Refuses to know sockets.
"""

import threading
from abc import ABC, abstractmethod

from ingest.listeners.sources import Identify


class Receiving(ABC):
    """One thread, called `name`, that runs until it is stopped."""

    def __init__(self, name: str, identify: Identify) -> None:
        self._identify = identify
        self._stop_wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def stop(self) -> None:
        """Take what has arrived, then close the sockets."""
        self._stop_wanted.set()
        self._thread.join()
        self.close()

    def replace_identify(self, identify: Identify) -> None:
        """Judge sources anew from now on; of streams those of new connections."""
        self._identify = identify

    @abstractmethod
    def close(self) -> None:
        """Let go of the sockets."""

    @abstractmethod
    def _run(self) -> None:
        """The body of the thread: until a stop is wanted, then what has arrived."""
