"""Reading a spool, in any process, while another one writes it.

In: segment files (bus.segments). Out: whole, undamaged entries from any offset. Refuses to keep positions for its user; it only
remembers where in which file the last read of a partition ended. Nothing tells a reader that a file grew, so waiting is looking
again, every `_LOOK_AGAIN_S`.
"""

import os
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from bus.contract import Entry
from bus.segments import FrameReader, Released, bases_in, lane_folder, lanes_in, segment_path
from common.errors import BusError, OffsetGoneError
from common.metrics import Counters

_LOOK_AGAIN_S: Final = 0.02


class _Cursor:
    """A place in one segment: frame number `offset` begins at `position`."""

    __slots__ = ("base", "fd", "frames", "offset", "position")

    def __init__(self, path: Path, base: int) -> None:
        self.fd = os.open(path, os.O_RDONLY)
        self.frames = FrameReader(self.fd)
        self.base = base
        self.offset = base
        self.position = 0

    def rewind(self) -> None:
        self.offset, self.position = self.base, 0

    def skip_to(self, offset: int) -> None:
        """Go on to frame `offset`, or to the end of what is there."""
        frames, self.position = self.frames.hop(self.position, self.frames.size(), offset - self.offset)
        self.offset += frames

    def take(self, partition: int, max_bytes: int) -> list[Entry]:
        entries: list[Entry] = []
        size = self.frames.size()
        while max_bytes > 0 and (frame := self.frames.frame(self.position, size)) is not None:
            entries.append(Entry(partition, self.offset, frame.lane, frame.append_ms, frame.payload))
            self.offset += 1
            self.position = frame.end
            max_bytes -= len(frame.payload)
        return entries

    def damaged(self) -> bool:
        """Whether something stands here that is no frame."""
        return self.position < self.frames.size()

    def close(self) -> None:
        os.close(self.fd)


class SpoolSource:
    """The reading end, of `lanes` partitions or more if more were written; a folder that is not there yet is an empty spool."""

    def __init__(self, path: Path, lanes: int = 0, counters: Counters | None = None) -> None:
        self._path = path
        self._lanes = lanes
        self._counters = Counters() if counters is None else counters
        self._released = Released(path)
        self._cursors: dict[int, _Cursor] = {}
        self._ends: dict[int, _Cursor] = {}
        lanes_in(path)

    @property
    def partitions(self) -> int:
        """How many lanes there are, as told or as found."""
        return max(self._lanes, lanes_in(self._path))

    def home_of(self, lane: int) -> int:
        """A lane is its own partition."""
        return lane

    def begin(self, partition: int) -> int:
        """Number of the oldest entry still there."""
        folder = lane_folder(self._path, partition)
        bases = bases_in(folder)
        filled = (base for base in bases[:-1] if _size(segment_path(folder, base)))
        return next(filled, bases[-1] if bases else 0)

    def end(self, partition: int) -> int:
        """Number behind the newest whole entry; found by going over what was added since the last call."""
        folder = lane_folder(self._path, partition)
        while bases := bases_in(folder):
            cursor = self._at(self._ends, partition, bases[-1])
            if cursor is not None:
                cursor.skip_to(1 << 62)
                return cursor.offset
        return 0

    def read(self, partition: int, offset: int, max_bytes: int, wait_s: float = 0.0) -> Sequence[Entry]:
        """Entries from `offset` on; see the contract."""
        deadline = time.monotonic() + wait_s
        while not (entries := self._read_now(partition, offset, max(1, max_bytes))):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, _LOOK_AGAIN_S))
        return entries

    def offset_at(self, partition: int, time_ms: int) -> int:
        """Number of the first entry taken at `time_ms` or later; reads the heads of one segment's frames."""
        folder = lane_folder(self._path, partition)
        bases = bases_in(folder)
        for base, later in zip(bases, [*bases, None][1:], strict=True):
            if later is not None and (self._first_ms(folder, later) or 0) < time_ms:
                continue
            for offset, append_ms in self._append_times(folder, base):
                if append_ms >= time_ms:
                    return offset
        return self.end(partition)

    def released(self, partition: int) -> int | None:
        """As the file says that the spool's reader writes."""
        return self._released.get(partition)

    def release(self, partition: int, offset: int) -> None:
        """Record the offset and delete the segments that end at or below it."""
        folder = lane_folder(self._path, partition)
        try:
            if offset > self._released.get(partition):
                self._released.put(partition, offset)
            bases = bases_in(folder)
            for base, end in pairwise(bases):
                if end <= offset:
                    segment_path(folder, base).unlink(missing_ok=True)
        except OSError as error:
            raise BusError(
                f"spool {self._path}: cannot release entries: {error.strerror}; the reader must be able to write"
            ) from error

    def close(self) -> None:
        """Close the files."""
        for cursor in (*self._cursors.values(), *self._ends.values()):
            cursor.close()
        self._cursors.clear()
        self._ends.clear()

    def _first_ms(self, folder: Path, base: int) -> int | None:
        return next((append_ms for _, append_ms in self._append_times(folder, base)), None)

    def _append_times(self, folder: Path, base: int) -> Iterator[tuple[int, int]]:
        """Number and append time of each entry of a segment; nothing of one that was deleted."""
        try:
            fd = os.open(segment_path(folder, base), os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            frames = FrameReader(fd)
            yield from enumerate(frames.append_times(frames.size()), base)
        finally:
            os.close(fd)

    def _read_now(self, partition: int, offset: int, max_bytes: int) -> Sequence[Entry]:
        cursor = self._locate(partition, offset)
        while cursor is not None:
            # Asked before the segment is read: if there is a later one, this one has got all that it will ever have.
            later = self._later(partition, cursor)
            cursor.skip_to(offset)
            if entries := cursor.take(partition, max_bytes) if cursor.offset >= offset else []:
                return entries
            if later is None:
                return []
            if cursor.damaged():
                self._counters.add("bus_spool_damaged_total")
            cursor = self._at(self._cursors, partition, later)
        return []

    def _locate(self, partition: int, offset: int) -> _Cursor | None:
        """A cursor in the segment that has, or would have, this entry; raises OffsetGoneError if it was deleted."""
        kept = self._cursors.get(partition)
        if kept is not None and kept.offset == offset:
            return kept
        folder = lane_folder(self._path, partition)
        while bases := bases_in(folder):
            if offset < bases[0]:
                raise OffsetGoneError(f"spool {folder}: starts at entry {bases[0]}, {offset} is gone")
            cursor = self._at(self._cursors, partition, max(base for base in bases if base <= offset))
            if cursor is not None:
                if cursor.offset > offset:
                    cursor.rewind()
                return cursor
        return None

    def _later(self, partition: int, cursor: _Cursor) -> int | None:
        """Where the segment after the cursor's begins, if there is one; raises OffsetGoneError if some between were deleted."""
        folder = lane_folder(self._path, partition)
        bases = bases_in(folder)
        later = next((base for base in bases if base > cursor.base), None)
        if later is not None and cursor.base not in bases and later > cursor.offset:
            raise OffsetGoneError(f"spool {folder}: starts at entry {later}, {cursor.offset} is gone")
        return later

    def _at(self, kept: dict[int, _Cursor], partition: int, base: int) -> _Cursor | None:
        """The kept cursor if it is in this segment, else a new one at its start; None if it was deleted meanwhile."""
        cursor = kept.get(partition)
        if cursor is not None and cursor.base == base:
            return cursor
        if cursor is not None:
            kept.pop(partition).close()
        try:
            kept[partition] = _Cursor(segment_path(lane_folder(self._path, partition), base), base)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BusError(f"spool {self._path}: cannot be read: {error.strerror}") from error
        return kept[partition]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
