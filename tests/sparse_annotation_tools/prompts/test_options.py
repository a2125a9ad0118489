"""Contradicting or incomplete encoder options are refused before anything is read."""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.options import EmbeddingOptions, add_encoder_arguments, options_from_arguments


def parse(*argv: str) -> EmbeddingOptions:
    """Parse a command line that holds encoder arguments only."""
    parser = argparse.ArgumentParser()
    add_encoder_arguments(parser)
    return options_from_arguments(parser.parse_args(argv))


def test_no_argument_gives_the_defaults() -> None:
    """The command line and the dataclass agree."""
    assert parse() == EmbeddingOptions()


def test_every_argument_arrives() -> None:
    """A full command line."""
    hashes = ("A" * 64, "b" * 64)
    assert parse(
        *("--encoder", "alpha-clip", "--clip-weights", "c.pt", "--alpha-weights", "a.pth"),
        *("--architecture", "ViT-L-14", "--prompt", "photo", "--prompt-planes", "sa", "--normalise", "raw"),
        *("--expected-sha256", *hashes, "--encoder-channel", "1", "--ct-window", "350", "50"),
    ) == EmbeddingOptions(
        encoder="alpha-clip",
        clip_weights="c.pt",
        alpha_weights=Path("a.pth"),
        architecture="ViT-L-14",
        prompt="photo",
        prompt_planes="SA",
        normalise="raw",
        expected_sha256=("a" * 64, "b" * 64),
        encoder_channel=1,
        ct_window=(350.0, 50.0),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "dino"}, "expected one of"),
        ({"encoder": "alpha-clip"}, "--alpha-weights FILE"),
        ({"encoder": "clip", "alpha_weights": Path("a")}, "give --encoder alpha-clip"),
        ({"encoder": "precomputed"}, "--precomputed-file FILE"),
        ({"precomputed_file": Path("p")}, "give --encoder precomputed"),
        ({"encoder": "precomputed", "precomputed_file": Path("p"), "prompt": "none"}, "--prompt has no meaning"),
        ({"encoder": "precomputed", "precomputed_file": Path("p"), "prompt_planes": "SA"}, "--prompt-planes has no"),
        ({"encoder": "precomputed", "precomputed_file": Path("p"), "normalise": "raw"}, "--normalise has no meaning"),
        ({"encoder": "clip", "clip_weights": "c", "precomputed_file": Path("p")}, "give --encoder precomputed"),
        ({"encoder": "random", "seed": 1, "clip_weights": "c.pt"}, "--clip-weights has no meaning"),
        ({"encoder": "none", "architecture": "ViT-L-14"}, "--architecture has no meaning"),
        ({"architecture": "RN50"}, "ViT-B-16, ViT-L-14, ViT-L-14-336"),
        ({"encoder": "random"}, "--encoder-seed"),
        ({"prompt_planes": ""}, "A \\(axial\\)"),
        ({"prompt_planes": "AX"}, "A \\(axial\\)"),
        ({"normalise": "l1"}, "l2, raw"),
        ({"expected_sha256": ("abc",)}, "64 hexadecimal"),
        ({"ct_window": (0.0, 40.0)}, "more than 0"),
    ],
)
def test_options_that_contradict_or_lack_something_are_refused(options: dict[str, Any], message: str) -> None:
    """Each says what to give."""
    with pytest.raises(UserError, match=message):
        EmbeddingOptions(**options)


def test_random_is_never_the_default() -> None:
    """It must be typed."""
    assert EmbeddingOptions().encoder != "random"


def test_options_load_neither_numpy_nor_torch() -> None:
    """Commands answer --help at once."""
    code = (
        "import sys, sparse_annotation_tools.prompts.options, sparse_annotation_tools.cli.embed;"
        "sys.exit(bool({'numpy', 'torch', 'open_clip', 'SimpleITK'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
