"""The benchmarks of propagation: what they keep in --work, and the method that intersects extruded slices."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_annotation_tools.phantom import write_phantom_set
from sparse_annotation_tools.slices.annotation import simulate_annotation

SCRIPTS = ("propagation", "next_slice", "fusion_confidence")


@pytest.fixture
def benchmark(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a script of benchmarks/ as it imports the others."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    yield importlib.import_module
    for name in SCRIPTS:
        sys.modules.pop(name, None)


def carry(image: NDArray[Any], spacing: object, axis: int, index: int, drawn: Any, settings: object) -> Any:
    """Stand in for registration: the slice, unchanged, on every slice."""
    return np.ascontiguousarray(np.broadcast_to(np.expand_dims(drawn, axis), image.shape))


def nothing(*arguments: object) -> dict[str, Any]:
    """Stand in for the first slices, which are not kept."""
    return {"shares": {"middle": {"sagittal": 1.0, "coronal": 1.0, "axial": 1.0}}, "cpu_s": 0.0}


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_is_kept_of_one_set_is_not_taken_for_another(
    benchmark: Callable[[str], ModuleType],
    script: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also where set and cases have the same names; what is kept of the same one is taken."""
    module = benchmark(script)
    monkeypatch.setattr(module, "measure_first", nothing, raising=False)
    monkeypatch.setattr(module, "FURTHER", 1, raising=False)
    for folder, seed in (("one", 0), ("other", 1)):
        shape = (10, 14, 16)
        write_phantom_set(tmp_path / folder / "set", labelled=2, unlabelled=0, test=0, shape=shape, seed=seed)
    options = {"propagation": ["--methods", "default"], "next_slice": ["--seeds", "1"]}.get(script, [])
    carried: list[object] = []

    def counted(*arguments: Any) -> Any:
        carried.append(arguments)
        return carry(*arguments)

    monkeypatch.setattr(module, "propagate", counted)

    def run(folder: str, work: str) -> Any:
        carried.clear()
        data = ["--data", str(tmp_path / folder / "set"), "--work", str(tmp_path / work)]
        monkeypatch.setattr(sys, "argv", [script, *data, *options])
        module.main()
        last = capsys.readouterr().out.splitlines()[-1]
        return json.loads(last, object_hook=lambda figures: {n: v for n, v in figures.items() if "cpu_s" not in n})

    run("one", "shared")
    assert carried
    assert run("other", "shared") == run("other", "fresh")
    run("one", "shared")
    assert not carried


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_other_code_kept_is_not_taken(
    benchmark: Callable[[str], ModuleType], repository: Path, script: str, tmp_path: Path
) -> None:
    """Nor what other settings or another label gave."""
    module = benchmark("propagation")
    write_phantom_set(tmp_path, labelled=2, unlabelled=0, test=0, shape=(10, 14, 16))
    image, other = sorted((tmp_path / "labelled" / "images").iterdir())
    code, changed = repository / "benchmarks" / f"{script}.py", tmp_path / f"{script}.py"
    changed.write_text(code.read_text() + "\n# changed\n")
    found = [module.made_from(str(code), image, *settings) for settings in ((), (0.5,))]
    found += [module.made_from(str(code), other), module.made_from(str(changed), image)]
    shutil.copy(module.label_of(other), module.label_of(image))
    found.append(module.made_from(str(code), image))
    assert len(set(found)) == 5


def test_extruded_slices_are_intersected_class_by_class(benchmark: Callable[[str], ModuleType]) -> None:
    """Where one slice shows another class than the others do, there is none."""
    module = benchmark("propagation")
    truth = np.zeros((8, 8, 8), np.uint8)
    truth[1:7, 1:7, 1:7] = 1
    truth[5:7, 1:7, 1:7] = 2  # on the slices of two views only
    annotation = simulate_annotation(truth, {"sagittal": 2, "coronal": 1, "axial": 0}, ("sagittal", "coronal", "axial"))
    scan = module.Scan(image=truth, truth=truth, spacing_mm=(1, 1, 1), annotation=annotation)
    label = module._extruded(scan)
    (axial,) = [index for axis, index in annotation.planes if axis == 0]
    shown = truth[axial].max()
    off = annotation.volume() < 0
    assert (label[off & (truth == shown)] == shown).all()
    assert (label[off & (truth != shown)] == 0).all()
