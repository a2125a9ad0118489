"""What the user chooses about embeddings, and the command-line arguments for it."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.templates import NO_TEXT, TEMPLATES

ENCODERS = ("alpha-clip", "clip", "alpha-clip-tiny", "precomputed", "random", "none")
ARCHITECTURES = ("ViT-B-16", "ViT-L-14", "ViT-L-14-336")
VIEW_OF_LETTER = {"A": "axial", "C": "coronal", "S": "sagittal"}
NORMALISATIONS = ("l2", "raw")


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions:
    """Which frozen encoder embeds a dataset's annotated slices and class names, and how.

    Raises:
        UserError: two options contradict each other, or one that the encoder needs is missing.
    """

    encoder: str = "alpha-clip-tiny"
    """One of `ENCODERS`. Nothing ever falls back to `random`."""
    clip_weights: str = "openai"
    """Weights of both CLIP towers: `openai` (fetched or cached by open_clip) or a file."""
    alpha_weights: Path | None = None
    """Alpha-CLIP's visual weights; needed by `alpha-clip`, refused by `clip`."""
    architecture: str = "ViT-B-16"
    """One of `ARCHITECTURES`; must be the one the weights were made for."""
    prompt: str = "containing"
    """Text template: a name in `TEMPLATES`, `none`, or a sentence with `[CLS]` in it."""
    prompt_planes: str = "A"
    """Planes whose embeddings make E_v, letters of `VIEW_OF_LETTER`; averaged, so `AA` is `A`."""
    normalise: str = "l2"
    """`l2`: every stored and every averaged embedding has length 1; `raw`: as the encoder gives it."""
    expected_sha256: tuple[str, ...] = ()
    """Where given, the SHA-256 of every weight file that is read must be among these."""
    precomputed_file: Path | None = None
    """File of embeddings for `precomputed`, in the format of `prompts.safetensors`."""
    seed: int | None = None
    """Seed of `random`, which must be given with it."""
    encoder_channel: int = 0
    """Image channel that is encoded."""
    ct_window: tuple[float, float] = (400.0, 40.0)
    """Width and level in HU that map CT intensities to grey; other modalities use 0.5-99.5 percentiles."""

    def __post_init__(self) -> None:
        """Check what types cannot say."""
        _one_of("--encoder", self.encoder, ENCODERS)
        _one_of("--architecture", self.architecture, ARCHITECTURES)
        _one_of("--normalise", self.normalise, NORMALISATIONS)
        if not self.prompt_planes or set(self.prompt_planes) - set(VIEW_OF_LETTER):
            raise UserError(
                f"--prompt-planes is {self.prompt_planes!r}, expected letters of "
                f"{', '.join(f'{letter} ({view})' for letter, view in VIEW_OF_LETTER.items())}, for example A or SA"
            )
        if self.encoder == "alpha-clip" and self.alpha_weights is None:
            raise UserError(
                "--encoder alpha-clip needs Alpha-CLIP's visual weights; give them with --alpha-weights FILE, "
                "or take --encoder clip (no mask) or alpha-clip-tiny (built in)"
            )
        if self.encoder != "alpha-clip" and self.alpha_weights is not None:
            raise UserError(f"--alpha-weights has no meaning with --encoder {self.encoder}; give --encoder alpha-clip")
        if self.encoder not in ("alpha-clip", "clip"):
            for option, name in (("--clip-weights", "clip_weights"), ("--architecture", "architecture")):
                if getattr(self, name) != getattr(EmbeddingOptions, name):
                    raise UserError(f"{option} has no meaning with --encoder {self.encoder}; give --encoder alpha-clip")
        if self.encoder == "precomputed" and self.precomputed_file is None:
            raise UserError("--encoder precomputed needs the file of embeddings; give --precomputed-file FILE")
        if self.encoder != "precomputed" and self.precomputed_file is not None:
            raise UserError(
                f"--precomputed-file has no meaning with --encoder {self.encoder}; give --encoder precomputed"
            )
        if self.encoder == "precomputed":
            for option, name in (
                ("--prompt", "prompt"),
                ("--prompt-planes", "prompt_planes"),
                ("--normalise", "normalise"),
            ):
                if getattr(self, name) != getattr(EmbeddingOptions, name):
                    raise UserError(
                        f"{option} has no meaning with --encoder precomputed: the file itself says it; leave it out"
                    )
        if self.encoder == "random" and self.seed is None:
            raise UserError("--encoder random needs a seed; give --encoder-seed N")
        if self.ct_window[0] <= 0:
            raise UserError(f"--ct-window has width {self.ct_window[0]:g} HU, expected more than 0; give WIDTH LEVEL")
        for digest in self.expected_sha256:
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise UserError(f"--expected-sha256 {digest!r} is no SHA-256; give 64 hexadecimal digits")


def add_encoder_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the encoder's arguments to a command's parser; read them back with `options_from_arguments`."""
    default = EmbeddingOptions()
    group = parser.add_argument_group("encoder", "frozen encoder of annotated slices and class names, run once")
    group.add_argument(
        "--encoder",
        choices=ENCODERS,
        default=default.encoder,
        help="alpha-clip and clip need weights; alpha-clip-tiny is built in (default); precomputed reads "
        "--precomputed-file; random carries no semantics and needs --encoder-seed; none stores no embeddings",
    )
    group.add_argument(
        "--clip-weights",
        default=default.clip_weights,
        metavar="openai|FILE",
        help="weights of both CLIP towers (default openai, downloaded once by open_clip)",
    )
    group.add_argument("--alpha-weights", type=Path, metavar="FILE", help="Alpha-CLIP's visual weights")
    group.add_argument("--architecture", choices=ARCHITECTURES, default=default.architecture)
    group.add_argument(
        "--prompt",
        default=default.prompt,
        metavar="TEMPLATE",
        help=f"{', '.join(TEMPLATES)}, {NO_TEXT}, or a sentence with [CLS] in it (default {default.prompt})",
    )
    group.add_argument(
        "--prompt-planes",
        default=default.prompt_planes,
        metavar="LETTERS",
        help="planes whose image embeddings are averaged: A axial, C coronal, S sagittal (default A)",
    )
    group.add_argument("--normalise", choices=NORMALISATIONS, default=default.normalise)
    group.add_argument(
        "--expected-sha256",
        nargs="+",
        default=(),
        metavar="HASH",
        help="refuse weight files whose SHA-256 is not among these",
    )
    group.add_argument("--precomputed-file", type=Path, metavar="FILE", help="embeddings for --encoder precomputed")
    group.add_argument("--encoder-seed", type=int, metavar="N", help="seed of --encoder random")
    group.add_argument(
        "--encoder-channel", type=int, default=default.encoder_channel, metavar="N", help="image channel (default 0)"
    )
    group.add_argument(
        "--ct-window",
        type=float,
        nargs=2,
        default=default.ct_window,
        metavar=("WIDTH", "LEVEL"),
        help="grey window of CT in HU (default 400 40)",
    )


def options_from_arguments(args: argparse.Namespace) -> EmbeddingOptions:
    """Build the options from arguments that `add_encoder_arguments` added.

    Raises:
        UserError: two options contradict each other, or one that the encoder needs is missing.
    """
    width, level = args.ct_window
    return EmbeddingOptions(
        encoder=args.encoder,
        clip_weights=args.clip_weights,
        alpha_weights=args.alpha_weights,
        architecture=args.architecture,
        prompt=args.prompt,
        prompt_planes=args.prompt_planes.upper(),
        normalise=args.normalise,
        expected_sha256=tuple(digest.lower() for digest in args.expected_sha256),
        precomputed_file=args.precomputed_file,
        seed=args.encoder_seed,
        encoder_channel=args.encoder_channel,
        ct_window=(width, level),
    )


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{option} is {value!r}, expected one of {', '.join(allowed)}")
