"""A disk that is really full under the running service: nothing is lost while memory lasts, and it goes on once there is room."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from bus.open import open_source
from common.config import Bus
from tests.ingest.load import Reader, Sender, Tally
from tests.ingest.test_faults import service_in
from tests.ingest.test_service import until

SIZE = 64 << 20
ROOM = 64 << 10
Disk = Callable[[Path], AbstractContextManager[Callable[[], None]]]


@contextmanager
def full_file_system(place: Path) -> Iterator[Callable[[], None]]:
    """A file system of its own with little room; yields what makes room (ENOSPC, as root only)."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system takes root")
    try:
        ballast = place / "ballast"
        ballast.write_bytes(bytes(SIZE - ROOM))
        yield ballast.unlink
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def limited_files(_place: Path) -> Iterator[Callable[[], None]]:
    """Writing beyond some octets of any file fails after a part was written, as on a full disk; yields what makes room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))

    def make_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    try:
        yield make_room
    finally:
        make_room()


@pytest.mark.parametrize("disk", [full_file_system, limited_files])
def test_a_full_disk_costs_nothing_once_there_is_room(tmp_path: Path, disk: Disk) -> None:
    bus = Bus(lanes=1, fsync=False)
    with disk(tmp_path) as make_room:
        service, producer = service_in(tmp_path, bus)
        service.start()
        with Sender(service.addresses[0], flows=24, burst=2) as sender:
            until(lambda: "free some space" in service.status().bus_error)
            reached = sender.sent + 300
            until(lambda: sender.sent >= reached and service.status().waiting_batches > 3)
            assert service.status().running
            make_room()
            until(lambda: service.status().waiting_batches <= 1)
        service.stop()
        producer.close()
        tally = Tally(sender)
        with closing(open_source(bus, tmp_path)) as source:
            reader = Reader(source)
            tally.add(reader)
        assert (tally.missing(), tally.doubled, reader.holes) == ([], [], 0)
    assert service.counters.sum("ingest_bus_errors_total") >= 1
    assert service.counters.sum("ingest_batches_lost_total") == 0
    assert service.counters.sum("ingest_datagrams_dropped_total") == 0
