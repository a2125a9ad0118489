"""The text prompts of the paper's Table VII, and prompts of one's own."""

from __future__ import annotations

from collections.abc import Sequence

from sparse_annotation_tools.errors import UserError

PLACEHOLDER = "[CLS]"
NO_TEXT = "none"

TEMPLATES = {
    "containing": f"An image containing the {PLACEHOLDER}, with the rest being background",
    "photo": f"A photo of a {PLACEHOLDER}.",
    "modality": f"There is a {PLACEHOLDER} in this [MODALITY].",
}
"""Named templates. `containing` is the paper's; `modality` fills in the dataset's imaging modality."""

_MODALITIES = {"CT": "computerized tomography", "MR": "magnetic resonance imaging"}


def resolve_template(prompt: str, modality: str) -> str:
    """Return the template text for a template's name or for a text that holds `[CLS]`; empty for `none`.

    Args:
        prompt: a key of `TEMPLATES`, `none`, or a sentence with `[CLS]` where the class name goes.
        modality: the dataset's modality, as in cases.json ("CT", "MR", "MRI", ...).

    Raises:
        UserError: the prompt is neither, or it needs a modality that is neither CT nor MR.
    """
    if prompt == NO_TEXT:
        return ""
    template = TEMPLATES.get(prompt, prompt)
    if PLACEHOLDER not in template:
        raise UserError(
            f"--prompt is {prompt!r}, which holds no {PLACEHOLDER} for the class name; give one of "
            f"{', '.join(TEMPLATES)}, {NO_TEXT}, or a sentence with {PLACEHOLDER} in it"
        )
    if "[MODALITY]" not in template:
        return template
    words = _MODALITIES.get(modality_family(modality))
    if words is None:
        raise UserError(
            f"--prompt {prompt} needs the modality CT or MR, but the dataset's is {modality!r}; "
            f"give --prompt containing, or write the sentence out with {PLACEHOLDER} in it"
        )
    return template.replace("[MODALITY]", words)


def fill_template(template: str, class_names: Sequence[str]) -> list[str]:
    """Return one prompt per class name, underscores in names becoming spaces."""
    return [template.replace(PLACEHOLDER, name.replace("_", " ")) for name in class_names]


def modality_family(modality: str) -> str:
    """Return `CT`, `MR`, or the modality in capitals where it is neither."""
    capitals = modality.strip().upper()
    return "MR" if capitals in ("MR", "MRI") or capitals.startswith(("MR-", "MR_")) else capitals
