"""Which version of the dataset a row trains on."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from nnunetv2_rada.compare.given import GivenDataset, words
from nnunetv2_rada.compare.rows import DatasetNeed
from nnunetv2_rada.compare.variants import (
    GIVEN,
    DatasetVariant,
    check_prompts,
    dataset_options,
    embedding_changes,
    resolve,
)
from sparse_annotation_tools.cli.make_sparse_dataset import parser
from sparse_annotation_tools.errors import UserError


@pytest.fixture
def given(made: Path) -> GivenDataset:
    """The small dataset, cut with SCA out of dense labels."""
    return GivenDataset.read(made / "Dataset901_Phantom")


@pytest.mark.parametrize(
    "need",
    [
        DatasetNeed(),
        DatasetNeed(slices="SCA"),
        DatasetNeed(slices="SCA", planes="AA"),
        DatasetNeed(prompt="containing"),
    ],
)
def test_what_the_dataset_is_already_is_not_made_again(given: GivenDataset, need: DatasetNeed) -> None:
    """Rows of several tables are one run then."""
    assert resolve(need, given).name == GIVEN


@pytest.mark.parametrize(
    ("need", "name", "parent"),
    [
        (DatasetNeed(slices="SA"), "SA", None),
        (DatasetNeed(slices="ASA", planes="SA"), "ASA_planes-AS", "ASA"),
        (DatasetNeed(slices="AAA", planes="AA"), "AAA_planes-A", "AAA"),
        (DatasetNeed(prompt="none"), "given_text-none", GIVEN),
        (DatasetNeed(labelled_only=True), "given_labelled", GIVEN),
    ],
)
def test_other_slices_are_cut_and_other_prompts_encoded(
    given: GivenDataset, need: DatasetNeed, name: str, parent: str | None
) -> None:
    """A variant with other embeddings shares all else with the one that has its slices."""
    variant = resolve(need, given)
    assert variant.name == name
    assert (variant.parent.name if variant.parent else None) == parent


def test_other_slices_need_the_dense_labels(given: GivenDataset) -> None:
    """Real annotations have none, and those that were moved are named."""
    options = argparse.Namespace(**{**vars(given.options), "simulate": None})
    with pytest.raises(UserError, match=r"made from annotated slices.*--methods"):
        resolve(DatasetNeed(slices="SA"), replace(given, options=options))
    options = argparse.Namespace(**{**vars(given.options), "labels": Path("moved")})
    with pytest.raises(UserError, match=r"--labels moved is not there"):
        resolve(DatasetNeed(slices="SA"), replace(given, options=options))


def test_other_prompts_need_the_encoder_that_made_the_embeddings(given: GivenDataset) -> None:
    """An encoder that the recorded command does not name is asked for; one without a mask is not made up."""
    with pytest.raises(UserError, match=r"embeddings are of clip.*--embedding"):
        resolve(DatasetNeed(prompt="photo"), replace(given, prompts={"encoder": "clip", "template": ""}))
    with pytest.raises(UserError, match=r"random has no counterpart"):
        embedding_changes(given, resolve(DatasetNeed(encoder="clip"), given))
    with pytest.raises(UserError, match=r"no embeddings.*rada-embed"):
        check_prompts(replace(given, prompts=None), DatasetVariant())


def test_the_recorded_command_is_rebuilt_with_other_slices(given: GivenDataset) -> None:
    """Scans and propagation stay, embeddings are left out, paths hold from every folder."""
    rebuilt = words(parser(), dataset_options(given, DatasetVariant(slices="SA")))
    options = parser().parse_args(rebuilt)
    assert (options.simulate, options.encoder, options.morphology_mm) == ("SA", "none", 0)
    assert options.images == given.options.images.absolute()
    assert (options.number, options.name, options.label_names) == (901, "Phantom", ["organ"])
    unchanged = words(parser(), given.options)
    assert vars(parser().parse_args(unchanged)) == vars(given.options)
