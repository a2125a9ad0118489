"""A raw dataset becomes one file of embeddings."""

from pathlib import Path

import numpy as np
import pytest

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts import EmbeddingOptions, PromptStore, embed_dataset

CLASSES = ["bright_ball", "dark_box"]


def load(dataset: Path) -> PromptStore:
    """Read the embeddings of a dataset."""
    return PromptStore.load(dataset / "rada" / "prompts.safetensors", classes=CLASSES)


def embed_randomly(dataset: Path, **options: object) -> PromptStore:
    """Embed with directions drawn by chance."""
    embed_dataset(dataset, EmbeddingOptions(encoder="random", seed=1, **options))
    return load(dataset)


def test_every_labelled_slice_is_embedded_and_no_unlabelled_case(dataset: Path) -> None:
    """Labelled cases have one entry per annotated slice; the unlabelled case has none."""
    store = embed_randomly(dataset)
    assert set(store.images) == {"a", "b"}
    assert set(store.images["a"]) == {"sagittal", "coronal", "axial"}


def test_a_class_that_is_not_on_a_slice_has_a_row_of_nan(dataset: Path) -> None:
    """Case a's axial slice shows the first class only, case b's the second only."""
    store = embed_randomly(dataset)
    assert np.isnan(store.images["a"]["axial"]).all(axis=1).tolist() == [False, True]
    assert np.isnan(store.images["b"]["axial"]).all(axis=1).tolist() == [True, False]


def test_random_embeddings_are_stamped(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The stamp is in the file's metadata and in what the user sees."""
    assert embed_randomly(dataset).stamp == "encoder=random: carries no semantics"
    assert "carries no semantics" in capsys.readouterr().out


def test_prompt_none_stores_no_text(dataset: Path) -> None:
    """The text tensor has no column, so that concatenation leaves E_v alone."""
    assert embed_randomly(dataset, prompt="none").text_kt.shape == (2, 0)


def test_encoder_none_removes_the_embeddings(dataset: Path) -> None:
    """Old embeddings do not survive `--encoder none`, and reading them says what to type."""
    embed_randomly(dataset)
    embed_dataset(dataset, EmbeddingOptions(encoder="none"))
    with pytest.raises(UserError, match="rada-embed"):
        load(dataset)


def test_precomputed_reads_what_another_run_wrote_and_keeps_its_stamp(dataset: Path, tmp_path: Path) -> None:
    """The same numbers come back, under the name precomputed, still stamped as random."""
    before = embed_randomly(dataset)
    file = (dataset / "rada" / "prompts.safetensors").rename(tmp_path / "mine.safetensors")
    embed_dataset(dataset, EmbeddingOptions(encoder="precomputed", precomputed_file=file))
    after = load(dataset)
    np.testing.assert_array_equal(after.text_kt, before.text_kt)
    np.testing.assert_array_equal(after.images["a"]["axial"], before.images["a"]["axial"])
    assert (after.encoder, after.metadata["precomputed_encoder"], after.stamp) == (
        "precomputed",
        "random",
        before.stamp,
    )
