"""What the loaders of a fold draw."""

from importlib import import_module
from types import SimpleNamespace

import pytest

from nnunetv2_rada.config import Config
from nnunetv2_rada.data.streams import fold_streams
from nnunetv2_rada.method import METHODS
from sparse_annotation_tools.errors import UserError

CASES = SimpleNamespace(cases={name: SimpleNamespace(labelled=name < "m") for name in ("a", "b", "c", "u", "v")})
METHOD = SimpleNamespace(views=("sagittal", "axial"), batches_per_step=1, uses_unlabelled=True)


def streams(training, validation, *, method=METHOD, lines=None, **settings):
    """Training and validation stream."""
    write = (lines if lines is not None else []).append
    return fold_streams(CASES, training, validation, config=Config(**settings), method=method, rank=0, write_line=write)


def test_training_draws_both_streams_and_validation_the_labelled_one():
    """Each network's label channel is its view's."""
    training, validation = streams(["a", "b", "u", "v"], ["c"])
    assert (training.labelled, training.unlabelled) == (["a", "b"], ["u", "v"])
    assert (training.batch_labelled, training.batch_unlabelled) == (2, 2)
    assert (validation.labelled, validation.unlabelled, validation.batch_unlabelled) == (["c"], [], 0)
    assert training.views == [0, 2]
    assert training.stream != validation.stream


def test_a_step_of_several_batches_draws_them_at_once():
    """Sequential updates take three batches; validation takes one."""
    method = SimpleNamespace(views=("axial",), batches_per_step=3, uses_unlabelled=True)
    training, validation = streams(["a", "u"], ["c"], method=method)
    assert (training.batch_labelled, training.batch_unlabelled) == (6, 6)
    assert validation.batch_labelled == 2


def test_few_cases_are_warned_of_and_none_is_refused():
    """No unlabelled scan: the labelled ones serve; one labelled scan that validates itself; no labelled scan."""
    lines = []
    training, _ = streams(["a"], ["a"], lines=lines)
    assert training.unlabelled == ["a"]
    assert ["no unlabelled scans" in lines[0], "validates itself" in lines[1]] == [True, True]
    with pytest.raises(UserError, match="no labelled training case"):
        streams(["u"], ["c"])


def test_unlabelled_samples_that_a_step_does_not_look_at_are_not_drawn():
    """They would take a loader's time; and that there are none is no warning then."""
    lines = []
    method = SimpleNamespace(views=("axial",), batches_per_step=1, uses_unlabelled=False)
    for cases in (["a", "u", "v"], ["a"]):
        training, _ = streams(cases, ["c"], method=method, lines=lines)
        assert (training.unlabelled, training.batch_unlabelled, training.batch_labelled) == ([], 0, 2)
    assert lines == []
    made = {name: getattr(import_module(module), class_name) for name, (module, class_name) in METHODS.items()}
    assert {name for name, method in made.items() if not method.uses_unlabelled} == {"supervised"}
