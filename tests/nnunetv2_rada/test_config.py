"""Settings and their errors."""

import json

import pytest

from nnunetv2_rada.config import Config
from sparse_annotation_tools.errors import UserError


def test_defaults_are_the_papers():
    """The paper's constants, where it states them."""
    config = Config()
    assert config.num_iterations == 6000
    assert (config.batch_labelled, config.batch_unlabelled) == (2, 2)
    assert config.learning_rate == 0.01
    assert config.max_patch_voxels == 112 * 112 * 80
    assert config.num_iterations // config.iterations_per_epoch == 40


def test_json_round_trip():
    """What is stored is what is read."""
    config = Config().overridden({"alpha": 0.9, "mirror_axes": [0]}, source="a test")
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_filter": 8}, r"unknown setting base_filter; known are alpha, augmentation, backbone, base_filters"),
        ({"base_filters": "8"}, "base_filters is '8', expected int"),
        ({"base_filters": True}, "base_filters is True, expected int"),
        ({"num_iterations": 100}, "a multiple of iterations_per_epoch"),
        ({"alpha": 1.5}, "alpha is 1.5, expected cosine or a number from 0 to 1"),
        ({"beta_schedule": "linear"}, "rampup, literal or a number"),
        ({"pseudo_labels": "all"}, "per_view, fused or none"),
        ({"skip": "sum"}, "add or concat"),
        ({"updates": "parallel"}, "joint or sequential"),
        ({"stochastic_norm": "layer"}, "running or batch"),
        ({"augmentation": "none"}, "nnunet or rot90_flip"),
        ({"backbone": "unet"}, "vnet or plans"),
        ({"checkpoint_minutes": -1}, "at least 0"),
        ({"stochastic_passes": 0}, "at least 1"),
        ({"batch_labelled": 0}, "at least 1"),
        ({"val_iterations_per_epoch": 0}, "at least 1"),
        ({"max_patch_voxels": 0}, "at least 1"),
        ({"seed": -1}, "at least 0"),
        ({"learning_rate": -0.1}, "at least 0"),
        ({"gradient_clip": 0}, "more than 0, or null"),
        ({"foreground_fraction": 2}, "from 0 to 1"),
        ({"mirror_axes": "none"}, "auto or some of 0, 1, 2"),
        ({"mirror_axes": [3]}, "auto or some of 0, 1, 2"),
        ({"image_embedding": "none"}, "pooled or per_case"),
    ],
)
def test_wrong_settings_say_what_was_expected(changes, message):
    """Each mistake ends in one line that names the setting."""
    with pytest.raises(UserError, match=message):
        Config().overridden(changes, source="a test")


def test_a_config_file_that_is_missing_or_broken_is_named(tmp_path):
    """RADA_CONFIG errors name the file."""
    with pytest.raises(UserError, match="does not exist"):
        Config().overridden_by_file(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UserError, match=r"broken.json cannot be read as JSON"):
        Config().overridden_by_file(tmp_path / "broken.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match="expected a JSON object"):
        Config().overridden_by_file(tmp_path / "list.json")
