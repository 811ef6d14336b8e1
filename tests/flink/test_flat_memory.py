"""Memory over an hour of constant load, on real parts; `nephrite bench soak` is the same for any time."""

import shutil

import pytest

from bench import soak

pytestmark = [pytest.mark.campaign]

HOUR: float = 60.0
IDLE: float = 15.0
MOST_MB_PER_HOUR: float = 40.0
MOST_MB: float = 1_000.0


@pytest.mark.skipif(shutil.which("java") is None, reason="no Java")
def test_a_worker_on_flink_stays_flat_beyond_what_it_leaks_when_idle() -> None:
    found = soak.flink(HOUR, IDLE)
    idle, load = found["idle"]["worker"], found["load"]["worker"]
    assert load["mb"] < MOST_MB
    assert load["mb_per_hour"] < max(idle["mb_per_hour"], 0.0) + MOST_MB_PER_HOUR
    assert found["job"]["whole"]["documents"] > 0
    assert found["job"]["whole"]["restarts"] == 0


def test_up_stays_flat() -> None:
    found = soak.up(HOUR)["load"]
    assert set(found) == {"ingest", "pipeline"}
    assert all(0 < each["mb"] < MOST_MB and each["mb_per_hour"] < MOST_MB_PER_HOUR for each in found.values()), found
