"""A dataset of generated phantoms, and the stock commands on it, each in its own process."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

CONFIG = {
    "num_iterations": 8, "iterations_per_epoch": 4, "val_iterations_per_epoch": 1, "base_filters": 4,
    "stochastic_passes": 2, "max_patch_voxels": 16 * 16 * 32, "batch_labelled": 1, "batch_unlabelled": 1,
    "mirror_axes": [2],  # prediction mirrors along one axis, not three: a quarter of its time
}  # fmt: skip
DATASET = "Dataset901_Phantom"
MODEL = Path(DATASET) / "nnUNetTrainerRADA__nnUNetPlans__3d_fullres"


@dataclass(frozen=True)
class Workspace:
    """One dataset, made and preprocessed once, and an environment that keeps everything inside a folder."""

    root: Path

    @property
    def results(self) -> Path:
        """The default nnUNet_results."""
        return self.root / "results"

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the variables of a subprocess; an empty value unsets one."""
        folders = {f"nnUNet_{name}": str(self.root / name) for name in ("raw", "preprocessed", "results")}
        limits = {
            "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1", "nnUNet_compile": "f",
            "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1", "RADA_CONFIG": str(self.root / "config.json"),
        }  # fmt: skip
        path = {"PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"}
        variables = {**os.environ, **path, **limits, **folders, **changes}
        return {name: value for name, value in variables.items() if value}

    def run(self, *command: str, status: int = 0, **changes: str) -> str:
        """Run a command to its end; return what it printed."""
        done = subprocess.run(
            command, env=self.environment(**changes), capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == status, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def train(
        self, *more: str, fold: str = "0", trainer: str = "nnUNetTrainerRADA", configuration: str = "3d_fullres",
        status: int = 0, **changes: str,
    ) -> str:  # fmt: skip
        """Train on the CPU."""
        command = ("nnUNetv2_train", "901", configuration, fold, "-tr", trainer, "-device", "cpu")
        return self.run(*command, *more, status=status, **changes)

    def predict(self, output: Path, *more: str, **changes: str) -> None:
        """Predict the test scans with images and weights alone."""
        self.run(
            "nnUNetv2_predict", "-i", str(self.root / "scans" / "test" / "images"), "-o", str(output), "-d", DATASET,
            "-device", "cpu", "-npp", "1", "-nps", "1", *more,
            **{"nnUNet_raw": "", "nnUNet_preprocessed": "", "RADA_CONFIG": "", **changes},
        )  # fmt: skip


def checkpoint(results: Path, model: Path = MODEL, fold: str = "0") -> dict[str, Any]:
    """Load the final checkpoint of a fold."""
    content: dict[str, Any] = torch.load(results / model / f"fold_{fold}" / "checkpoint_final.pth", weights_only=False)
    return content
