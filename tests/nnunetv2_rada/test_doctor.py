"""`rada-doctor`: each check says what is wrong and what to type."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from nnunetv2_rada import _autoload, doctor
from nnunetv2_rada.doctor import Finding


def _only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


def _requires(monkeypatch: pytest.MonkeyPatch, *requirements: str) -> None:
    found = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: list(requirements))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1.0" if name == "nnunetv2-rada" else found(name))


def test_versions_out_of_range_and_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets a line with what to install; those in range share one; extras do not count."""
    _requires(monkeypatch, "numpy>=1", "torch<1", "no-such-package>=2", "pytest<1; extra == 'test'")
    findings = list(doctor.check_versions())
    assert [finding.level for finding in findings] == ["FIX", "FIX", "ok"]
    assert findings[0].mend == 'pip install "torch<1"'
    assert findings[0].text == f"found {importlib.metadata.version('torch')}, expected torch<1"
    assert findings[1].text == "found nothing, expected no-such-package>=2"
    assert f"numpy {importlib.metadata.version('numpy')}" in findings[2].text


def test_a_checkout_that_was_never_installed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an install there is no .pth file, so the line says how to install."""

    def missing(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    finding = _only(doctor.check_versions())
    assert finding.level == "FIX"
    assert finding.mend == f"pip install {Path(doctor.__file__).parent.parent}"


def test_the_trainer_is_looked_for_as_nnunet_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found with the variable set; without it, the line gives the export that mends it, which then does."""
    monkeypatch.delenv(_autoload.VARIABLE, raising=False)
    finding = _only(doctor.check_trainer())
    assert finding.level == "FIX"
    name, _, value = finding.mend.removeprefix("export ").partition("=")
    monkeypatch.setenv(name, value.strip('"'))
    finding = _only(doctor.check_trainer())
    assert finding.level == "ok"
    assert str(Path(doctor.__file__).parent / "trainer.py") in finding.text


def test_a_trainer_that_cannot_be_imported_is_a_line_not_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken dependency of the trainer shows by its own message."""
    broken = ModuleType("nnunetv2.utilities.find_objects")
    monkeypatch.setitem(sys.modules, broken.__name__, broken)
    finding = _only(doctor.check_trainer())
    assert finding.level == "FIX"
    assert "cannot import name" in finding.text


def test_a_command_of_another_python_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PATH leads to nothing, to another environment's nnU-Net, or, after typing the line, to the right one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "is not on PATH" in _only(doctor.check_commands()).text
    (tmp_path / "nnUNetv2_train").touch(mode=0o755)
    finding = _only(doctor.check_commands())
    assert f"on PATH is {tmp_path / 'nnUNetv2_train'}, of another Python" in finding.text
    monkeypatch.setenv("PATH", finding.mend.split('"')[1].replace("$PATH", str(tmp_path)))
    assert _only(doctor.check_commands()).level == "ok"


def test_folders_must_be_set_exist_and_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of nnU-Net's three folders has a line of its own."""
    monkeypatch.delenv("nnUNet_raw")
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "absent"))
    monkeypatch.setenv("nnUNet_results", "/proc")  # nobody, root included, can write there
    findings = list(doctor.check_folders())
    assert [finding.level for finding in findings] == ["FIX"] * 3
    assert "export nnUNet_raw=" in findings[0].mend
    assert findings[1].mend == f'mkdir -p "{tmp_path / "absent"}"'
    assert "cannot be written" in findings[2].text


def test_good_folders_are_fine() -> None:
    """The test run's own folders pass, with the free space."""
    assert {finding.level for finding in doctor.check_folders()} == {"ok"}


def test_ants_and_open_clip_work_here() -> None:
    """The real libraries register two slices and import."""
    assert _only(doctor.check_registration()).level == "ok"
    assert _only(doctor.check_encoders()).level == "ok"


@pytest.mark.parametrize(
    ("package", "check", "mend"),
    [
        ("ants", doctor.check_registration, "pip install --force-reinstall antspyx"),
        ("open_clip", doctor.check_encoders, "pip install --force-reinstall open_clip_torch torchvision"),
    ],
)
def test_a_library_that_does_not_import_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, check: doctor.Check, mend: str
) -> None:
    """A missing library is a line with the install that mends it."""
    monkeypatch.setitem(sys.modules, package, None)
    finding = _only(check())
    assert finding.level == "FIX"
    assert finding.mend == mend


def test_registration_that_does_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """ANTs that imports but does not move the disc fails the check."""
    import ants

    monkeypatch.setattr(ants, "registration", lambda fixed, moving, **_: {"warpedmovout": moving})
    finding = _only(doctor.check_registration())
    assert finding.level == "FIX"
    assert "badly" in finding.text


def test_a_gpu_that_fails_in_mixed_precision_must_be_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU is only good if a scaled step runs on it; each GPU has its line."""
    properties = SimpleNamespace(name="Some GPU", total_memory=24 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)

    def train(device: Any) -> None:
        if device.index == 1:
            raise RuntimeError("CUDA error: no kernel image\nmore")

    monkeypatch.setattr(doctor, "_train_in_mixed_precision", train)
    first, second = doctor.check_device()
    assert (first.level, second.level) == ("ok", "FIX")
    assert second.text == "GPU 1 Some GPU, 24 GiB, fails in mixed precision (CUDA error: no kernel image)"


def test_no_gpu_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training works on a CPU, so nothing must be mended, but the option to type is given."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    finding = _only(doctor.check_device())
    assert finding.level == "note"
    assert "-device cpu" in finding.text


def test_more_loader_processes_than_cores_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may own fewer cores than the machine shows to nnU-Net."""
    monkeypatch.setattr("nnunetv2.utilities.default_n_proc_DA.get_allowed_n_proc_DA", lambda: 64)
    monkeypatch.setattr("joblib.cpu_count", lambda: 4)
    finding = next(doctor.check_resources())
    assert finding.level == "note"
    assert finding.mend == "export nnUNet_n_proc_DA=4"


@pytest.mark.parametrize(("levels", "status"), [(("ok", "note"), 0), (("ok", "FIX", "FIX"), 2)])
def test_the_exit_status_is_2_if_something_must_be_mended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], levels: tuple[str, ...], status: int
) -> None:
    """Notes do not count; the last line says how many lines to look for."""
    monkeypatch.setattr(
        doctor, "CHECKS", tuple(lambda level=level: iter([Finding(level, "x", "y", "z")]) for level in levels)
    )
    assert doctor.main([]) == status
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert len([line for line in lines if not line.startswith("next: ")]) == len(levels)
    assert lines[-1].startswith("next: ") == (status == 0)
    assert output.out.splitlines()[0] == "ok    x          y; type: z"
    assert ("2 of the lines above start with FIX" in output.err) == (status == 2)
