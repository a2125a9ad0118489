"""What made the embeddings behind a folder of predictions."""

import json
from pathlib import Path

import pytest

from sparse_annotation_tools.evaluation.prediction_source import embeddings_behind


def test_the_encoder_stands_in_the_plans_beside_the_predictions(tmp_path: Path) -> None:
    """Configurations without embeddings do not hide it."""
    plans = {"configurations": {"3d_lowres": {}, "3d_fullres": {"rada": {"encoder": "alpha-clip-tiny"}}}}
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    assert embeddings_behind(tmp_path) == "alpha-clip-tiny"


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"configurations": {"2d": {"rada": 3}}}', "{}{}"])
def test_a_folder_of_other_origin_says_nothing(tmp_path: Path, content: str | None) -> None:
    """No plans.json, one of another tool, or a damaged one: scores are taken all the same."""
    if content is not None:
        (tmp_path / "plans.json").write_text(content)
    assert embeddings_behind(tmp_path) is None
