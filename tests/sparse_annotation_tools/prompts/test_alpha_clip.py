"""Alpha-CLIP on open_clip's model equals the official one."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from torch import Tensor

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.alpha_clip import add_alpha_channel, build_clip, clip_config, open_clip_names
from sparse_annotation_tools.prompts.options import ARCHITECTURES
from sparse_annotation_tools.prompts.weights import read_state_dict

from .tiny_clip import ALPHA_FILE, DATA, reference, tiny_config, tiny_state

FILE = Path("weights.pth")


def alpha_state() -> dict[str, Tensor]:
    """Return the fixture's image tower under open_clip's names."""
    return open_clip_names(tiny_config(), read_state_dict(ALPHA_FILE), ALPHA_FILE)


def tiny_alpha_clip(*, quick_gelu: bool = True) -> open_clip.CLIP:
    """Return the fixture's model."""
    model = build_clip(tiny_config(quick_gelu=quick_gelu), tiny_state(), FILE)
    add_alpha_channel(model, alpha_state(), ALPHA_FILE)
    return model


def largest_difference(model: open_clip.CLIP, alpha: str) -> float:
    """Return the largest difference from the official model's embeddings for one of the reference's alpha planes."""
    numbers = reference()
    pixels = np.concatenate([numbers["rgb"], numbers[f"alpha_{alpha}"]], axis=1)
    with torch.inference_mode():
        embedding = model.encode_image(torch.from_numpy(pixels)).numpy()
    return float(np.abs(embedding - numbers[f"embedding_{alpha}"]).max())


@pytest.mark.parametrize("alpha", ["ones", "zeros", "random"])
def test_embeddings_equal_those_of_the_official_model(alpha: str) -> None:
    """All three masks agree to 1e-5 in float32."""
    assert largest_difference(tiny_alpha_clip(), alpha) < 1e-5


def test_parity_would_notice_another_activation() -> None:
    """GELU instead of QuickGELU is far outside the tolerance of the parity test."""
    assert largest_difference(tiny_alpha_clip(quick_gelu=False), "random") > 1e-3


def test_parity_would_notice_a_half_loaded_tower() -> None:
    """Weights loaded without renaming the attention keys, not strictly, are far outside the tolerance."""
    model = build_clip(tiny_config(), tiny_state(), FILE)
    add_alpha_channel(model)
    renamed = alpha_state()
    half = {name: tensor for name, tensor in renamed.items() if "in_proj" not in name}
    model.visual.load_state_dict(half, strict=False)
    assert largest_difference(model, "random") > 1e-3


def test_a_zero_alpha_channel_is_plain_clip_exactly() -> None:
    """Without Alpha-CLIP's weights no mask changes a bit of the embedding."""
    model = build_clip(tiny_config(), tiny_state(), FILE)
    pixels = torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        plain = model.encode_image(pixels[:, :3])
        add_alpha_channel(model)
        masked = model.encode_image(pixels)
    assert torch.equal(plain, masked)


def test_the_encoder_is_frozen() -> None:
    """No weight of either tower, the alpha channel's included, can learn; an embedding carries no graph."""
    model = tiny_alpha_clip()
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.encode_image(torch.ones(1, 4, 32, 32)).requires_grad


def test_token_ids_equal_the_reference() -> None:
    """The paper's prompts become the token ids that CLIP's own tokenizer gives."""
    tokenizer = open_clip.SimpleTokenizer()
    for case in json.loads((DATA / "prompt_tokens.json").read_text()):
        ids = tokenizer([case["prompt"]])[0]
        assert ids[ids != 0].tolist() == case["token_ids"]


def test_the_alpha_channel_follows_the_mask() -> None:
    """With Alpha-CLIP's weights another mask gives another embedding of the same slice."""
    numbers = reference()
    assert np.abs(numbers["embedding_ones"] - numbers["embedding_zeros"]).max() > 1e-2


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_uses_quick_gelu(architecture: str) -> None:
    """OpenAI's weights were made with QuickGELU."""
    assert clip_config(architecture)["quick_gelu"] is True


def test_an_image_tower_without_alpha_is_refused() -> None:
    """Plain CLIP weights do not pass for Alpha-CLIP's."""
    state = read_state_dict(ALPHA_FILE)
    del state["conv1_alpha.weight"]
    with pytest.raises(UserError, match=r"no conv1_alpha\.weight"):
        open_clip_names(tiny_config(), state, FILE)


@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_an_image_tower_with_wrong_weights_is_refused(fault: str) -> None:
    """A missing, an unknown and a misshapen weight are each named."""
    state = alpha_state()
    if fault == "missing":
        del state["ln_post.bias"]
    elif fault == "extra":
        state["ln_post.scale"] = torch.ones(1)
    else:
        state["ln_post.bias"] = torch.ones(3)
    model = build_clip(tiny_config(), tiny_state(), FILE)
    with pytest.raises(UserError, match=r"ln_post\.(bias|scale)"):
        add_alpha_channel(model, state, FILE)


def test_weights_of_another_architecture_name_the_right_one() -> None:
    """The towers of L/14 and L/14@336 differ in the number of positions only; the message says which to ask for."""
    state = {"conv1.weight": torch.zeros(1024, 3, 14, 14), "conv1_alpha.weight": torch.zeros(1024, 1, 14, 14)}
    state["positional_embedding"] = torch.zeros(577, 1024)
    with pytest.raises(UserError, match=r"577 positions, expected .* 257 positions; give --architecture ViT-L-14-336"):
        open_clip_names(clip_config("ViT-L-14"), state, FILE)


def test_a_text_tower_that_is_missing_is_refused() -> None:
    """An image tower given as --clip-weights does not leave the text tower random."""
    state = {name: tensor for name, tensor in tiny_state().items() if name.startswith("visual.")}
    with pytest.raises(UserError, match="lacks"):
        build_clip(tiny_config(), state, FILE)


def test_an_alpha_channel_of_zeros_is_reported() -> None:
    """A checkpoint that ignores the mask is taken, with a warning."""
    state = alpha_state()
    state["conv1.weight"][:, 3] = 0
    with pytest.warns(UserWarning, match="masks have no influence"):
        add_alpha_channel(build_clip(tiny_config(), tiny_state(), FILE), state, FILE)
