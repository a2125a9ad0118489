"""CLIP and Alpha-CLIP encode a dataset from weight files, once."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import save_file
from torch import nn

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts import (
    EmbeddingOptions,
    PromptStore,
    alpha_clip,
    check_encoder,
    clip_encoder,
    embed_dataset,
)
from sparse_annotation_tools.prompts.cache import EmbeddingCache
from sparse_annotation_tools.prompts.clip_encoder import make_clip_encoder
from sparse_annotation_tools.prompts.dataset_embedding import CACHE_FOLDER
from sparse_annotation_tools.prompts.slices import LabelledPlane
from sparse_annotation_tools.prompts.weights import file_sha256

from .tiny_clip import ALPHA_FILE, reference, tiny_config, tiny_state


@pytest.fixture(autouse=True)
def _tiny_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ViT-B-16 stand for the small model of the reference fixture."""
    for module in (alpha_clip, clip_encoder):
        monkeypatch.setattr(module, "clip_config", lambda architecture: tiny_config())


@pytest.fixture
def clip_file(tmp_path: Path) -> Path:
    """Weights of both towers."""
    save_file(tiny_state(), tmp_path / "clip.safetensors")
    return tmp_path / "clip.safetensors"


def embed(dataset: Path, clip_file: Path, **options: Any) -> PromptStore:
    """Embed with Alpha-CLIP unless told otherwise, and read the result."""
    if options.setdefault("encoder", "alpha-clip") == "alpha-clip":
        options.setdefault("alpha_weights", ALPHA_FILE)
    embed_dataset(dataset, EmbeddingOptions(clip_weights=str(clip_file), **options))
    return PromptStore.load(dataset / "rada" / "prompts.safetensors")


@pytest.fixture
def forward_passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the towers that ran, in order."""
    ran: list[str] = []
    for tower in ("encode_image", "encode_text"):
        original = getattr(clip_encoder.open_clip.CLIP, tower)

        def counted(self: nn.Module, x: torch.Tensor, tower: str = tower, original: Any = original) -> torch.Tensor:
            ran.append(tower)
            return original(self, x)

        monkeypatch.setattr(clip_encoder.open_clip.CLIP, tower, counted)
    return ran


def test_the_file_says_what_made_it(dataset: Path, clip_file: Path) -> None:
    """Encoder, architecture, both hashes, template, planes, normalisation and preprocessing are recorded."""
    metadata = embed(dataset, clip_file).metadata
    assert metadata["clip_sha256"] == file_sha256(clip_file)
    assert metadata["alpha_sha256"] == file_sha256(ALPHA_FILE)
    assert (metadata["encoder"], metadata["architecture"]) == ("alpha-clip", "ViT-B-16")
    assert metadata["template"].startswith("An image containing the [CLS]")
    assert (metadata["prompt_planes"], metadata["normalise"]) == ("A", "l2")
    assert "percentiles 0.5-99.5" in metadata["preprocessing"]
    assert "research only" in metadata["licence"]


def test_embeddings_have_length_one_and_follow_the_mask(dataset: Path, clip_file: Path) -> None:
    """On one slice, two classes have two embeddings."""
    rows = embed(dataset, clip_file).images["a"]["coronal"]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3


def test_raw_embeddings_point_the_same_way(dataset: Path, clip_file: Path) -> None:
    """Normalisation changes the length only, of text and of image."""
    unit, raw = (embed(dataset, clip_file, normalise=normalise) for normalise in ("l2", "raw"))
    for before, after in (
        (unit.images["a"]["axial"][0], raw.images["a"]["axial"][0]),
        (unit.text_kt[0], raw.text_kt[0]),
    ):
        np.testing.assert_allclose(np.linalg.norm(before), 1, rtol=1e-5)
        np.testing.assert_allclose(after / np.linalg.norm(after), before, atol=1e-6)
        assert abs(np.linalg.norm(after) - 1) > 1e-2


def test_plain_clip_does_not_see_the_mask(dataset: Path, clip_file: Path) -> None:
    """The paper's CLIP row: all classes of a slice share one image embedding; their texts differ."""
    store = embed(dataset, clip_file, encoder="clip")
    np.testing.assert_array_equal(store.images["a"]["coronal"][0], store.images["a"]["coronal"][1])
    assert np.abs(store.text_kt[0] - store.text_kt[1]).max() > 1e-3


def test_the_encoder_agrees_with_the_official_model(clip_file: Path, tmp_path: Path) -> None:
    """A slice that already has the tower's size and colours goes through unchanged: the model itself is at parity."""
    options = EmbeddingOptions(encoder="alpha-clip", clip_weights=str(clip_file), alpha_weights=ALPHA_FILE)
    encoder = make_clip_encoder(options, EmbeddingCache(folder=tmp_path))
    numbers = reference()
    pixels = torch.from_numpy(np.concatenate([numbers["rgb"], numbers["alpha_random"]], axis=1))
    with torch.inference_mode():
        embedding = encoder.model.encode_image(pixels).numpy()
    np.testing.assert_allclose(embedding, numbers["embedding_random"], atol=1e-5)


def test_a_second_run_encodes_nothing(dataset: Path, clip_file: Path, forward_passes: list[str]) -> None:
    """The first run encodes 2 prompts and 10 regions; the second builds no model and gives the same numbers."""
    first = embed(dataset, clip_file)
    assert (forward_passes.count("encode_text"), forward_passes.count("encode_image")) == (2, 10)
    forward_passes.clear()
    second = embed(dataset, clip_file)
    assert forward_passes == []
    np.testing.assert_array_equal(first.images["b"]["sagittal"], second.images["b"]["sagittal"])


def test_only_what_changed_is_encoded_again(dataset: Path, clip_file: Path, forward_passes: list[str]) -> None:
    """The key is what the tower sees: one slice's mask, or a case's intensities; names and places do not matter."""
    embed(dataset, clip_file)
    forward_passes.clear()
    label_file, image_file = dataset / "labelsTr" / "a.nii.gz", dataset / "imagesTr" / "b_0000.nii.gz"
    label = sitk.ReadImage(str(label_file))
    volume = sitk.GetArrayFromImage(label)
    assert volume[3, 10, 10] == 1
    volume[3, 10, 10] = 2  # on case a's axial slice, off the other planes: both classes have a new mask there
    changed = sitk.GetImageFromArray(volume)
    changed.CopyInformation(label)
    sitk.WriteImage(changed, str(label_file))
    embed(dataset, clip_file)
    assert forward_passes == ["encode_image"] * 2
    forward_passes.clear()
    sitk.WriteImage(sitk.ReadImage(str(image_file)) * -1.0, str(image_file))
    embed(dataset, clip_file)
    assert forward_passes == ["encode_image"] * 5  # all regions of case b
    forward_passes.clear()
    embed(dataset, clip_file, prompt="photo", prompt_planes="SA", normalise="raw")
    assert forward_passes == ["encode_text"] * 2


def test_the_user_sees_how_far_it_is(dataset: Path, clip_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The slices are counted, all six of them."""
    embed(dataset, clip_file)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("encoding slices: ")]
    assert lines[0].startswith("encoding slices: 1/6, ")
    assert lines[-1].startswith("encoding slices: 6/6, ")


def test_a_killed_run_goes_on(
    dataset: Path, clip_file: Path, forward_passes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a stop in the middle only the missing regions are encoded, and no half-written file was left."""
    cached = EmbeddingCache.get_or_encode

    def killed(self: EmbeddingCache, *args: Any) -> np.ndarray:
        if len(forward_passes) == 6:
            raise KeyboardInterrupt
        return cached(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddingCache, "get_or_encode", killed)
        with pytest.raises(KeyboardInterrupt):
            embed(dataset, clip_file)
    assert not (dataset / "rada" / "prompts.safetensors").exists()
    embed(dataset, clip_file)
    assert len(forward_passes) == 12


@pytest.mark.slow
def test_a_run_that_was_killed_outright_goes_on(
    dataset: Path, clip_file: Path, forward_passes: list[str], tmp_path: Path
) -> None:
    """SIGKILL between two slices: nothing lies under the final name, and what was encoded is not encoded again."""
    options = EmbeddingOptions(encoder="alpha-clip", clip_weights=str(clip_file), alpha_weights=ALPHA_FILE)
    code = f"""
import time
from pathlib import Path, PosixPath
from sparse_annotation_tools.prompts import EmbeddingOptions, alpha_clip, clip_encoder, embed_dataset
alpha_clip.clip_config = clip_encoder.clip_config = lambda architecture: {tiny_config()!r}
encode = clip_encoder.ClipEncoder.encode_region
clip_encoder.ClipEncoder.encode_region = lambda *arguments: (time.sleep(0.3), encode(*arguments))[1]
embed_dataset(Path({str(dataset)!r}), {options!r})
"""
    cache = dataset / CACHE_FOLDER
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while len(list(cache.glob("[!.]*.npy"))) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    printed = process.communicate()[0].decode()
    assert process.returncode == -signal.SIGKILL, printed
    assert not (dataset / "rada" / "prompts.safetensors").exists()
    done = len(list(cache.glob("[!.]*.npy")))
    assert 5 <= done < 12
    went_on = embed(dataset, clip_file)
    assert len(forward_passes) == 12 - done
    shutil.rmtree(cache)
    undisturbed = embed(dataset, clip_file)
    for case, slices in undisturbed.images.items():
        for key, rows in slices.items():
            np.testing.assert_array_equal(went_on.images[case][key], rows)


def test_other_weights_are_not_served_from_the_cache(
    dataset: Path, clip_file: Path, tmp_path: Path, forward_passes: list[str]
) -> None:
    """The cache's key holds the hashes of the weights."""
    embed(dataset, clip_file)
    forward_passes.clear()
    other = tmp_path / "other.safetensors"
    save_file(tiny_state(seed=1), other)
    embed(dataset, other)
    assert len(forward_passes) == 12


def test_a_damaged_cache_entry_is_made_again(dataset: Path, clip_file: Path, forward_passes: list[str]) -> None:
    """Half an entry is not read."""
    before = embed(dataset, clip_file)
    entries = sorted((dataset / CACHE_FOLDER).glob("*.npy"))
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:-4])
    forward_passes.clear()
    after = embed(dataset, clip_file)
    assert len(forward_passes) == len(entries)
    np.testing.assert_array_equal(before.text_kt, after.text_kt)


def test_mistakes_come_up_before_a_dataset_is_made(clip_file: Path, tmp_path: Path) -> None:
    """Whole files pass; a file that lacks a tower, a prompt that cannot be filled and a missing file do not."""
    check = partial(check_encoder, modality="PET", class_names=["liver"])
    options = EmbeddingOptions(encoder="alpha-clip", clip_weights=str(clip_file), alpha_weights=ALPHA_FILE)
    check(options)
    half = tmp_path / "half.safetensors"
    save_file({name: tensor for name, tensor in tiny_state().items() if name.startswith("visual.")}, half)
    with pytest.raises(UserError, match="lacks"):
        check(replace(options, clip_weights=str(half)))
    with pytest.raises(UserError, match="needs the modality"):
        check(replace(options, prompt="modality"))
    with pytest.raises(UserError, match="nowhere does not exist"):
        check(EmbeddingOptions(encoder="precomputed", precomputed_file=Path("nowhere")))
    check(EmbeddingOptions(encoder="none"))


def test_a_prompt_of_77_tokens_is_read_and_one_of_78_is_refused(dataset: Path, clip_file: Path) -> None:
    """CLIP reads 77 tokens, start and end included; open_clip would cut the rest silently."""
    room = 77 - 2 - len(clip_encoder.open_clip.SimpleTokenizer().encode("bright ball"))
    assert embed(dataset, clip_file, prompt="[CLS] " + "very " * room).text_kt.shape == (2, 64)
    with pytest.raises(UserError, match="has 78 tokens, but the text encoder reads 77"):
        embed(dataset, clip_file, prompt="[CLS] " + "very " * (room + 1))


@pytest.mark.parametrize("missing", ["clip", "alpha"])
def test_a_missing_file_names_both_files_and_every_way(dataset: Path, clip_file: Path, missing: str) -> None:
    """Which two files, the options to give them, embeddings made elsewhere, and the built-in encoder."""
    files = {"clip": clip_file, "alpha": ALPHA_FILE, missing: Path("nowhere.pth")}
    with pytest.raises(UserError) as refused:
        embed(dataset, files["clip"], alpha_weights=files["alpha"])
    for part in ("--clip-weights FILE", "--alpha-weights FILE", "--precomputed-file FILE", "alpha-clip-tiny", ".pth"):
        assert part in str(refused.value)


def test_offline_is_one_line(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network and without cached weights nothing is encoded, and nothing falls back to random."""

    def offline(*args: Any, **kwargs: Any) -> str:
        raise OSError("Name or service not known")

    monkeypatch.setattr(clip_encoder, "try_to_load_from_cache", lambda *args: None)
    monkeypatch.setattr(clip_encoder, "download_pretrained", offline)
    with pytest.raises(UserError, match=r"cannot be downloaded .Name or service not known") as refused:
        embed_dataset(dataset, EmbeddingOptions(encoder="alpha-clip", alpha_weights=ALPHA_FILE))
    assert "ViT-B-16.pt" in str(refused.value)
    assert not (dataset / "rada" / "prompts.safetensors").exists()


def test_a_file_that_is_not_the_expected_one_is_refused(dataset: Path, clip_file: Path) -> None:
    """Every weight file that is read must be among the expected ones."""
    with pytest.raises(UserError, match="not among --expected-sha256"):
        embed(dataset, clip_file, expected_sha256=(file_sha256(clip_file),))
    hashes = (file_sha256(clip_file), file_sha256(ALPHA_FILE))
    assert embed(dataset, clip_file, expected_sha256=hashes).encoder == "alpha-clip"


def test_the_class_of_a_region_is_its_pixels(clip_file: Path, tmp_path: Path) -> None:
    """Renaming a class does not change its image embedding."""
    options = EmbeddingOptions(encoder="alpha-clip", clip_weights=str(clip_file), alpha_weights=ALPHA_FILE)
    encoder = make_clip_encoder(options, EmbeddingCache(folder=tmp_path))
    label = np.zeros((20, 30), np.int16)
    label[5:9, 7:15] = 2
    image = np.random.default_rng(0).normal(size=label.shape).astype(np.float32)
    plane = LabelledPlane(case="a", key="axial", image=image, label=label, pixel_mm=(1.0, 1.0), grey_range=(-2.0, 2.0))
    np.testing.assert_array_equal(encoder.encode_region(plane, "x", 2), encoder.encode_region(plane, "y", 2))
