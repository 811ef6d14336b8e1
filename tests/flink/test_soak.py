"""What a soak says of samples."""

from bench.soak import Memory, slope


def test_a_slope_is_that_of_the_second_half_in_megabytes_an_hour() -> None:
    filling = [(float(second), 100_000_000 * second) for second in range(10)]
    flat = [(10.0 + second, 900_000_000) for second in range(10)]
    assert slope(filling + flat) == 0.0
    assert slope([(3_600.0 * hour, 2_000_000 * hour) for hour in range(10)]) == 2.0
    assert slope(flat[:2]) == 0.0


def test_figures_are_by_process() -> None:
    memory = Memory()
    memory.sample({"worker": 1_500_000, "taskmanager": 3_000_000})
    assert memory.figures() == {"worker": {"mb": 1.5, "mb_per_hour": 0.0}, "taskmanager": {"mb": 3.0, "mb_per_hour": 0.0}}
