"""kill -9 of ingest at random moments under load: at most the limit that the documents state is missing, nothing comes twice.

The limit (docs/how-to/ingest.md, "When something is away"): what came in the last `batch_interval_ms`, and while that was decoded
and flushed, here twice the interval. Where a broker goes at the same moment, the bound of a late acknowledgement comes on top.
"""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from bus.kafka_source import close_pool
from bus.open import open_source
from common.config import Bus
from tests.ingest.load import Reader, Sender, Tally, ingest_process, ready_port
from tests.ingest.test_service import until
from tests.servers.kafka import KafkaServer

LIMIT_S = 0.5
ACKNOWLEDGEMENT_S = 1.0
FLOWS = 24
BURST = 3
_DIRECT_BATCHES = 8
"""Batches of a process in Kafka, some seconds' worth: those that it began with, in the spool, are long drained."""
pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Kill:
    """When a process was killed, how much older than that the oldest lost packet may be, and what was sent until its successor."""

    moment: float
    limit_s: float
    successor_ready: int


class Victim:
    """An ingest process under load, killed and started again on the same port and folder."""

    def __init__(self, folder: Path, chance: random.Random, **environment: str) -> None:
        self._folder, self._chance, self._environment = folder, chance, environment
        self._process = ingest_process(folder, 0, **environment)
        self.port = ready_port(self._process)
        self.kills: list[Kill] = []

    def kill(self, sender: Sender, limit_s: float = LIMIT_S, least: int = 300) -> None:
        """At a random moment."""
        reached = sender.sent + self._chance.randint(least, least + 1_500)
        until(lambda: sender.sent >= reached)
        moment = time.monotonic()
        self._process.kill()
        self._process.communicate()
        self._process = ingest_process(self._folder, self.port, **self._environment)
        ready_port(self._process)
        self.kills.append(Kill(moment, limit_s, sender.sent))

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(30) == 0
        self._process.communicate()

    def abandon(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture
def victims() -> Iterator[list[Victim]]:
    started: list[Victim] = []
    yield started
    for victim in started:
        victim.abandon()


def check(tally: Tally, sender: Sender, kills: list[Kill]) -> None:
    """Nothing came twice, and what is missing is excused by a kill."""
    assert tally.doubled == []
    begin = 0
    for kill in kills:
        missing = tally.missing(begin, kill.successor_ready)
        oldest = min(missing, default=kill.successor_ready)
        assert oldest >= sender.sent_by(kill.moment - kill.limit_s), f"{kill.limit_s} s before the kill are not enough"
        begin = kill.successor_ready + 5 * BURST  # what was on its way when the successor said that it is ready
    assert tally.missing(begin) == []


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.campaign) for seed in range(2, 12))])
def test_killed_over_a_spool(tmp_path: Path, victims: list[Victim], seed: int) -> None:
    victim = Victim(tmp_path, random.Random(seed))
    victims.append(victim)
    with Sender(("127.0.0.1", victim.port), flows=FLOWS, burst=BURST) as sender:
        for _ in range(2):
            victim.kill(sender)
        reached = sender.sent + 300
        until(lambda: sender.sent >= reached)
    victim.end()
    tally = Tally(sender)
    with closing(open_source(Bus(), tmp_path)) as source:
        reader = Reader(source)
        tally.add(reader)
    check(tally, sender, victim.kills)
    assert (reader.repeats, reader.holes) == (0, 0)


def until_direct(bus: Bus, folder: Path, epochs: int) -> None:
    """Wait until the last of so many processes hands its batches to Kafka as they come: then only the client has some of them."""
    with closing(open_source(bus, folder)) as source:
        reader = Reader(source)
        seen: Counter[int] = Counter()

        def has_come() -> bool:
            seen.update(header.epoch for header, _ in reader.more() if header.flow_count)
            return len(seen) == epochs and seen[max(seen)] >= _DIRECT_BATCHES

        until(has_come)
    close_pool()  # the broker goes next, and what is read behind that shall not wait for an old connection to notice


@pytest.mark.server("kafka")
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.campaign) for seed in range(1, 8))])
def test_killed_over_kafka_in_an_outage_and_while_it_is_drained(
    broker: KafkaServer, tmp_path: Path, victims: list[Victim], seed: int
) -> None:
    bus = Bus(url=f"kafka://{broker.bootstrap}/killed-{seed}?partitions=2")
    victim = Victim(tmp_path, random.Random(seed), NEPHRITE_BUS__URL=bus.url)
    victims.append(victim)
    with Sender(("127.0.0.1", victim.port), flows=FLOWS, burst=BURST) as sender:
        victim.kill(sender, least=3_000)
        victim.kill(sender, least=3_000)
        until_direct(bus, tmp_path, len(victim.kills) + 1)
        broker.kill()
        if seed % 2:
            victim.kill(sender, LIMIT_S + ACKNOWLEDGEMENT_S, least=1)
        else:  # by then what waited for its acknowledgement is in the spool
            victim.kill(sender, least=9_000)
        victim.kill(sender)
        broker.start()
        victim.kill(sender)
        reached = sender.sent + 3_000
        until(lambda: sender.sent >= reached)
    victim.end()
    last = Victim(tmp_path, random.Random(seed), NEPHRITE_BUS__URL=bus.url)  # drains what is left
    victims.append(last)
    tally, deadline = Tally(sender), time.monotonic() + 60
    with closing(open_source(bus, tmp_path)) as source:
        reader = Reader(source)
        begin = victim.kills[-1].successor_ready + 5 * BURST
        while time.monotonic() < deadline:
            tally.add(reader, 0.2)
            if not tally.missing(begin):
                break
    last.end()
    check(tally, sender, victim.kills)
    assert reader.holes == 0
