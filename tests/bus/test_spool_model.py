"""The spool against a list: any order of writing, reading, releasing, restarting, being killed and losing power."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from bus.contract import Entry
from bus.segments import bases_in, lane_folder, segment_path
from bus.spool import SpoolLimits, SpoolProducer
from bus.spool_source import SpoolSource

LIMITS = SpoolLimits(segment_bytes=100, fsync=False)


class SpoolModel(RuleBasedStateMachine):
    """`log` is what must be there: number and value of each entry that was written and not lost with the machine."""

    folder: Path

    @initialize()
    def start(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.generation = 0
        self.count = 0
        self.log: list[tuple[int, bytes]] = []
        self.seen: dict[int, bytes] = {}
        self.unflushed: list[tuple[int, bytes]] = []
        self.released = 0
        self.position = 0
        self.producer = SpoolProducer(self.path, 1, LIMITS)
        self.source = SpoolSource(self.path)

    @property
    def path(self) -> Path:
        return self.folder / str(self.generation)

    @rule(size=st.integers(0, 150))
    def send(self, size: int) -> None:
        self.count += 1
        value = b"%d " % self.count + bytes(size)
        self.unflushed.append((self.producer.end(0), value))
        self.producer.send(0, value)

    @rule()
    def flush(self) -> None:
        self.producer.flush(1)
        self.log += self.unflushed
        self.unflushed = []

    @rule(max_bytes=st.integers(1, 400))
    def read_on(self, max_bytes: int) -> None:
        """One read of a reader that remembers where it stands, as a service does."""
        entries = self.source.read(0, self.position, max_bytes)
        self.check(entries, self.position)
        if entries:
            self.position = entries[-1].offset + 1

    @rule(back=st.integers(0, 20))
    def read_again(self, back: int) -> None:
        start = max(self.source.begin(0), self.position - back)
        self.check(self.source.read(0, start, 1 << 20), start)

    @rule()
    def release(self) -> None:
        self.source.release(0, self.position)
        self.released = max(self.released, self.position)

    @rule()
    def restart(self) -> None:
        self.producer.close()
        self.log += self.unflushed
        self.unflushed = []
        self.producer = SpoolProducer(self.path, 1, LIMITS)

    @rule()
    def kill(self) -> None:
        """What was written, flushed or not, is in the kernel's hands; what was buffered is gone."""
        self.survive()
        written = [offset for offset, _ in self.unflushed if offset < self.source.end(0)]
        self.log += self.unflushed[: len(written)]
        self.unflushed = []
        self.producer = SpoolProducer(self.path, 1, LIMITS)

    @rule(lost=st.integers(1, 300))
    def lose_power(self, lost: int) -> None:
        """The newest octets never reached the disk, though readers may have seen them."""
        self.survive()
        folder = lane_folder(self.path, 0)
        newest = segment_path(folder, bases_in(folder)[-1])
        content = newest.read_bytes()
        newest.write_bytes(content[: max(0, len(content) - lost)])
        (self.path / "lock").write_text("1 another-boot")
        everything = self.log + self.unflushed
        self.producer = SpoolProducer(self.path, 1, LIMITS)
        last = SpoolSource(self.path)
        left = {entry.offset for entry in last.read(0, last.begin(0), 1 << 20)}
        while found := last.read(0, max(left, default=last.begin(0) - 1) + 1, 1 << 20):
            left |= {entry.offset for entry in found}
        last.close()
        self.log = [item for item in everything if item[0] in left]
        self.unflushed = []

    def survive(self) -> None:
        before = self.path
        self.source.close()
        self.generation += 1
        shutil.copytree(before, self.path)
        forgotten = self.producer
        self.source = SpoolSource(self.path)
        forgotten.close()

    def check(self, entries: Sequence[Entry], start: int) -> None:
        found = [(entry.offset, entry.value) for entry in entries]
        wanted = [item for item in self.log + self.unflushed if item[0] >= start]
        assert found == wanted[: len(found)]
        assert found or not [item for item in self.log if item[0] >= start]
        for offset, value in found:
            assert self.seen.setdefault(offset, value) == value, "a number that meant something else before"

    @invariant()
    def bounds_hold(self) -> None:
        if not hasattr(self, "source"):
            return
        begin, end = self.source.begin(0), self.source.end(0)
        assert begin <= end
        assert begin <= min((offset for offset, _ in self.log if offset >= self.released), default=end)
        assert all(offset < end for offset, _ in self.log)

    def teardown(self) -> None:
        if hasattr(self, "producer"):
            self.producer.close()
            self.source.close()


def test_a_spool_is_a_list_that_survives(tmp_path: Path) -> None:
    SpoolModel.folder = tmp_path
    run_state_machine_as_test(SpoolModel, settings=settings(stateful_step_count=40))
