"""Patch, stored settings and mirroring."""

import json
import math
from dataclasses import replace

import pytest

from nnunetv2_rada.config import Config
from nnunetv2_rada.plan_section import (
    PlanSection,
    differences,
    embeddings_differ,
    mirror_axes,
    stored_section,
    training_patch,
)
from nnunetv2_rada.planned_backbone import patch_multiples
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema import AnnotatedSlice, Case, CasesFile


@pytest.mark.parametrize(
    ("planned", "expected"),
    [([96, 128, 192], [80, 96, 144]), ([32, 48, 64], [32, 48, 64]), ([24, 48, 80], [32, 48, 80]), ([4, 8], [16, 16])],
)
def test_the_patch_is_scaled_by_one_factor_and_divides_by_16(planned, expected):
    """Big patches shrink to the paper's number of voxels; small ones are rounded; ties go up; no side is below 16."""
    assert training_patch(planned, 112 * 112 * 80) == expected


def test_a_planned_backbone_sets_what_the_patch_divides_by():
    """An axis that the plans never halve keeps its side; one with five halvings is a multiple of 32."""
    assert patch_multiples({"strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 2, 2]]}) == [2, 8, 8]
    assert training_patch([14, 56, 56], 10**6, [2, 8, 8]) == [14, 56, 56]
    assert training_patch([96, 128, 192], 112 * 112 * 80, [32, 32, 32]) == [64, 96, 160]


def test_the_patch_keeps_its_shape_when_it_is_scaled():
    """Sides keep their ratios up to the rounding."""
    patch = training_patch([256, 256, 128], 64 * 64 * 32)
    assert patch == [64, 64, 32]
    assert math.prod(training_patch([250, 130, 90], 64**3)) <= 64**3 * 1.5


def make_cases(classes, axes=(2,)):
    """Make a cases file with one unlabelled case per left-right axis."""
    cases = {f"case{n}": Case(labelled=False, shape=(8, 8, 8), sagittal_axis=axis) for n, axis in enumerate(axes)}
    return CasesFile(
        dataset="Dataset001_X", modality="MR", classes=classes, strategy="SCA", seed=0, propagation={}, cases=cases,
        versions={}, command="",
    )  # fmt: skip


def test_sided_class_names_turn_left_right_mirroring_off():
    """The left-right axis is found on the transposed grid; other class names leave all three axes."""
    assert mirror_axes(Config(), make_cases({"left_kidney": 1, "right_kidney": 2}), (0, 1, 2)) == (0, 1)
    assert mirror_axes(Config(), make_cases({"Left atrium": 1}), (2, 0, 1)) == (1, 2)
    assert mirror_axes(Config(), make_cases({"cleft": 1, "upright": 2}), (0, 1, 2)) == (0, 1, 2)
    assert mirror_axes(Config(), make_cases({"left": 1}, axes=(2, 1)), (0, 1, 2)) == (0,)


@pytest.mark.parametrize(
    ("name", "told", "axes", "expected"),
    [
        ("anterior", {"coronal": 1}, (2,), (0, 2)),
        ("Dorsal horn", {"coronal": 0}, (2,), (1, 2)),
        ("upper lobe", {"axial": 0, "coronal": 1}, (2,), (1, 2)),
        ("posterior", {}, (2,), (2,)),  # no slice tells: neither of the other two
        ("posterior", {"coronal": 1}, (2, 1), ()),  # scans of different orientation
    ],
)
def test_class_names_that_say_another_direction_turn_its_mirroring_off(name, told, axes, expected):
    """Front and back across coronal planes, up and down across axial ones, as far as slices tell which these are."""
    cases = make_cases({name: 1}, axes)
    slices = tuple(AnnotatedSlice(view=view, axis=axis, index=0, area=1, classes=(1,)) for view, axis in told.items())
    first = replace(cases.cases["case0"], slices=slices)
    assert mirror_axes(Config(), replace(cases, cases={**cases.cases, "case0": first}), (0, 1, 2)) == expected


def test_mirror_axes_can_be_given():
    """A setting overrides what names say."""
    config = Config().overridden({"mirror_axes": [1]}, source="a test")
    assert mirror_axes(config, make_cases({"left": 1}), (0, 1, 2)) == (1,)


def write_model(folder, section, *, checkpoint=True):
    """Write plans.json as a training would."""
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps({"configurations": {"3d_fullres": {"rada": section.to_json()}}}))
    if checkpoint:
        (folder / "fold_0" / "checkpoint_latest.pth").write_bytes(b"")


def test_stored_settings_come_back_as_they_were(tmp_path):
    """What a training wrote is what a later one reads."""
    config = Config().overridden({"base_filters": 8, "mirror_axes": [0, 2], "gradient_clip": None}, source="a test")
    section = PlanSection(config=config, text_dim=8, image_dim=16, encoder="random")
    write_model(tmp_path / "model", section)
    assert stored_section(tmp_path / "model", "3d_fullres") == section


def test_a_run_without_a_checkpoint_binds_nobody(tmp_path):
    """A run killed before its first checkpoint leaves no settings that count."""
    section = PlanSection(config=Config(), text_dim=0, image_dim=0, encoder="none")
    write_model(tmp_path / "model", section, checkpoint=False)
    assert stored_section(tmp_path / "model", "3d_fullres") is None
    assert stored_section(tmp_path / "nothing", "3d_fullres") is None


def test_a_foreign_model_folder_is_refused(tmp_path):
    """Checkpoints without our section name the folder and the way out."""
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "checkpoint_final.pth").write_bytes(b"")
    with pytest.raises(UserError, match="no readable rada section"):
        stored_section(tmp_path, "3d_fullres")


def test_differences_name_both_values():
    """Each phrase says what was stored and what is wanted."""
    wanted = Config().overridden({"base_filters": 8}, source="a test")
    assert differences(Config(), wanted) == ["base_filters 16 there, 8 now"]
    assert differences(wanted, wanted) == []


@pytest.mark.parametrize("change", [{"encoder": "clip"}, {"text_dim": 0}, {"image_dim": 32}])
def test_other_embeddings_are_noticed(change):
    """Another encoder, another text template or another number of planes; other settings are no matter of this."""
    section = PlanSection(config=Config(), text_dim=8, image_dim=16, encoder="alpha-clip-tiny")
    words = embeddings_differ(section, replace(section, **change))
    assert words.startswith("alpha-clip-tiny (8 numbers of text, 16 of image) there, ")
    config = Config().overridden({"base_filters": 8}, source="a test")
    assert embeddings_differ(section, replace(section, config=config)) == ""
