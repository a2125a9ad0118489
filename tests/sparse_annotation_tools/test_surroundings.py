"""Commands in odd surroundings: no home folder, a working folder that nobody can write to, spaces in every path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparse_annotation_tools.phantom import write_phantom_set

NOWHERE = "/proc/nowhere"  # neither there nor to be made, not even by root


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, a folder that root cannot write to either")
def test_commands_need_no_home_and_no_working_folder(tmp_path: Path) -> None:
    """A dataset and suggestions are made, by worker processes too; only where the user said is anything written."""
    folder = tmp_path / "my scans, 2nd try"
    write_phantom_set(folder, labelled=1, unlabelled=1, test=0, shape=(10, 12, 14), spacing_mm=(3.0, 3.0, 3.0))
    raw, suggested = folder / "nn U-Net raw", folder / "my suggestions"
    variables = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME", "USER")}
    variables |= {"HOME": NOWHERE, "nnUNet_raw": str(raw), "MPLCONFIGDIR": f"{NOWHERE}/matplotlib"}
    variables["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    images, labels = str(folder / "labelled" / "images"), str(folder / "labelled" / "labels")
    make = [
        "-d",
        "7",
        "-n",
        "Spaces",
        "--images",
        images,
        "--labels",
        labels,
        "--simulate",
        "SCA",
        "--label-names",
        "organ",
    ]
    commands = {
        "make_sparse_dataset": [*make, "--encoder", "random", "--encoder-seed", "0", "-np", "2"],
        "suggest_slices": ["-i", images, "-o", str(suggested), "-np", "1"],
    }
    for module, arguments in commands.items():
        code = f"import sys; from sparse_annotation_tools.cli.{module} import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], env=variables, cwd="/proc", capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert (raw / "Dataset007_Spaces" / "rada" / "prompts.safetensors").is_file()
    assert (suggested / "planes.csv").is_file()
    assert not list(suggested.rglob(".partial-*"))
