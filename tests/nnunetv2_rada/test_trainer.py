"""The trainer's hooks one by one; tests/end_to_end drives them through the stock commands."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nnunetv2_rada.config import Config
from nnunetv2_rada.curves import Curves
from nnunetv2_rada.data.quarter_turns import QuarterTurnsAndFlip
from nnunetv2_rada.data.transforms import FollowCoordinates
from nnunetv2_rada.epoch_progress import EpochProgress
from nnunetv2_rada.method import make_method
from nnunetv2_rada.trainer import nnUNetTrainerRADA
from nnunetv2_rada.training_checks import too_small_batches_refused
from nnunetv2_rada.variants import TRAINERS
from sparse_annotation_tools.processes.lock import FileLock
from sparse_annotation_tools.schema import VIEWS


class NotANumber:
    """A method whose loss is NaN."""

    scalars: dict = {}  # noqa: RUF012

    def learning_rate(self, iteration):
        """No rates."""
        return {}

    def step(self, batch, iteration):
        """One loss."""
        yield "axial", torch.tensor(torch.nan)


class OneLoss(NotANumber):
    """A method whose loss is the iteration."""

    def step(self, batch, iteration):
        """One loss."""
        yield "axial", torch.tensor(float(iteration))


class OneValue(NotANumber):
    """A method whose network normalizes patches of one voxel."""

    def __init__(self, norm, batch):
        self.norm, self.batch = norm, batch

    def step(self, batch, iteration):
        """A loss of normalized features."""
        yield "mt", self.norm(2)(torch.zeros(self.batch, 2, 1, 1, 1)).sum()


def make_trainer(method, *, checkpoint_minutes=0.0, clock=lambda: 0.0, folder=None):
    """A trainer with a method, and nothing of nnU-Net's own setting up."""
    trainer = object.__new__(nnUNetTrainerRADA)
    trainer.config = Config(num_iterations=20, iterations_per_epoch=10, checkpoint_minutes=checkpoint_minutes)
    trainer.progress = EpochProgress(checkpoint_minutes, clock)
    trainer.network = SimpleNamespace(method=method)
    trainer.optimizer = SimpleNamespace(set_learning_rates=lambda rates: None, update=lambda *_: None)
    trainer.prompts, trainer.grad_scaler, trainer.device, trainer.local_rank = None, None, torch.device("cpu"), 0
    trainer.output_folder, trainer.is_ddp = str(folder), False
    trainer.labelled_training_cases = ()
    trainer.configuration_manager = SimpleNamespace(patch_size=[16, 16, 16])
    return trainer


def loaded(iteration):
    """A batch from a loader."""
    names = ("image", "label", "distance", "annotation", "plane", "confidence")
    return {"iteration": iteration, "keys": ["one", "two"], **{name: torch.zeros(1) for name in names}}


def test_a_loss_that_is_nan_stops_training_with_one_line(capsys):
    """Status 2, the network, the iteration and the cases; no update with it, and no checkpoint."""
    trainer = make_trainer(NotANumber())
    trainer.optimizer.update = trainer.save_checkpoint = lambda *_: pytest.fail("went on")
    with pytest.raises(SystemExit) as stopped:
        trainer.train_step(loaded(7))
    assert stopped.value.code == 2
    assert "the loss of axial is nan at iteration 7" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("norm", "batch", "advice"),
    [
        (torch.nn.BatchNorm3d, 1, "set batch_labelled and batch_unlabelled to 2 or more, or a larger max_patch_voxels"),
        (torch.nn.InstanceNorm3d, 2, "set a larger max_patch_voxels"),
    ],
)
def test_a_batch_that_leaves_one_value_to_a_normalization_is_refused(norm, batch, advice, capsys):
    """One line, status 2, and which settings help; other errors stay what they are."""
    with pytest.raises(SystemExit) as stopped:
        make_trainer(OneValue(norm, batch)).train_step(loaded(0))
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "patches of 16x16x16 voxels leave" in line
    assert line.endswith(f"; {advice}")
    with pytest.raises(ValueError, match="other"), too_small_batches_refused([16, 16, 16]):
        raise ValueError("other")


def test_a_second_training_in_one_folder_is_refused(tmp_path, capsys):
    """One line, status 2, before nnU-Net writes anything; a rank that is not the first one takes no lock."""
    (tmp_path / "fold_0").mkdir()
    trainer = make_trainer(OneLoss(), folder=tmp_path / "fold_0")
    trainer.stored, trainer.lock = None, FileLock(tmp_path / "fold_0" / ".lock")
    first = FileLock(trainer.lock.path)
    assert first.take()
    with pytest.raises(SystemExit, match="2"):
        trainer.on_train_start()
    (line,) = capsys.readouterr().err.splitlines()
    assert "fold_0 is being written by process" in line
    assert [path.name for path in (tmp_path / "fold_0").iterdir()] == [".lock"]
    trainer.local_rank = 1
    with pytest.raises(AttributeError):  # past the lock, in nnU-Net's own part
        trainer.on_train_start()
    first.release()


def test_an_unfinished_epoch_is_logged_anew():
    """Every list, nnU-Net's own too, ends where the last finished epoch ended."""
    log = {"lrs": [0.1, 0.1, 0.1], "train_losses": [1.0, 1.0]}
    Curves(log).forget_from(2)
    assert log == {"lrs": [0.1, 0.1], "train_losses": [1.0, 1.0]}


def test_curves_survive_a_checkpoint_and_a_gap():
    """Values go to their epoch; a repeated epoch replaces its own; missing epochs are NaN."""
    log = {"train_losses": []}
    curves = Curves(log)
    curves.append("beta", 0.1, 0)
    curves.append("beta", 0.2, 1)
    again = Curves(log)
    again.append("beta", 0.3, 1)
    again.append("new", 1.0, 2)
    assert again.as_dict()["beta"] == [0.1, 0.3]
    assert np.isnan(again.as_dict()["new"][:2]).all()


@pytest.mark.parametrize("name", sorted(TRAINERS))
def test_every_trainer_is_documented_importable_and_has_valid_settings(name):
    """A variant is a class of its own name, whose settings are settings."""
    import nnunetv2_rada.variants

    trainer = TRAINERS[name]
    assert getattr(nnunetv2_rada.variants, name) is trainer
    assert trainer.__name__ == name
    assert "__" not in name
    assert trainer.__doc__
    Config.from_json(getattr(trainer, "settings", {}), source=name)


@pytest.mark.parametrize("name", sorted(set(TRAINERS) - {"nnUNetTrainerStock"}))
def test_every_trainer_has_a_method_and_only_guided_ones_need_embeddings(name):
    """From its settings alone; those of compared methods ask for no image embedding."""
    config = replace(Config.from_json(TRAINERS[name].settings, source=name), base_filters=4)
    dims = {"text_dim": 8 if config.text_prompt else 0, "image_dim": 8 if config.image_prompt else 0}
    method = make_method(config, in_channels=1, num_classes=3, views=VIEWS, **dims)
    assert set(method.views) <= set(VIEWS)
    guided = name.startswith(("nnUNetTrainerRADA", "nnUNetTrainerSGTC"))
    assert config.image_prompt == (guided and name != "nnUNetTrainerSGTC")
    assert config.text_prompt == (guided and name != "nnUNetTrainerRADA_NoText")


def test_a_broken_batch_stops_training_with_its_own_line(capsys):
    """What a loader could not read reaches the user as one line, in training and in validation."""
    for step in ("train_step", "validation_step"):
        with pytest.raises(SystemExit) as stopped:
            getattr(make_trainer(OneLoss()), step)({"error": "side volumes of case one cannot be read"})
        assert stopped.value.code == 2
        assert "error: side volumes of case one cannot be read" in capsys.readouterr().err


def test_writing_a_checkpoint_is_no_waiting_for_data():
    """The share of an epoch that was spent waiting leaves the writing out."""
    now = [0.0]
    trainer = make_trainer(OneLoss(), checkpoint_minutes=1.0, clock=lambda: now[0])

    def write(path):
        now[0] += 40
        trainer.progress.saved()

    trainer.save_checkpoint = write
    trainer.progress.begin()
    now[0] += 60
    trainer.train_step(loaded(0))
    trainer.train_step(loaded(1))
    assert trainer.progress.end()[1] == pytest.approx(0.6)


def test_checkpoints_are_written_when_they_are_due_and_never_after_the_last_iteration(tmp_path):
    """One every two minutes in the middle of the epoch; the epoch's own end is nnU-Net's."""
    now, written = [0.0], []
    trainer = make_trainer(OneLoss(), checkpoint_minutes=2.0, clock=lambda: now[0], folder=tmp_path)

    def save_checkpoint(path):
        written.append((path, len(trainer.progress.outputs)))
        trainer.progress.saved()

    trainer.save_checkpoint = save_checkpoint
    for iteration in range(10):
        now[0] += 30.0
        trainer.train_step(loaded(iteration))
    assert written == [(str(tmp_path / "checkpoint_latest.pth"), 4), (str(tmp_path / "checkpoint_latest.pth"), 8)]
    now[0] += 120.0
    trainer.train_step(loaded(10))
    assert len(written) == 2


_PRESETS = {
    "method": "co_training",
    "num_iterations": 6000,
    "iterations_per_epoch": 150,
    "val_iterations_per_epoch": 8,
    "batch_labelled": 2,
    "batch_unlabelled": 2,
    "backbone": "vnet",
    "base_filters": 16,
    "output_bias": "random",
    "stochastic_passes": 8,
    "stochastic_norm": "batch",
    "stochastic_noise": "each",
    "guidance": "offset",
    "refresh_after": 1.0,
    "augmentation": "rot90_flip",
    "max_patch_voxels": 112 * 112 * 80,
    "optimizer": "paper",
    "learning_rate": 0.01,
    "gradient_clip": None,
    "alpha": "cosine",
    "pseudo_labels": "per_view",
    "networks": "all",
    "planes": "all",
    "largest_component": False,
    "text_prompt": True,
    "image_prompt": True,
    "concat_planes": False,
    "mirror_axes": "auto",
    "foreground_fraction": 0.0,
    "seed": 0,
    "checkpoint_minutes": 10.0,
}
_WORDS = {
    "skip": "concat",
    "beta_schedule": "literal",
    "updates": "joint",
    "inference": "ensemble",
    "image_embedding": "per_case",
}
_CODE = {
    "skip": "add",
    "beta_schedule": "rampup",
    "updates": "sequential",
    "inference": "coronal",
    "image_embedding": "pooled",
}


@pytest.mark.parametrize(("name", "own"), [("Paper", _WORDS), ("PublishedCode", _CODE)])
def test_every_setting_of_the_presets_is_that_of_the_paper_or_of_its_code(name, own):
    """Words in one, code in the other, and no setting left to the defaults; both alike where the paper is silent."""
    settings = TRAINERS[f"nnUNetTrainerRADA_{name}"].settings
    assert Config.from_json(settings, source=name).to_json() == {**_PRESETS, **own}


@pytest.mark.parametrize(("clip", "moved"), [(None, 50.0), (2.0, 2.0), (12.0, 12.0), (60.0, 50.0)])
def test_gradients_are_clipped_to_the_setting(clip, moved):
    """Longer ones to its length; null clips nothing."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    trainer = make_trainer(SimpleNamespace(optimizers=lambda: {"axial": torch.optim.SGD([parameter], lr=1.0)}))
    trainer.config = replace(trainer.config, gradient_clip=clip)
    optimizers, _ = trainer.configure_optimizers()
    optimizers.update("axial", (parameter * torch.tensor([30.0, 40.0])).sum(), None)
    assert float(parameter.detach().norm()) == pytest.approx(moved)


def _augmentation(setting, *, mirror_axes=(0, 1, 2)):
    """What a trainer of this setting cuts out of a scan, and how it makes patches of 8 x 12 x 16 voxels of that."""
    trainer = make_trainer(OneLoss())
    trainer.config = replace(trainer.config, augmentation=setting)
    trainer.configuration_manager = SimpleNamespace(use_mask_for_norm=[False])
    of_nnunet = ((-0.5, 0.5), False, [14, 20, 22], mirror_axes)
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size = lambda: of_nnunet
    return trainer._augmentation([8, 12, 16])


def test_the_augmentation_is_nnunets_or_quarter_turns():
    """Its cut and its transforms; quarter turns go without flips where nnU-Net would not mirror every axis."""
    cut, transforms = _augmentation("nnunet")
    assert cut == [14, 20, 22]
    assert any(isinstance(transform, FollowCoordinates) for transform in transforms.transforms)
    cut, transforms = _augmentation("rot90_flip")
    assert cut == [8, 16, 16]
    assert isinstance(transforms, QuarterTurnsAndFlip)
    assert (transforms.patch_size, transforms.flip) == ((8, 12, 16), True)
    assert not _augmentation("rot90_flip", mirror_axes=(0, 1))[1].flip
