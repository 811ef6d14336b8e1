"""The bus as a directory: one process writes, any number of others read.

In: batches per lane. Out: frames in segment files (bus.segments), durable when `flush` returns. A lane is a partition; offsets
are entry numbers, which never fall, over restarts and deletions. Refuses to know the content, and refuses a second writer.

What a crash can leave behind is an unfinished end of the newest segment of a lane: the next writer cuts it off. After a crash of
the machine, entries that a reader has seen may be missing, too; the next writer then leaves a gap in the numbers (`_REBOOT_GAP`),
so that no number is given twice and no reader waits at, or jumps over, a number that means another entry now.
"""

import errno
import fcntl
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from bus.segments import HEAD, FrameReader, Released, bases_in, head_of, lane_folder, lanes_in, segment_path
from common.clock import Clock, wall_clock
from common.errors import BatchTooLargeError, BusError
from common.metrics import Counters

WhenFull = Literal["refuse", "drop_oldest", "drop_newest"]
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_REBOOT_GAP: Final = 1 << 20
_WRITE_AT: Final = 1 << 20
"""Octets sent but not yet written, over all lanes, at which they are written without waiting for a flush."""
_SYNCS: Final = 8
"""Lanes of which the disk is asked for at the same time."""
_NO_ROOM: Final = "free some space there, or lower bus.spool_bytes"
_NO_RIGHT: Final = "give this user the right to write there, or choose another folder by data_dir or bus.url"
_REMEDIES: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _NO_ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM), _NO_RIGHT),
}
_BUFFERS: Final = 512
"""Buffers per writev; IOV_MAX is 1024 on Linux."""


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How large a spool and its segments get, what happens when it is full, and whether flush goes through to the disk."""

    total_bytes: int = 8 << 30
    segment_bytes: int = 64 << 20
    when_full: WhenFull = "refuse"
    fsync: bool = True


DEFAULT_LIMITS: Final = SpoolLimits()


@dataclass(frozen=True, slots=True)
class _Closed:
    base: int
    size: int
    first_ms: int


@dataclass(slots=True)
class _Lane:
    """The writing end of one lane; `size` ends with the last whole frame in the file, `pending` is not in the file yet."""

    folder: Path
    base: int
    fd: int
    size: int
    count: int
    first_ms: int
    closed: deque[_Closed]
    pending: list[bytes] = field(default_factory=list)
    pending_bytes: int = 0
    spoilt: bool = False
    unsynced: bool = False

    @property
    def end(self) -> int:
        return self.base + self.count

    @property
    def bytes(self) -> int:
        return self.size + self.pending_bytes + sum(segment.size for segment in self.closed)


class SpoolProducer:
    """The one writer of a spool. Raises BusError if another process has it open or the folder cannot be written."""

    def __init__(
        self,
        path: Path,
        lanes: int = 16,
        limits: SpoolLimits = DEFAULT_LIMITS,
        counters: Counters | None = None,
        clock: Clock = wall_clock,
    ) -> None:
        self._path = path
        self._limits = limits
        self._counters = Counters() if counters is None else counters
        self._clock = clock
        self._failed = ""
        self._disk: ThreadPoolExecutor | None = None
        self._released = Released(path)
        self._lanes: dict[int, _Lane] = {}
        self._lock = -1
        try:
            with self._located("cannot be opened"):
                path.mkdir(parents=True, exist_ok=True)
                self._lock, rebooted = _lock(path)
                for lane in range(max(lanes, lanes_in(path))):
                    self._lanes[lane] = self._open(lane, rebooted)
                _sync_folder(path)
        except BusError:
            self._let_go()
            raise
        self._bytes = sum(lane.bytes for lane in self._lanes.values())
        self._pending = 0

    def end(self, lane: int) -> int:
        """Offset that the next entry of the lane will get."""
        return self._lane(lane).end

    def send(self, lane: int, value: bytes) -> None:
        """Buffer one batch; raises BusError, without having taken it, when the spool is full or cannot be written."""
        self._check()
        size = HEAD.size + len(value)
        if not self._make_room(size):
            self._counters.add("bus_dropped_total", reason="spool_full_newest")
            return
        into = self._lane(lane)
        if into.size + into.pending_bytes + size > self._limits.segment_bytes and into.count:
            self._roll(into)
        now = self._clock()
        if self._pending + size > _WRITE_AT:
            self._write_all()
        into.first_ms = into.first_ms if into.count else now
        into.pending += (head_of(lane, now, value), value)
        into.pending_bytes += size
        into.count += 1
        self._bytes += size
        self._pending += size
        self._counters.add("bus_entries_total", bus="spool")
        self._counters.add("bus_bytes_total", len(value), bus="spool")

    def flush(self, timeout_s: float) -> None:
        """Write what is buffered and, by setting, wait until the disk has it; a disk is not given up after `timeout_s`."""
        self.publish()
        behind = [lane for lane in self._lanes.values() if lane.unsynced and self._limits.fsync]
        if len(behind) < 2:
            for lane in behind:
                self._sync(lane)
            return
        if self._disk is None:
            self._disk = ThreadPoolExecutor(_SYNCS, "nephrite-fsync")
        # Asked for together they share commits of the file system: 3 ms instead of 39 for 16 lanes on ext4.
        asked = [self._disk.submit(self._sync, lane) for lane in behind]
        wait(asked)
        for sync in asked:
            sync.result()

    def publish(self) -> None:
        """Write what is buffered, so that readers see it, without waiting for the disk."""
        self._check()
        self._write_all()

    def close(self) -> None:
        """Flush, and let the next writer in."""
        if self._lock < 0:
            return
        try:
            if not self._failed:
                self.flush(0.0)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._disk is not None:
            self._disk.shutdown()
        for lane in self._lanes.values():
            os.close(lane.fd)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _check(self) -> None:
        if self._failed or self._lock < 0:
            raise BusError(self._failed or f"spool {self._path}: is closed")

    def _lane(self, lane: int) -> _Lane:
        if lane not in self._lanes:
            with self._located("cannot be extended"):
                self._lanes[lane] = self._open(lane, rebooted=False)
        return self._lanes[lane]

    def _open(self, number: int, rebooted: bool) -> _Lane:
        """Continue behind the last whole frame of a lane, or start it."""
        folder = lane_folder(self._path, number)
        folder.mkdir(exist_ok=True)
        bases = bases_in(folder) or [self._released.get(number)]
        closed = deque(_stat(folder, base) for base in bases[:-1])
        fd = _open_segment(folder, bases[-1])
        scan = FrameReader(fd).scan(0)
        if scan.rest != "nothing":
            self._counters.add("bus_spool_truncated_bytes_total", os.fstat(fd).st_size - scan.end)
            os.ftruncate(fd, scan.end)
        first_ms = _first_ms(fd)
        lane = _Lane(folder, bases[-1], fd, scan.end, scan.frames, first_ms, closed)
        if rebooted or scan.rest == "damaged" or self._released.get(number) > lane.end:
            self._start_segment(lane, max(lane.end, self._released.get(number)) + _REBOOT_GAP)
        return lane

    def _roll(self, lane: _Lane) -> None:
        """Close the lane's segment and start the next one."""
        with self._located("cannot be written"):
            self._write(lane)
            self._sync(lane)
            self._start_segment(lane, lane.end)

    def _start_segment(self, lane: _Lane, base: int) -> None:
        fd = _open_segment(lane.folder, base)
        _sync_folder(lane.folder)
        os.close(lane.fd)
        lane.closed.append(_Closed(lane.base, lane.size, lane.first_ms))
        lane.base, lane.fd, lane.size, lane.count = base, fd, 0, 0

    def _write_all(self) -> None:
        for lane in self._lanes.values():
            if lane.pending:
                self._write(lane)

    def _write(self, lane: _Lane) -> None:
        """Bring what is pending into the file, whole frames at a time; what fails stays pending and leaves nothing behind."""
        with self._located("cannot be written"):
            if lane.spoilt:
                os.ftruncate(lane.fd, lane.size)
                lane.spoilt = False
            while lane.pending:
                group = lane.pending[:_BUFFERS]
                lane.spoilt = True
                size = _write_fully(lane.fd, group)
                lane.spoilt = False
                lane.size += size
                lane.pending_bytes -= size
                self._pending -= size
                del lane.pending[: len(group)]
                lane.unsynced = True

    def _sync(self, lane: _Lane) -> None:
        if not (self._limits.fsync and lane.unsynced):
            return
        try:
            os.fdatasync(lane.fd)
        except OSError as error:
            # The kernel forgets pages that it failed to write: nothing written before is certain any more, and asking again lies.
            self._failed = f"spool {self._path}: the disk did not take what was written: {error.strerror}; check it and restart"
            raise BusError(self._failed) from error
        lane.unsynced = False

    def _make_room(self, size: int) -> bool:
        """Whether `size` octets may be added, after freeing what the policy allows; raises BusError if that is nothing."""
        limit = self._limits.total_bytes
        if self._bytes + size <= limit:
            return True
        if size > limit:
            raise BatchTooLargeError(f"spool {self._path}: a batch of {size} octets is larger than bus.spool_bytes ({limit})")
        self._reclaim()
        if self._limits.when_full == "drop_oldest":
            while self._bytes + size > limit:
                self._drop_oldest()
        if self._bytes + size <= limit:
            return True
        if self._limits.when_full == "refuse":
            raise BusError(
                f"spool full: {self._path} holds {self._bytes} of {limit} octets; start its reader or raise bus.spool_bytes"
            )
        return False

    def _reclaim(self) -> None:
        """Take notice of what the reader has released, and free it."""
        for number, lane in self._lanes.items():
            released = self._released.get(number)
            if lane.count and released >= lane.end:
                self._roll(lane)
            there = set(bases_in(lane.folder))
            ends = (*(segment.base for segment in lane.closed), lane.base)[1:]
            for segment, end in zip(tuple(lane.closed), ends, strict=True):
                if end <= released or segment.base not in there:
                    segment_path(lane.folder, segment.base).unlink(missing_ok=True)
                    lane.closed.remove(segment)
        self._bytes = sum(lane.bytes for lane in self._lanes.values())

    def _drop_oldest(self) -> None:
        """Delete the segment that was begun first, over all lanes, and count the entries that nobody has read."""
        number, lane = min(
            ((number, lane) for number, lane in self._lanes.items() if lane.count or lane.closed),
            key=lambda item: item[1].closed[0].first_ms if item[1].closed else item[1].first_ms,
        )
        if not lane.closed:
            self._roll(lane)
        segment = lane.closed.popleft()
        end = lane.closed[0].base if lane.closed else lane.base
        path = segment_path(lane.folder, segment.base)
        with self._located("cannot be freed"):
            unread = max(segment.base, self._released.get(number))
            frames = _frames_in(path)
            self._counters.add("bus_dropped_total", max(0, min(frames, end - unread)), reason="spool_full_oldest")
            path.unlink(missing_ok=True)
        self._bytes -= segment.size

    @contextmanager
    def _located(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "choose another folder by data_dir or bus.url")
            raise BusError(f"spool {self._path}: {what}: {error.strerror}; {remedy}") from error


def _lock(spool: Path) -> tuple[int, bool]:
    """Become the writer: a descriptor that holds the lock, and whether the machine was started anew since the last writer."""
    fd = os.open(spool / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    holder, _, boot = os.pread(fd, 100, 0).decode(errors="replace").partition(" ")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise BusError(f"spool {spool}: process {holder or '?'} writes it already; stop that one, or use another folder") from error
    now = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "unknown"
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()} {now}".encode(), 0)
    return fd, bool(boot) and boot != now


def _open_segment(folder: Path, base: int) -> int:
    return os.open(segment_path(folder, base), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _first_ms(fd: int) -> int:
    head = os.pread(fd, HEAD.size, 0)
    return int(HEAD.unpack(head)[2]) if len(head) == HEAD.size else 0


def _stat(folder: Path, base: int) -> _Closed:
    fd = os.open(segment_path(folder, base), os.O_RDONLY)
    try:
        return _Closed(base, os.fstat(fd).st_size, _first_ms(fd))
    finally:
        os.close(fd)


def _frames_in(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        reader = FrameReader(fd)
        return reader.hop(0, reader.size(), 1 << 62)[0]
    finally:
        os.close(fd)


def _write_fully(fd: int, buffers: list[bytes]) -> int:
    """Write all octets of the buffers, going on after short writes; returns how many they are."""
    left: list[bytes | memoryview] = list(buffers)
    total = sum(len(buffer) for buffer in buffers)
    written = 0
    while True:
        written += (step := os.writev(fd, left))
        if written == total:
            return total
        while step >= len(left[0]):
            step -= len(left.pop(0))
        left[0] = memoryview(left[0])[step:]
