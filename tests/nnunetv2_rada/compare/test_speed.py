"""Times of epochs, and budgets of seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_rada.compare.estimate import Work, estimate
from nnunetv2_rada.compare.speed import EpochClock, Speed, SpeedFile, epoch_length, iterations_of_seconds


def test_epochs_are_timed_from_line_to_line_of_the_log(tmp_path: Path) -> None:
    """The first epoch, which starts up, counts only while there is no other; wall and CPU time are kept apart."""
    now, cpu = iter([0.0, 50.0, 70.0, 90.0]), iter([0.0, 30.0, 40.0, 50.0])
    clock, speeds = EpochClock(lambda: next(cpu), lambda: next(now)), SpeedFile(tmp_path / "epochs.json")
    assert speeds.speed() is None
    for line in ("using device", "2026: Epoch 0 ", "train_loss 1", "2026: Epoch time: 50 s"):
        if (epoch := clock(line)) is not None:
            speeds.add(epoch, iterations=10)
    assert speeds.speed() == Speed(wall=5.0, cpu=3.0)
    for line in ("Epoch 1", "Epoch time: 20 s", "Epoch 2", "Epoch time: 20 s"):
        if (epoch := clock(line)) is not None:
            speeds.add(epoch, iterations=10)
    assert speeds.speed() == Speed(wall=2.0, cpu=1.0)


def test_budgets_count_cpu_seconds_on_a_cpu_and_the_clock_elsewhere() -> None:
    """Where CPU time cannot be told, the clock has to do."""
    assert Speed(wall=2.0, cpu=1.5).seconds("cpu") == 1.5
    assert Speed(wall=2.0, cpu=1.5).seconds("cuda") == 2.0
    assert Speed(wall=2.0, cpu=None).seconds("cpu") == 2.0


@pytest.mark.parametrize("seconds", [3.0, 47.0, 1440.0, 20000.0])
def test_iterations_for_a_budget_fill_it(seconds: float) -> None:
    """Within 3 %, or an iteration; epochs divide them, and are near the length that the speed was measured at."""
    iterations, length = iterations_of_seconds(seconds, 1.9, length=50)
    assert iterations % length == 0
    assert 40 <= length <= 60 or iterations < 40
    assert abs(iterations * 1.9 - seconds) <= max(0.03 * seconds, 1.9)


def test_epochs_are_at_most_the_papers_and_divide_the_iterations() -> None:
    """At least ten of them, where there are iterations enough."""
    assert [epoch_length(total) for total in (6000, 1000, 500, 10, 4)] == [150, 100, 50, 1, 1]


def test_the_estimate_is_a_bound_until_every_trainer_is_measured() -> None:
    """A trainer without a speed counts as the slowest; overheads of finished runs come on top of each."""
    work = [Work(trainer=trainer, iterations=100) for trainer in ("RADA", "MT", "RADA")]
    speeds = {"RADA": Speed(wall=3.0, cpu=None)}
    first = estimate(work, speeds, [])
    assert (first.seconds, first.is_bound, first.knows_overhead) == (900.0, True, False)
    later = estimate(work, {**speeds, "MT": Speed(wall=1.0, cpu=None)}, [10.0, 30.0])
    assert (later.seconds, later.is_bound, later.knows_overhead) == (760.0, False, True)
    assert str(later) == "about 13 min"
