"""What only a spool has: files that can be torn, damaged, full, locked, and left behind by a crash."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.segments import HEAD, lane_folder, segment_path
from bus.spool import SpoolLimits, SpoolProducer
from bus.spool_source import SpoolSource
from common.errors import BusError
from common.metrics import Counters
from tests.bus.buses import eventually, read_all, read_back, values

ENTRIES = [b"", b"one", b"two" * 30, b"\0" * 40, b"five"]
FAST = SpoolLimits(fsync=False)


def written(path: Path, limits: SpoolLimits = FAST) -> bytes:
    """A spool of one lane with ENTRIES; returns its only segment."""
    producer = SpoolProducer(path, 1, limits)
    for value in ENTRIES:
        producer.send(0, value)
    producer.close()
    return segment_path(lane_folder(path, 0), 0).read_bytes()


def damaged(path: Path, content: bytes) -> Path:
    """A spool with `content` for its only segment."""
    shutil.rmtree(path, ignore_errors=True)
    lane_folder(path, 0).mkdir(parents=True)
    segment_path(lane_folder(path, 0), 0).write_bytes(content)
    return path


def whole_before(position: int) -> int:
    """How many of ENTRIES lie before `position` as a whole."""
    ends = [sum(HEAD.size + len(value) for value in ENTRIES[: number + 1]) for number in range(len(ENTRIES))]
    return sum(end <= position for end in ends)


def write_on(path: Path, value: bytes, counters: Counters | None = None) -> None:
    producer = SpoolProducer(path, 1, FAST, counters)
    producer.send(0, value)
    producer.close()


def test_a_segment_cut_anywhere_gives_whole_entries_only_and_can_be_continued(tmp_path: Path) -> None:
    content = written(tmp_path / "whole")
    for cut in range(len(content) + 1):
        path = damaged(tmp_path / "cut", content[:cut])
        whole = ENTRIES[: whole_before(cut)]
        assert read_back(path) == whole, cut
        counters = Counters()
        write_on(path, b"next", counters)
        assert read_back(path) == [*whole, b"next"], cut
        rest = cut - sum(HEAD.size + len(value) for value in whole)
        assert counters.value("bus_spool_truncated_bytes_total") == rest, cut


def test_a_reader_that_saw_the_torn_end_reads_what_replaces_it(tmp_path: Path) -> None:
    content = written(tmp_path / "whole")
    path = damaged(tmp_path / "cut", content[:-2])
    source = SpoolSource(path)
    assert values(read_all(source, 0)) == ENTRIES[:-1]
    write_on(path, b"another, longer than what was there")
    assert values(source.read(0, len(ENTRIES) - 1, 1000)) == [b"another, longer than what was there"]
    source.close()


@given(st.data())
def test_a_damaged_entry_is_never_returned_nor_is_anything_changed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    content = bytearray(written(folder / "whole"))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    whole = ENTRIES[: whole_before(place)]
    path = damaged(folder / "flipped", bytes(content))
    assert read_back(path) == whole
    write_on(path, b"next")
    assert read_back(path) == [*whole, b"next"]


def test_the_rest_of_a_damaged_closed_segment_is_skipped_and_counted(tmp_path: Path) -> None:
    producer = SpoolProducer(tmp_path, 1, SpoolLimits(segment_bytes=100, fsync=False))
    for number in range(12):
        producer.send(0, b"%05d" % number)
    producer.close()
    first = segment_path(lane_folder(tmp_path, 0), 0)
    content = bytearray(first.read_bytes())
    content[HEAD.size + 5 + HEAD.size] ^= 1
    first.write_bytes(content)
    counters = Counters()
    source = SpoolSource(tmp_path, counters=counters)
    assert values(read_all(source, 0)) == [b"00000"] + [b"%05d" % number for number in range(4, 12)]
    assert counters.as_map() == {"bus_spool_damaged_total": 1}
    source.close()


def test_after_damage_in_the_newest_segment_no_number_is_given_twice(tmp_path: Path) -> None:
    content = bytearray(written(tmp_path))
    content[-1] ^= 1
    segment_path(lane_folder(tmp_path, 0), 0).write_bytes(content)
    source = SpoolSource(tmp_path)
    write_on(tmp_path, b"next")
    entries = read_all(source, 0)
    assert values(entries) == [*ENTRIES[:-1], b"next"]
    assert entries[-1].offset >= len(ENTRIES)
    source.close()


def test_after_a_restart_of_the_machine_a_reader_ahead_of_what_survived_misses_nothing(tmp_path: Path) -> None:
    written(tmp_path)
    position = len(ENTRIES)
    segment = segment_path(lane_folder(tmp_path, 0), 0)
    segment.write_bytes(segment.read_bytes()[: -HEAD.size - len(ENTRIES[-1])])
    (tmp_path / "lock").write_text("1 another-boot")
    write_on(tmp_path, b"next")
    source = SpoolSource(tmp_path)
    assert values(source.read(0, position, 1000)) == [b"next"]
    assert source.end(0) > position + 1
    source.close()


def test_a_restart_of_the_machine_with_nothing_written_leaves_an_empty_log(tmp_path: Path) -> None:
    SpoolProducer(tmp_path, 1, FAST).close()
    (tmp_path / "lock").write_text("1 another-boot")
    SpoolProducer(tmp_path, 1, FAST).close()
    source = SpoolSource(tmp_path)
    assert source.begin(0) == source.end(0)
    source.close()


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "lane-notes").mkdir()
    (lane_folder(tmp_path, 0) / "notes.seg1").write_text("mine")
    assert read_back(tmp_path) == ENTRIES
    assert SpoolSource(tmp_path).partitions == 1


def test_a_second_writer_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    first = SpoolProducer(tmp_path, 1, FAST)
    with pytest.raises(BusError, match=f"process {os.getpid()} writes it already; stop that one"):
        SpoolProducer(tmp_path, 1, FAST)
    first.close()
    SpoolProducer(tmp_path, 1, FAST).close()


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that users other than root can get to, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """Be a user who may read `folder` but not write it."""
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_a_folder_that_may_not_be_written_is_an_error_with_its_path(public_folder: Path) -> None:
    path = public_folder / "spool"
    with without_rights(public_folder), pytest.raises(BusError, match=f"spool {path}: cannot be opened: Permission denied; give"):
        SpoolProducer(path, 1, FAST)
    assert list(public_folder.iterdir()) == []


def test_a_reader_without_the_right_to_write_reads_but_cannot_release(public_folder: Path) -> None:
    written(public_folder)
    with without_rights(public_folder):
        assert read_back(public_folder) == ENTRIES
        source = SpoolSource(public_folder)
        with pytest.raises(BusError, match="cannot release entries: Permission denied"):
            source.release(0, 3)
        source.close()


def test_a_spool_that_could_not_be_opened_is_not_locked(public_folder: Path) -> None:
    written(public_folder)
    public_folder.chmod(0o777)
    (public_folder / "lock").chmod(0o666)
    segment_path(lane_folder(public_folder, 0), 0).chmod(0o444)
    with without_rights(lane_folder(public_folder, 0)), pytest.raises(BusError, match="cannot be opened: Permission denied"):
        SpoolProducer(public_folder, 1, FAST)
    segment_path(lane_folder(public_folder, 0), 0).chmod(0o644)
    write_on(public_folder, b"next")
    assert read_back(public_folder) == [*ENTRIES, b"next"]


def test_flush_asks_the_disk_for_every_lane_that_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: asked.append(Path(f"/proc/self/fd/{fd}").readlink().parent.name))
    producer = SpoolProducer(tmp_path, 4)
    for lane in (0, 2, 3):
        producer.send(lane, b"value")
    producer.flush(1)
    assert sorted(asked) == ["lane-0000", "lane-0002", "lane-0003"]
    producer.flush(1)
    producer.send(1, b"value")
    producer.close()
    assert sorted(asked) == ["lane-0000", "lane-0001", "lane-0002", "lane-0003"]


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_disk_that_loses_writes_ends_the_producer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lanes: int) -> None:
    """No real disk fails on demand; after one did, what the kernel still shows of the file proves nothing."""

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    producer = SpoolProducer(tmp_path, lanes)
    for lane in range(lanes):
        producer.send(lane, b"value")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        with pytest.raises(BusError, match=r"the disk did not take what was written: Input/output error; check it and restart"):
            producer.flush(1)
    attempts: tuple[Callable[[], None], ...] = (lambda: producer.send(0, b"more"), lambda: producer.flush(1))
    for attempt in attempts:
        with pytest.raises(BusError, match="check it and restart"):
            attempt()
    producer.close()
    write_on(tmp_path, b"after the repair")
    assert read_back(tmp_path) == [b"value", b"after the repair"]


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Writing beyond `limit` octets of any file fails, as it does on a full disk: after a part was written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_half_way_leaves_no_half_entry_and_is_made_good_later(tmp_path: Path) -> None:
    producer = SpoolProducer(tmp_path, 1, FAST)
    source = SpoolSource(tmp_path)
    producer.send(0, b"a" * 600)
    producer.flush(1)
    producer.send(0, b"b" * 600)
    with file_size_limit(1000), pytest.raises(BusError, match=r"cannot be written: File too large; free some space"):
        producer.flush(1)
    assert values(read_all(source, 0)) == [b"a" * 600]
    producer.send(0, b"c")
    producer.flush(1)
    assert values(read_all(source, 0)) == [b"a" * 600, b"b" * 600, b"c"]
    producer.close()
    source.close()


def test_a_full_disk_stops_input_before_memory_grows(tmp_path: Path) -> None:
    counters = Counters()
    producer = SpoolProducer(tmp_path, 1, FAST, counters)
    with file_size_limit(1000), pytest.raises(BusError, match="cannot be written"):
        send_many(producer, 100)
    assert counters.value("bus_entries_total", bus="spool") == 10
    producer.close()
    assert read_back(tmp_path) == [bytes(100_000)] * 10


def send_many(producer: SpoolProducer, number: int) -> None:
    for _ in range(number):
        producer.send(0, bytes(100_000))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_file_system_is_an_error_and_heals_when_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False, capture_output=True).returncode:
        pytest.skip("this container may not mount")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(500_000))
        producer = SpoolProducer(disk / "spool", 2, SpoolLimits())
        for number in range(8):
            producer.send(number % 2, bytes(100_000))
        with pytest.raises(BusError, match=os.strerror(errno.ENOSPC)):
            producer.flush(1)
        source = SpoolSource(disk / "spool")
        before = len(read_all(source, 0)) + len(read_all(source, 1))
        assert before < 8
        ballast.unlink()
        producer.flush(1)
        assert [len(read_all(source, lane)) for lane in (0, 1)] == [4, 4]
        producer.close()
        source.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


WRITER = """
import sys
from pathlib import Path
from bus.spool import SpoolLimits, SpoolProducer
producer = SpoolProducer(Path(sys.argv[1]), 3, SpoolLimits(segment_bytes=200_000))
number = producer.end(0)
while True:
    for lane in range(3):
        producer.send(lane, b"%d/%d " % (lane, number) * (1 + number % 997))
    number += 1
    if number % 5 == 0:
        producer.flush(1)
        print(number, flush=True)
"""


def test_what_was_flushed_survives_a_killed_writer(tmp_path: Path) -> None:
    """SIGKILL at a moment that nobody chose, three times over: all that was acknowledged is there, in order, undamaged."""
    root = Path(__file__).parents[2]
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(root)}) as writer:
            assert writer.stdout is not None
            acknowledged = 0
            for _ in range(40):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split("\n")[:-1])])
        producer, source = SpoolProducer(tmp_path, 3), SpoolSource(tmp_path)
        for lane in range(3):
            found = values(read_all(source, lane))
            assert len(found) >= acknowledged
            assert found == [b"%d/%d " % (lane, number) * (1 + number % 997) for number in range(len(found))]
            assert source.end(lane) == producer.end(lane) == len(found)
        producer.close()
        # Lanes are level again, so that the next writer goes on with one number for all.
        level(tmp_path, source)
        source.close()


def level(path: Path, source: SpoolSource) -> None:
    producer = SpoolProducer(path, 3)
    most = max(source.end(lane) for lane in range(3))
    for lane in range(3):
        for number in range(source.end(lane), most):
            producer.send(lane, b"%d/%d " % (lane, number) * (1 + number % 997))
    producer.close()


def test_a_reader_follows_a_writer_of_another_process_while_it_is_killed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    source = SpoolSource(tmp_path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(root)}) as writer:
        eventually(lambda: len(source.read(0, 0, 1)) == 1, "the first entry")
        found = read_all(source, 0, count=100)
        writer.kill()
    found += read_all(source, 0, found[-1].offset + 1)
    assert values(found) == [b"0/%d " % number * (1 + number % 997) for number in range(len(found))]
    source.close()
