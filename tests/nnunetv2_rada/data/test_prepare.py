"""Which side volumes a training makes anew before it begins."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nnunetv2_rada.data import side_volumes
from nnunetv2_rada.data.side_volumes import NUM_CHANNELS, prepare, save_side_volumes

SHAPE = (12, 10, 8)


def save(folder: Path, case: str, fingerprint: str) -> None:
    """Write side volumes that say nothing."""
    labels, confidence = np.zeros((NUM_CHANNELS, *SHAPE), np.int8), np.zeros((1, *SHAPE), np.uint8)
    save_side_volumes(
        folder, case, labels, confidence, origin=(0.0,) * 3, step=(1.0,) * 3, planes=(), fingerprint=fingerprint
    )


@pytest.fixture
def remade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that prepares three cases and says which were made."""
    for case in "abc":
        save(tmp_path, case, "now")

    def run() -> list[str]:
        made: list[str] = []
        monkeypatch.setattr(side_volumes, "make", lambda source, folder, tools: made.append(source.case))
        sources = [
            SimpleNamespace(case=case, fingerprint=lambda: "now", grid=SimpleNamespace(shape=SHAPE)) for case in "abc"
        ]
        prepare(sources, tmp_path, None, num_processes=1)
        return made

    return run


def test_what_is_whole_and_of_the_same_inputs_is_kept(tmp_path, remade):
    """Only a case that was made from something else is made anew."""
    assert remade() == []
    save(tmp_path, "b", "before")
    assert remade() == ["b"]


@pytest.mark.parametrize("left", [0.0, 0.5, 0.98])
@pytest.mark.parametrize("ending", [".b2nd", "_confidence.b2nd", ".safetensors"])
def test_a_file_that_is_cut_off_is_made_anew(tmp_path, remade, ending, left):
    """As a power cut may leave it: the message that names it promises that `--c` does."""
    file = tmp_path / f"b{ending}"
    content = file.read_bytes()
    file.write_bytes(content[: int(left * len(content))])
    assert remade() == ["b"]
