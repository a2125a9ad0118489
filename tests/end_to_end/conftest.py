"""One dataset and one trained fold, shared by every test that drives the stock commands."""

from __future__ import annotations

import json

import pytest
from end_to_end.workspace import CONFIG, Workspace

import nnunetv2_rada._autoload  # noqa: F401  exports nnUNet_extTrainer where the package is not installed
from sparse_annotation_tools.phantom import CLASS_NAMES, write_phantom_set


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Phantoms -> raw dataset -> preprocessed."""
    work = Workspace(tmp_path_factory.mktemp("main_job"))
    for name in ("raw", "preprocessed", "results"):
        (work.root / name).mkdir()
    (work.root / "config.json").write_text(json.dumps(CONFIG))
    scans = work.root / "scans"
    write_phantom_set(scans, labelled=2, unlabelled=2, test=2, shape=(20, 30, 34), directions="permuted", classes=2)
    work.run(
        "rada-make-sparse-dataset", "-d", "901", "-n", "Phantom", "--images", f"{scans}/labelled/images", "--labels",
        f"{scans}/labelled/labels", "--unlabelled", f"{scans}/unlabelled/images", "--simulate", "SCA",
        "--test-images", f"{scans}/test/images", "--test-labels", f"{scans}/test/labels",
        "--label-names", *CLASS_NAMES[:2], "--encoder", "random", "--encoder-seed", "0", "-np", "2",
    )  # fmt: skip
    work.run(
        "nnUNetv2_plan_and_preprocess", "-d", "901", "-c", "3d_fullres", "--verify_dataset_integrity", "-np", "1",
        "-npfp", "1",
    )  # fmt: skip
    return work


@pytest.fixture(scope="session")
def trained(workspace: Workspace) -> str:
    """What an undisturbed training of fold 0 printed."""
    return workspace.train()
