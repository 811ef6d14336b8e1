"""One writer per data folder, held by the kernel so that a killed writer leaves nothing to clean up.

In: a data folder. Out: the lock, or a StoreError that names the process that has it.
"""

import fcntl
import os
from pathlib import Path

from common.errors import StoreError


class WriterLock:
    """Held from construction to `release`; the file's text is the holder's process id, for people and for the message."""

    def __init__(self, data_dir: Path) -> None:
        path = data_dir / "writer.lock"
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._handle)
            raise StoreError(f"{data_dir}: process {holder} is writing this store; stop it first") from error
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Let the next writer in."""
        os.close(self._handle)
