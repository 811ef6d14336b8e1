"""Memory over an hour of constant load, on real parts; `nephrite bench soak` is the same for any time."""

import shutil

import pytest

from bench import soak, soak_up

pytestmark = [pytest.mark.campaign]

HOUR: float = 60.0
IDLE: float = 15.0
MOST_MB_PER_HOUR: float = 40.0
MOST_MB: float = 1_000.0


RATE: int = 2_000


@pytest.mark.skipif(shutil.which("java") is None, reason="no Java")
def test_a_worker_on_flink_stays_flat_beyond_what_it_leaks_when_idle() -> None:
    found = soak.flink(HOUR, IDLE, RATE)
    assert found.idle
    idle, load = found.idle.slopes["worker"], found.load.slopes["worker"]
    assert load["mb"] < MOST_MB
    assert load["mb_per_hour"] < max(idle["mb_per_hour"], 0.0) + MOST_MB_PER_HOUR
    assert found.counts["documents"] > 0
    assert found.written == found.sent
    assert found.counts["restarts"] == 0


def test_up_stays_flat() -> None:
    found = soak_up.up(HOUR, RATE)
    assert found.load.slopes.keys() == set(soak_up.SERVICES)
    assert all(0 < each["mb"] < MOST_MB and each["mb_per_hour"] < MOST_MB_PER_HOUR for each in found.load.slopes.values()), found
    assert found.written == found.sent
    assert found.counts["raw flows stored"] == found.sent.flows
