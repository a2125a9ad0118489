"""The trainer's hooks one by one; tests/end_to_end drives them through the stock commands."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nnunetv2_rada.annotated_dice import annotated_counts, mean_dice
from nnunetv2_rada.config import Config
from nnunetv2_rada.curves import Curves
from nnunetv2_rada.method.guidance import Prompts
from nnunetv2_rada.trainer import nnUNetTrainerRADA
from nnunetv2_rada.variants import TRAINERS
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.store import PromptStore


def make_prompts(changed=None):
    """Embeddings of three labelled cases and one that is not; `changed` gets others."""
    rng = np.random.default_rng(0)
    names = ("one", "two", "held_out", "unlabelled")
    images = {name: {"axial": rng.normal(size=(2, 8)).astype(np.float32)} for name in names}
    if changed:
        images[changed]["axial"] += 1
    text = rng.normal(size=(2, 4)).astype(np.float32)
    return PromptStore(classes=("a", "b"), text_kt=text, images=images, metadata={"encoder": "random"})


def make_trainer(prompts, **settings):
    """What the embedding hooks read of a trainer whose fold trains on cases one and two."""
    return SimpleNamespace(
        prompts=prompts,
        config=Config().overridden(settings, source="a test"),
        labelled_training_cases=["one", "two"],
        print_to_log_file=lambda *_: None,
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize("image_embedding", ["pooled", "per_case"])
@pytest.mark.parametrize("other", ["held_out", "unlabelled"])
def test_embeddings_of_other_than_labelled_training_cases_change_nothing(other, image_embedding):
    """Not one bit of what the networks get, neither pooled nor for the samples of a batch."""

    def seen(changed):
        trainer = make_trainer(make_prompts(changed), image_embedding=image_embedding)
        own = nnUNetTrainerRADA._own_embeddings(trainer, ["one", "two", "held_out", "unlabelled"])
        return [*nnUNetTrainerRADA._pooled_embeddings(trainer), torch.zeros(1) if own is None else own.nan_to_num(-9)]

    assert all(torch.equal(*pair) for pair in zip(seen(None), seen(other), strict=True))
    assert not torch.equal(seen(None)[1], seen("one")[1])


def test_raw_embeddings_reach_the_networks_raw(tmp_path):
    """What the file of a `--normalise raw` dataset holds is what networks get, text and image, pooled and per case."""
    made = make_prompts()
    path = tmp_path / "prompts.safetensors"
    replace(made, metadata={"encoder": "mine", "normalise": "raw"}).save(path)
    trainer = make_trainer(PromptStore.load(path), image_embedding="per_case")
    text, image = nnUNetTrainerRADA._pooled_embeddings(trainer)
    prompts = Prompts(num_foreground=2, text_dim=4, image_dim=8)
    prompts.assign(text=text, image=image)
    one, two = (made.images[name]["axial"] for name in ("one", "two"))
    np.testing.assert_array_equal(prompts()[:, :4], made.text_kt)
    np.testing.assert_allclose(prompts()[:, 4:], (one + two) / 2, rtol=1e-6)
    own = prompts(nnUNetTrainerRADA._own_embeddings(trainer, ["two", "unlabelled"]))
    np.testing.assert_array_equal(own[0, :, 4:], two)
    np.testing.assert_array_equal(own[1], prompts())


def test_other_embeddings_reach_the_networks_with_length_one(tmp_path):
    """Unless the file says raw: text, pooled image and a sample's own image."""
    path = tmp_path / "prompts.safetensors"
    make_prompts().save(path)
    trainer = make_trainer(PromptStore.load(path), image_embedding="per_case")
    text, image = nnUNetTrainerRADA._pooled_embeddings(trainer)
    own = nnUNetTrainerRADA._own_embeddings(trainer, ["two"])
    for rows in (text, image, own[0]):
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(2))


def test_pooled_samples_bring_no_embedding_of_their_own():
    """By default every sample of a batch gets the pooled E_v."""
    assert nnUNetTrainerRADA._own_embeddings(make_trainer(make_prompts()), ["one", "two", "new"]) is None


def test_per_case_gives_labelled_samples_their_own_embedding():
    """With `per_case`, labelled training cases bring theirs; unlabelled and held-out ones take the pooled one."""
    trainer = make_trainer(make_prompts(), image_embedding="per_case")
    own = nnUNetTrainerRADA._own_embeddings(trainer, ["one", "two", "held_out", "new"])
    assert own.shape == (4, 2, 8)
    assert torch.isfinite(own[:2]).all()
    assert not torch.equal(own[0], own[1])
    assert torch.isnan(own[2:]).all()


def test_concat_sets_planes_beside_each_other():
    """With `concat_planes`, AA gives twice the columns of A."""
    prompts = make_prompts()
    prompts.metadata["prompt_planes"] = "AA"
    trainer = make_trainer(prompts, concat_planes=True)
    assert nnUNetTrainerRADA._pooled_embeddings(trainer)[1].shape == (2, 16)


@pytest.mark.parametrize("trainer", [nnUNetTrainerRADA, TRAINERS["nnUNetTrainerRADA_Fused"]])
def test_without_embeddings_only_trainers_that_use_none_go_on(tmp_path, trainer):
    """A dataset of `--encoder none`: RADA names rada-embed; settings without prompts ask for nothing."""
    cases = SimpleNamespace(dataset="Dataset007_X", classes={"a": 1})
    rada = SimpleNamespace(prompts_file=tmp_path / "prompts.safetensors")
    bare = trainer.__new__(trainer)
    bare.__dict__.update(cases=cases, rada=rada, config=Config())
    with pytest.raises(UserError, match="run rada-embed -d 007"):
        bare._load_prompts()
    bare.config = Config().overridden({"text_prompt": False, "image_prompt": False}, source="a test")
    assert bare._load_prompts() is None
    bare.prompts = None
    assert bare._new_section().encoder == "none"


class NotANumber:
    """A method whose loss is NaN."""

    scalars: dict = {}  # noqa: RUF012

    def learning_rate(self, iteration):
        """No rates."""
        return {}

    def step(self, batch, iteration):
        """One loss."""
        yield "axial", torch.tensor(torch.nan)


def test_a_loss_that_is_nan_stops_training_with_one_line(capsys):
    """Status 2, the network, the iteration and the cases; no update with it."""
    trainer = SimpleNamespace(
        config=Config(), local_rank=0, device=torch.device("cpu"), method=NotANumber(), _batch=lambda batch: None,
        optimizer=SimpleNamespace(set_learning_rates=lambda rates: None, update=pytest.fail), grad_scaler=None,
    )  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        nnUNetTrainerRADA.train_step(trainer, {"iteration": 7, "keys": ["one", "two"]})
    assert stopped.value.code == 2
    assert "the loss of axial is nan at iteration 7" in capsys.readouterr().err


def test_dice_counts_annotated_voxels_only():
    """Voxels that nobody annotated count nowhere; classes neither drawn nor predicted are left out of the mean."""
    annotation = torch.tensor([[[[0, 1, 1, -1, -1]]]])
    label = torch.tensor([[[[1, 1, 0, 1, 2]]]])
    counts = annotated_counts(label, annotation, [1, 2])
    assert counts.tolist() == [[1, 0], [1, 0], [1, 0]]
    assert mean_dice(counts) == 0.5
    assert np.isnan(mean_dice(np.zeros((3, 2), dtype=int)))


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
