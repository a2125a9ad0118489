"""Which version of the dataset a row trains on."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from nnunetv2_rada.compare.given import GivenDataset
from nnunetv2_rada.compare.rows import DatasetNeed
from sparse_annotation_tools.errors import UserError

GIVEN = "given"


@dataclass(frozen=True, kw_only=True)
class DatasetVariant:
    """A version of the user's dataset.

    Attributes:
        slices: another slice strategy, made anew from the dense labels; None for the slices of the dataset.
        prompt: another text template.
        planes: other prompt planes.
        encoder: another encoder.
        labelled_only: without the unlabelled scans.
    """

    slices: str | None = None
    prompt: str | None = None
    planes: str | None = None
    encoder: str | None = None
    labelled_only: bool = False

    @property
    def name(self) -> str:
        """Name of its folder: `given`, `SA`, `given_text-none`, `ASA_planes-AS`."""
        parts = [
            self.slices or GIVEN,
            f"text-{self.prompt}" if self.prompt else "",
            f"planes-{self.planes}" if self.planes else "",
            f"encoder-{self.encoder}" if self.encoder else "",
            "labelled" if self.labelled_only else "",
        ]
        return "_".join(part for part in parts if part)

    @property
    def is_encoded_anew(self) -> bool:
        """Whether its embeddings are its own."""
        return bool(self.prompt or self.planes or self.encoder)

    @property
    def parent(self) -> DatasetVariant | None:
        """The variant that has the same scans and labels; None for one that is not derived from another."""
        if self.is_encoded_anew or self.labelled_only:
            return DatasetVariant(slices=self.slices)
        return None


def resolve(need: DatasetNeed, given: GivenDataset) -> DatasetVariant:
    """Return the version of the dataset that answers a need; what the dataset is already is not changed.

    Raises:
        UserError: it cannot be made from what the dataset was made from.
    """
    slices = None if need.slices == given.cases.strategy else need.slices
    if slices is not None:
        _check_dense(given, slices)
    prompt = None if need.prompt is None or _has_template(given, need.prompt) else need.prompt
    planes = None if need.planes is None else "".join(sorted(set(need.planes)))
    if slices is None and planes == _given_planes(given):
        planes = None
    encoder = None if need.encoder is None or _encoder(given) == need.encoder else need.encoder
    variant = DatasetVariant(
        slices=slices, prompt=prompt, planes=planes, encoder=encoder, labelled_only=need.labelled_only
    )
    if variant.is_encoded_anew:
        _check_encodable(given)
    return variant


def check_prompts(given: GivenDataset, variant: DatasetVariant) -> None:
    """Refuse to train with prompts where the dataset has none.

    Raises:
        UserError: see above.
    """
    if given.prompts is None and not variant.is_encoded_anew:
        raise UserError(
            f"{given.folder.name} has no embeddings, which this row trains with; run rada-embed -d {given.folder.name}"
        )


def embedding_changes(given: GivenDataset, variant: DatasetVariant) -> dict[str, object]:
    """Return the options of rada-embed that a variant changes.

    Raises:
        UserError: the dataset's encoder has no counterpart without a mask.
    """
    changes: dict[str, object] = {}
    if variant.prompt:
        changes["prompt"] = variant.prompt
    if variant.planes:
        changes["prompt_planes"] = variant.planes
    if variant.encoder == "clip":
        if given.embedding.encoder != "alpha-clip":
            raise UserError(
                f"the encoder {given.embedding.encoder} has no counterpart that ignores the mask; make the dataset "
                "with --encoder alpha-clip and its weights"
            )
        changes.update(encoder="clip", alpha_weights=None)
    return changes


def _check_dense(given: GivenDataset, slices: str) -> None:
    """Other slices are cut out of dense labels, from where the dataset was made."""
    name, options = given.folder.name, given.options
    if options.simulate is None:
        raise UserError(
            f"slices {slices} are cut out of dense labels, but {name} was made from annotated slices (without "
            "--simulate); leave such rows out with --methods"
        )
    for option in ("images", "labels", "unlabelled", "test_images", "test_labels", "cases"):
        path = getattr(options, option)
        if path is not None and not path.exists():
            raise UserError(
                f"slices {slices} are cut out of the scans that {name} was made from, but "
                f"--{option.replace('_', '-')} {path} is not there; start this in the folder where that command was "
                "typed, or put the scans back"
            )


def _check_encodable(given: GivenDataset) -> None:
    encoder = _encoder(given)
    if encoder in ("none", "precomputed"):
        raise UserError(
            f"other prompts are encoded by the dataset's own encoder, but that of {given.folder.name} is {encoder}; "
            'name one by --embedding "--encoder ..."'
        )
    if given.prompts is not None and given.prompts["encoder"] != encoder:
        raise UserError(
            f"{given.folder.name} was made with --encoder {encoder}, but its embeddings are of "
            f"{given.prompts['encoder']}; "
            'name the encoder and its weights by --embedding "--encoder ..."'
        )


def _encoder(given: GivenDataset) -> str:
    name: str = given.embedding.encoder
    return name


def _given_planes(given: GivenDataset) -> str:
    return "".join(sorted(set((given.prompts or {}).get("prompt_planes", "A"))))


def _has_template(given: GivenDataset, prompt: str) -> bool:
    from sparse_annotation_tools.prompts.templates import resolve_template

    return given.prompts is not None and given.prompts.get("template") == resolve_template(prompt, given.cases.modality)


def dataset_options(given: GivenDataset, variant: DatasetVariant) -> argparse.Namespace:
    """Return the options that make a variant with other slices, without embeddings."""
    absolute = {
        name: value.absolute()
        for name in ("images", "labels", "unlabelled", "test_images", "test_labels", "cases")
        if (value := getattr(given.options, name)) is not None
    }
    neutral = {
        "encoder": "none", "clip_weights": None, "alpha_weights": None, "architecture": None, "encoder_seed": None,
        "precomputed_file": None, "prompt": None, "prompt_planes": None, "normalise": None, "expected_sha256": None,
        "processes": None, "backend": None, "scheduler": None, "update": False, "overwrite": False,
    }  # fmt: skip
    return argparse.Namespace(**{**vars(given.options), **absolute, **neutral, "simulate": variant.slices})
