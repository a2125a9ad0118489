"""Which embeddings a run and its samples get."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nnunetv2_rada.config import Config
from nnunetv2_rada.embeddings import load_prompts, own_embeddings, pooled_embeddings
from nnunetv2_rada.method.guidance import Prompts
from nnunetv2_rada.plan_section import PlanSection
from nnunetv2_rada.variants import TRAINERS
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.store import PromptStore

TRAINING = ["one", "two"]
PER_CASE = Config(image_embedding="per_case")


def make_prompts(changed=None):
    """Embeddings of three labelled cases and one that is not; `changed` gets others."""
    rng = np.random.default_rng(0)
    names = ("one", "two", "held_out", "unlabelled")
    images = {name: {"axial": rng.normal(size=(2, 8)).astype(np.float32)} for name in names}
    if changed:
        images[changed]["axial"] += 1
    text = rng.normal(size=(2, 4)).astype(np.float32)
    return PromptStore(classes=("a", "b"), text_kt=text, images=images, metadata={"encoder": "random"})


def pooled(prompts, **settings):
    """E_t and E_v of a fold that trains on cases one and two."""
    return pooled_embeddings(prompts, Config(**settings), TRAINING, print)


@pytest.mark.parametrize("image_embedding", ["pooled", "per_case"])
@pytest.mark.parametrize("other", ["held_out", "unlabelled"])
def test_embeddings_of_other_than_labelled_training_cases_change_nothing(other, image_embedding):
    """Not one bit of what the networks get, neither pooled nor for the samples of a batch."""

    def seen(changed):
        prompts, config = make_prompts(changed), Config(image_embedding=image_embedding)
        own = own_embeddings(prompts, config, TRAINING, ["one", "two", "held_out", "unlabelled"])
        return [*pooled(prompts), torch.zeros(1) if own is None else own.nan_to_num(-9)]

    assert all(torch.equal(*pair) for pair in zip(seen(None), seen(other), strict=True))
    assert not torch.equal(seen(None)[1], seen("one")[1])


def test_raw_embeddings_reach_the_networks_raw(tmp_path):
    """What the file of a `--normalise raw` dataset holds is what networks get, text and image, pooled and per case."""
    made = make_prompts()
    path = tmp_path / "prompts.safetensors"
    replace(made, metadata={"encoder": "mine", "normalise": "raw"}).save(path)
    store = PromptStore.load(path)
    text, image = pooled(store)
    prompts = Prompts(num_foreground=2, text_dim=4, image_dim=8)
    prompts.assign(text=text, image=image)
    one, two = (made.images[name]["axial"] for name in ("one", "two"))
    np.testing.assert_array_equal(prompts()[:, :4], made.text_kt)
    np.testing.assert_allclose(prompts()[:, 4:], (one + two) / 2, rtol=1e-6)
    own = prompts(own_embeddings(store, PER_CASE, TRAINING, ["two", "unlabelled"]))
    np.testing.assert_array_equal(own[0, :, 4:], two)
    np.testing.assert_array_equal(own[1], prompts())


def test_other_embeddings_reach_the_networks_with_length_one(tmp_path):
    """Unless the file says raw: text, pooled image and a sample's own image."""
    path = tmp_path / "prompts.safetensors"
    make_prompts().save(path)
    store = PromptStore.load(path)
    own = own_embeddings(store, PER_CASE, TRAINING, ["two"])
    for rows in (*pooled(store), own[0]):
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(2))


def test_pooled_samples_bring_no_embedding_of_their_own():
    """By default every sample of a batch gets the pooled E_v."""
    assert own_embeddings(make_prompts(), Config(), TRAINING, ["one", "two", "new"]) is None


def test_per_case_gives_labelled_samples_their_own_embedding():
    """With `per_case`, labelled training cases bring theirs; unlabelled and held-out ones take the pooled one."""
    own = own_embeddings(make_prompts(), PER_CASE, TRAINING, ["one", "two", "held_out", "new"])
    assert own.shape == (4, 2, 8)
    assert torch.isfinite(own[:2]).all()
    assert not torch.equal(own[0], own[1])
    assert torch.isnan(own[2:]).all()


def test_concat_sets_planes_beside_each_other():
    """With `concat_planes`, AA gives twice the columns of A."""
    prompts = make_prompts()
    prompts.metadata["prompt_planes"] = "AA"
    assert pooled(prompts, concat_planes=True)[1].shape == (2, 16)


def test_a_prompt_that_is_off_is_not_pooled():
    """Each prompt has its own switch."""
    assert pooled(make_prompts(), text_prompt=False)[0] is None
    assert pooled(make_prompts(), image_prompt=False)[1] is None


@pytest.mark.parametrize("settings", [{}, TRAINERS["nnUNetTrainerRADA_Fused"].settings])
def test_without_embeddings_only_trainers_that_use_none_go_on(tmp_path, settings):
    """A dataset of `--encoder none`: RADA names rada-embed; settings without prompts ask for nothing."""
    cases = SimpleNamespace(dataset="Dataset007_X", classes={"a": 1})
    rada = SimpleNamespace(prompts_file=tmp_path / "prompts.safetensors")
    with pytest.raises(UserError, match="run rada-embed -d 007"):
        load_prompts(Config(**settings), rada, cases)
    bare = Config(text_prompt=False, image_prompt=False, **settings)
    assert load_prompts(bare, rada, cases) is None
    assert PlanSection.of_run(bare, None).encoder == "none"
