"""The encoder that ships with the package follows the mask, and its training repeats."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors import safe_open

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts import EmbeddingOptions, PromptStore, embed_dataset
from sparse_annotation_tools.prompts.templates import TEMPLATES, resolve_template
from sparse_annotation_tools.prompts.tiny import model as tiny_model
from sparse_annotation_tools.prompts.tiny import train as training
from sparse_annotation_tools.prompts.tiny.evaluation import retrieval_accuracy, text_embeddings
from sparse_annotation_tools.prompts.tiny.model import WEIGHTS_FILE, load_model, new_model, save_model
from sparse_annotation_tools.prompts.tiny.organs import NAMES
from sparse_annotation_tools.prompts.weights import file_sha256


@pytest.fixture(scope="module")
def model() -> open_clip.CLIP:
    """The trained model."""
    return load_model()


@pytest.fixture(scope="module")
def accuracy(model: open_clip.CLIP) -> dict[str, float]:
    """Retrieval among the organs of one held-out drawing."""
    return retrieval_accuracy(model, slices=100)


def test_the_right_mask_finds_its_organ(accuracy: dict[str, float]) -> None:
    """Far more often than chance, about one in four."""
    assert accuracy["chance"] < 0.3
    assert accuracy["right mask"] > accuracy["chance"] + 0.5


@pytest.mark.parametrize("control", ["mask hidden", "mask empty"])
def test_without_a_mask_it_can_only_guess(accuracy: dict[str, float], control: str) -> None:
    """Nothing in a slice betrays which of its organs is asked for."""
    assert accuracy[control] == pytest.approx(accuracy["chance"], abs=0.02)


def test_the_inverted_mask_finds_its_organ_less_often_than_a_guess(accuracy: dict[str, float]) -> None:
    """It points at everything but the organ, so the organ is named less often than by ignoring the mask."""
    assert accuracy["mask inverted"] < accuracy["chance"] - 0.1


@pytest.mark.slow
def test_an_untrained_model_can_only_guess() -> None:
    """The figures above come from training, not from how they are taken."""
    torch.manual_seed(0)
    untrained = retrieval_accuracy(new_model().eval(), slices=60)
    assert untrained["right mask"] < untrained["chance"] + 0.1


def test_every_name_has_an_embedding_of_its_own_under_every_template(model: open_clip.CLIP) -> None:
    """The same name under two templates is nearer than another name."""
    templates = [TEMPLATES["containing"], TEMPLATES["photo"], resolve_template("modality", "MR")]
    first, *others = (text_embeddings(model, template) for template in templates)
    for other in others:
        assert (first @ other.T).argmax(dim=1).tolist() == list(range(len(NAMES)))


def test_words_that_were_never_seen_still_differ(model: open_clip.CLIP) -> None:
    """Two classes with unknown names do not share one embedding."""
    with torch.inference_mode():
        text = torch.nn.functional.normalize(
            model.encode_text(
                open_clip.SimpleTokenizer()(["An image containing the anterior", "An image containing the posterior"])
            ),
            dim=1,
        )
    assert float(text[0] @ text[1]) < 0.9999


def test_the_file_is_small_and_says_how_it_was_made() -> None:
    """A few MB, with its seed, steps and figures."""
    assert WEIGHTS_FILE.stat().st_size < 6e6
    with safe_open(WEIGHTS_FILE, framework="pt") as file:
        metadata = file.metadata()
    assert {"seed", "steps", "config", "right mask", "chance"} <= set(metadata)


def test_the_model_card_lies_beside_the_weights() -> None:
    """It names the file's hash, so that card and weights cannot drift apart."""
    assert file_sha256(WEIGHTS_FILE) in WEIGHTS_FILE.with_suffix(".md").read_text()


def test_saved_and_loaded_is_the_same_model(model: open_clip.CLIP, tmp_path: Path) -> None:
    """The token table, of which only some rows are stored, comes back whole."""
    path = tmp_path / "weights.safetensors"
    save_model(model, path, torch.unique(training.caption_tokens()), {})
    again = load_model(path).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("damage", ["missing", "truncated", "other"])
def test_a_damaged_installation_is_one_line(tmp_path: Path, damage: str) -> None:
    """The message says to install again."""
    path = tmp_path / "weights.safetensors"
    if damage == "truncated":
        path.write_bytes(WEIGHTS_FILE.read_bytes()[:1000])
    elif damage == "other":
        from safetensors.torch import save_file

        save_file({"a": torch.ones(1)}, path)
    with pytest.raises(UserError, match="install nnunetv2-rada again"):
        load_model(path)


def test_training_repeats_and_leaves_unseen_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two short runs give the same weights; token rows that no prompt holds keep the values they were drawn with."""
    monkeypatch.setattr(training, "ANATOMIES_PER_STEP", 2)
    first, second = (training.train(steps=2, seed=5, learning_rate=1e-3).state_dict() for _ in range(2))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    table = first["token_embedding.weight"]
    fresh = tiny_model.new_model().token_embedding.weight
    changed = (table != fresh).any(dim=1).nonzero().flatten()
    assert 0 < len(changed) <= len(torch.unique(training.caption_tokens()))
    assert set(changed.tolist()) <= set(torch.unique(training.caption_tokens()).tolist())


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stopped between two kept states and started again, it ends with the same weights as one that ran through."""
    monkeypatch.setattr(training, "ANATOMIES_PER_STEP", 2)
    monkeypatch.setattr(training, "KEEP_EVERY", 2)
    whole = training.train(steps=4, seed=5, learning_rate=1e-3).state_dict()
    drawn = training._batch
    asked: list[int] = []

    def stopped(seed: int, step: int) -> object:
        asked.append(step)
        if step == 3 and len(asked) == 4:
            raise KeyboardInterrupt
        return drawn(seed, step)

    monkeypatch.setattr(training, "_batch", stopped)
    progress = tmp_path / "progress.pt"
    with pytest.raises(KeyboardInterrupt):
        training.train(steps=4, seed=5, learning_rate=1e-3, progress=progress)
    again = training.train(steps=4, seed=5, learning_rate=1e-3, progress=progress).state_dict()
    assert asked == [0, 1, 2, 3, 2, 3]
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


def test_it_is_the_default_encoder_and_embeds_a_dataset(dataset: Path) -> None:
    """No option given, the slices are encoded by the real path, and the embedding follows the mask."""
    embed_dataset(dataset, EmbeddingOptions())
    store = PromptStore.load(dataset / "rada" / "prompts.safetensors")
    assert (store.encoder, store.stamp) == ("alpha-clip-tiny", "")
    assert store.metadata["clip_sha256"] == file_sha256(WEIGHTS_FILE)
    rows = store.images["a"]["coronal"]
    assert float(rows[0] @ rows[1]) < 0.9
    assert np.abs(store.text_kt[0] - store.text_kt[1]).max() > 1e-3


def test_another_file_than_expected_is_refused(dataset: Path) -> None:
    """The built-in weights are checked like any others."""
    with pytest.raises(UserError, match="not among --expected-sha256"):
        embed_dataset(dataset, EmbeddingOptions(expected_sha256=("0" * 64,)))
