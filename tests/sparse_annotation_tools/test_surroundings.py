"""Commands in odd surroundings: no home, a working folder and a package that nobody can write to, spaces in paths."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from phantom_dataset import commands_before_training, write_small_phantoms

NOWHERE = "/proc/nowhere"  # neither there nor to be made, not even by root
RUN_ALL = """
import importlib, json, sys
import sparse_annotation_tools
print("code:", sparse_annotation_tools.__file__)
for module, arguments in json.loads(sys.argv[1]):
    status = importlib.import_module(f"sparse_annotation_tools.cli.{module}").main(arguments)
    if status:
        sys.exit(f"{module} ended with {status}")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, a folder that root cannot write to either")
def test_commands_need_no_home_no_working_folder_and_no_folder_of_their_own(tmp_path: Path, repository: Path) -> None:
    """The job up to training, by worker processes too: files appear where the user said, and nowhere else."""
    folder, code = tmp_path / "my scans, 2nd try", tmp_path / "read-only site packages"
    write_small_phantoms(folder / "scans", labelled=1, unlabelled=1)
    without_bytecode = shutil.ignore_patterns("__pycache__")
    shutil.copytree(repository / "sparse_annotation_tools", code / "sparse_annotation_tools", ignore=without_bytecode)
    before = files_of(code)
    for path in (code, *code.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)  # root may write all the same, hence the comparison
    variables = {name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", "USER")}
    variables |= {"HOME": NOWHERE, "MPLCONFIGDIR": f"{NOWHERE}/matplotlib", "PYTHONDONTWRITEBYTECODE": "1"}
    variables |= {f"nnUNet_{name}": str(folder / f"nn U-Net {name}") for name in ("raw", "preprocessed", "results")}
    elsewhere = [path for path in sys.path if path and Path(path).resolve() != repository]
    variables["PYTHONPATH"] = os.pathsep.join([str(code), *elsewhere])
    commands = json.dumps(commands_before_training(folder / "scans", folder / "made here", processes=2))
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, commands], env=variables, cwd="/proc", capture_output=True, text=True
    )
    for path in (code, *code.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert done.returncode == 0, done.stderr
    assert f"code: {code}" in done.stdout
    assert files_of(code) == before
    assert (folder / "nn U-Net raw" / "Dataset007_Phantom" / "rada" / "prompts.safetensors").is_file()
    assert (folder / "made here" / "suggested" / "planes.csv").is_file()
    assert (folder / "made here" / "report" / "index.html").is_file()
    assert not list(folder.rglob(".partial-*"))
    assert {path.name for path in folder.iterdir()} == {"scans", "nn U-Net raw", "made here"}


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
