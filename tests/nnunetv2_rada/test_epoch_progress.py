"""Where an epoch stands."""

import pytest

from nnunetv2_rada.epoch_progress import EpochProgress


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self):
        """Now."""
        return self.now


def test_waiting_is_the_time_between_iterations():
    """Three seconds of work and one of waiting, twice: a quarter."""
    clock = Clock()
    progress = EpochProgress(0, clock)
    clock.now += 1000  # validation, checkpoints: before the epoch
    progress.begin()
    for number in range(2):
        clock.now += 1
        with progress.iteration():
            clock.now += 3
            progress.outputs.append({"loss": number})
    outputs, waited = progress.end()
    assert waited == pytest.approx(0.25)
    assert [output["loss"] for output in outputs] == [0, 1]
    assert progress.outputs == []


def test_checkpoints_are_due_after_the_interval_and_never_with_zero():
    """The clock starts anew with every checkpoint."""
    clock = Clock()
    often, never = EpochProgress(1.5, clock), EpochProgress(0, clock)
    assert not often.checkpoint_is_due
    clock.now += 90
    assert often.checkpoint_is_due
    assert not never.checkpoint_is_due
    often.saved()
    assert not often.checkpoint_is_due


def test_a_started_epoch_goes_on_after_its_outputs():
    """What was done before counts to the epoch's end."""
    progress = EpochProgress(0)
    progress.restore([{"loss": 1.0}])
    progress.begin()
    with progress.iteration():
        progress.outputs.append({"loss": 2.0})
    assert progress.end()[0] == [{"loss": 1.0}, {"loss": 2.0}]
