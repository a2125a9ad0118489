"""Table VII's prompts."""

import pytest

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.templates import fill_template, resolve_template


@pytest.mark.parametrize(
    ("prompt", "modality", "expected"),
    [
        ("containing", "MR", "An image containing the left atrium, with the rest being background"),
        ("photo", "MR", "A photo of a left atrium."),
        ("modality", "MRI", "There is a left atrium in this magnetic resonance imaging."),
        ("modality", "ct", "There is a left atrium in this computerized tomography."),
        ("The [CLS] is bright", "PET", "The left atrium is bright"),
    ],
)
def test_a_template_is_filled_with_the_class_name(prompt: str, modality: str, expected: str) -> None:
    """Underscores become spaces, and the modality is written out."""
    assert fill_template(resolve_template(prompt, modality), ["left_atrium"]) == [expected]


def test_none_is_no_template() -> None:
    """Table VII's first row has no text."""
    assert resolve_template("none", "MR") == ""


@pytest.mark.parametrize(("prompt", "modality"), [("a heart", "MR"), ("modality", "PET")])
def test_a_template_that_cannot_be_filled_is_refused(prompt: str, modality: str) -> None:
    """Without a place for the class name, or for a modality that the template has no words for."""
    with pytest.raises(UserError, match="--prompt"):
        resolve_template(prompt, modality)
