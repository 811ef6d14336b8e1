"""What a spool looks like on disk: frames in segment files in a folder per lane.

    spool/lock                          who writes: "pid boot-id", held with flock
    spool/released                      per lane, 8 octets: the offset below which the reader needs nothing
    spool/lane-0003/00000000000000000042.seg1   entries 42, 43, ... of lane 3

A frame is: length of the payload, CRC-32C of all the rest, append time, lane (little-endian, 20 octets), payload. Entries are
numbered in the order of their frames, from the number in the file's name; a segment is closed when there is one with a higher
number. In: a file descriptor and a position. Out: whole frames only. Refuses to know who reads or writes.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from crc32c import crc32c

from common.errors import BusError

HEAD: Final = struct.Struct("<IIQI")
_SUFFIX: Final = ".seg1"
_LANE: Final = "lane-"
_WINDOW: Final = 1 << 16
"""Read at once; a payload that goes beyond is read on its own, so that large payloads are copied once only."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One entry as it is on disk; `end` is the position behind it."""

    lane: int
    append_ms: int
    payload: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Scan:
    """Whole frames from a position on: how many, where they end, and what stands behind them."""

    frames: int
    end: int
    rest: Literal["nothing", "torn", "damaged"]


def head_of(lane: int, append_ms: int, payload: bytes) -> bytes:
    """The 20 octets that go before a payload."""
    head = HEAD.pack(len(payload), 0, append_ms, lane)
    return HEAD.pack(len(payload), _checksum(head, payload), append_ms, lane)


def _checksum(head: bytes, payload: bytes) -> int:
    sealed: int = crc32c(payload, crc32c(head[8:], crc32c(head[:4])))
    return sealed


class FrameReader:
    """Reads frames of one file, from any position, up to the size the file has when asked."""

    __slots__ = ("_fd", "_start", "_window")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._start = 0
        self._window = b""

    def size(self) -> int:
        """Octets in the file now; what was read ahead is forgotten, so that nothing stale is taken for the file."""
        self._window = b""
        return os.fstat(self._fd).st_size

    def frame(self, position: int, size: int) -> Frame | None:
        """The frame at `position` of a file of `size` octets; None if it is not there as a whole, undamaged."""
        head = self._head(position, size)
        if head is None:
            return None
        length, checksum, append_ms, lane = HEAD.unpack(head)
        payload = self._octets(position + HEAD.size, length)
        if len(payload) != length or _checksum(head, payload) != checksum:
            return None
        return Frame(lane, append_ms, payload, position + HEAD.size + length)

    def hop(self, position: int, size: int, most: int) -> tuple[int, int]:
        """Go over at most `most` frames by their lengths alone: how many there were, and the position behind them."""
        frames = 0
        while frames < most and (head := self._head(position, size)) is not None:
            position += HEAD.size + HEAD.unpack(head)[0]
            frames += 1
        return frames, position

    def append_times(self, size: int) -> Iterator[int]:
        """Append time of each frame of a file of `size` octets, from its start, by the heads alone."""
        position = 0
        while (head := self._head(position, size)) is not None:
            length, _, append_ms, _ = HEAD.unpack(head)
            yield append_ms
            position += HEAD.size + length

    def scan(self, position: int) -> Scan:
        """Go over the frames from `position` on, checking each."""
        size = self.size()
        frames = 0
        while (frame := self.frame(position, size)) is not None:
            position, frames = frame.end, frames + 1
        if position == size:
            return Scan(frames, position, "nothing")
        return Scan(frames, position, "torn" if self._head(position, size) is None else "damaged")

    def _head(self, position: int, size: int) -> bytes | None:
        """The head at `position` if its whole frame lies within `size`."""
        if position + HEAD.size > size:
            return None
        head = self._octets(position, HEAD.size)
        if len(head) < HEAD.size or position + HEAD.size + HEAD.unpack(head)[0] > size:
            return None
        return head

    def _octets(self, position: int, count: int) -> bytes:
        if count > _WINDOW:
            return os.pread(self._fd, count, position)
        within = position - self._start
        if within < 0 or within + count > len(self._window):
            self._start, within = position, 0
            self._window = os.pread(self._fd, _WINDOW, position)
        return self._window[within : within + count]


def lane_folder(spool: Path, lane: int) -> Path:
    """Where the segments of a lane are."""
    return spool / f"{_LANE}{lane:04d}"


def segment_path(folder: Path, base: int) -> Path:
    """File of the entries from number `base` on."""
    return folder / f"{base:020d}{_SUFFIX}"


def lanes_in(spool: Path) -> int:
    """How many lanes a spool has: one more than the highest lane with a folder; 0 for a spool that nobody has written yet."""
    try:
        names = [entry.name for entry in spool.iterdir()]
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise BusError(f"spool {spool}: cannot be read: {error.strerror}") from error
    return max(
        (int(name[len(_LANE) :]) + 1 for name in names if name.startswith(_LANE) and name[len(_LANE) :].isdigit()), default=0
    )


def bases_in(folder: Path) -> list[int]:
    """First entry numbers of a lane's segments, rising; empty if there are none."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BusError(f"spool {folder}: cannot be read: {error.strerror}") from error
    return sorted(int(name[: -len(_SUFFIX)]) for name in names if name.endswith(_SUFFIX) and name[: -len(_SUFFIX)].isdigit())


class Released:
    """The small file that says, per lane, below which offset the reader needs nothing."""

    def __init__(self, spool: Path) -> None:
        self._path = spool / "released"

    def get(self, lane: int) -> int:
        """The released offset of a lane, 0 if none was ever released."""
        try:
            with self._path.open("rb") as file:
                stored = os.pread(file.fileno(), 8, lane * 8)
        except FileNotFoundError:
            return 0
        return int.from_bytes(stored, "little") if len(stored) == 8 else 0

    def put(self, lane: int, offset: int) -> None:
        """Record it: 8 aligned octets, which are on disk either before or after, never half."""
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(fd, offset.to_bytes(8, "little"), lane * 8)
        finally:
            os.close(fd)
