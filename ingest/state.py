"""What ingest keeps over a restart: its last epoch and the decoder's templates and samplers, in one file.

In: an epoch and the decoder's snapshot, opaque. Out: the same, or nothing when the file is missing or damaged; a damaged file is
never half-used. Written beside and renamed, so that a crash leaves the old file whole.
"""

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.errors import ConfigError, InputError

_HEAD: Final = struct.Struct(">8sQIQ")  # magic, epoch, CRC-32 of the snapshot, its length
_MAGIC: Final = b"NEPHST01"


@dataclass(frozen=True, slots=True)
class SavedState:
    """`epoch` 0 and an empty snapshot: nothing was saved."""

    epoch: int = 0
    snapshot: bytes = b""


def load_state(path: Path) -> SavedState:
    """What was saved last, or an empty state when there is no file; raises InputError when the file is damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return SavedState()
    except OSError as error:
        raise InputError(f"{path}: state file cannot be read: {error.strerror}") from error
    if len(content) < _HEAD.size:
        raise InputError(f"{path}: state file is cut off at {len(content)} octets")
    magic, epoch, checksum, length = _HEAD.unpack_from(content)
    snapshot = content[_HEAD.size :]
    if magic != _MAGIC:
        raise InputError(f"{path}: not a state file")
    if len(snapshot) != length or zlib.crc32(snapshot) != checksum:
        raise InputError(f"{path}: state file is damaged")
    return SavedState(epoch, snapshot)


def save_state(path: Path, state: SavedState) -> None:
    """Replace the file as a whole; raises ConfigError when the place cannot be written."""
    content = _HEAD.pack(_MAGIC, state.epoch, zlib.crc32(state.snapshot), len(state.snapshot)) + state.snapshot
    beside = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise ConfigError([f"ingest.state_file: {path} cannot be written: {error.strerror}"]) from error


def next_epoch(former: int, now_ms: int) -> int:
    """The epoch of a process that starts now: its start, but always larger than the last one, whatever the clock says."""
    return max(now_ms, former + 1)
