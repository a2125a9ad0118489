"""Tests of what influences the raw dataset: drawn voxels do; other voxels, processes and orders of axes do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from sparse_annotation_tools.dataset import files
from sparse_annotation_tools.dataset.request import DatasetRequest
from sparse_annotation_tools.files.volumes import write_label
from sparse_annotation_tools.phantom import Directions, write_phantom_set
from sparse_annotation_tools.propagation.chain import propagate
from sparse_annotation_tools.schema import VIEWS, CasesFile, RadaFolder
from sparse_annotation_tools.slices.planes import off_planes, on_plane

SHAPE = (12, 16, 20)
SPACING_MM = (3.0, 2.0, 2.0)
FIRST = "phantom_labelled_00"

Make = Callable[..., CasesFile]
Files = Callable[[Path], dict[str, bytes]]
ReadArray = Callable[[Path], NDArray[Any]]


def erased(dense: NDArray[Any], off: NDArray[np.bool_]) -> NDArray[Any]:
    """Forget everything off the chosen slices."""
    return np.where(off, 0, dense)


def other_classes(dense: NDArray[Any], off: NDArray[np.bool_]) -> NDArray[Any]:
    """Swap the two classes off the chosen slices."""
    return np.where(off & (dense > 0), 3 - dense.astype(int), dense).astype(dense.dtype)


def thinned(dense: NDArray[Any], off: NDArray[np.bool_]) -> NDArray[Any]:
    """Forget half of the voxels off the chosen slices, at random."""
    return np.where(off & (np.random.default_rng(0).random(off.shape) < 0.5), 0, dense)


@pytest.mark.parametrize("change", [erased, other_classes, thinned])
@pytest.mark.parametrize("strategy", ["SCA", "SA", "ASA"])
def test_no_voxel_off_the_chosen_slices_reaches_any_file(
    phantoms: Path,
    request_for: Any,
    make_quickly: Make,
    files_of: Files,
    write_volume: Callable[..., Path],
    read_array: ReadArray,
    change: Callable[..., NDArray[Any]],
    strategy: str,
) -> None:
    """Dense labels are read to cut the slices, as an annotator would have drawn them, and for nothing else."""
    request = request_for(phantoms, simulate=strategy, modality="CT")
    made = make_quickly(request)
    before = files_of(request.raw) | files_of(request.preprocessed)
    for case in made.labelled:
        path = request.labels / f"{case}.nii.gz"
        dense = read_array(path)
        off = off_planes(np.ones(dense.shape, dtype=bool), made.cases[case].planes)
        changed = change(dense, off)
        assert (changed != dense).any()
        write_volume(path, changed, like=path)
    again = request_for(phantoms, simulate=strategy, modality="CT", overwrite=True)
    make_quickly(again)
    assert files_of(request.raw) | files_of(request.preprocessed) == before


def test_a_changed_voxel_on_a_chosen_slice_does_reach_the_files(
    phantoms: Path, request_for: Any, make_quickly: Make, files_of: Files, write_volume: Callable[..., Path]
) -> None:
    """The control of the test above."""
    request = request_for(phantoms)
    made = make_quickly(request)
    before = files_of(request.folder)
    path = request.labels / f"{FIRST}.nii.gz"
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    drawn = array[on_plane(made.cases[FIRST].planes[2])]
    where = tuple(np.argwhere(drawn == 1)[0])
    array[on_plane(made.cases[FIRST].planes[2])][where] = 2
    write_volume(path, array, like=path)
    make_quickly(request_for(phantoms, overwrite=True))
    after = files_of(request.folder)
    changed = {name for name in before if name in after and before[name] != after[name]}
    assert f"labelsTr/{FIRST}.nii.gz" in changed
    assert f"rada/propagated/{FIRST}_2.nii.gz" in changed
    assert "rada/cases.json" in changed
    assert not any("labelled_01" in name for name in changed)


def test_the_same_request_gives_the_same_bytes(
    phantoms: Path, request_for: Any, make_quickly: Make, files_of: Files, tmp_path: Path
) -> None:
    """On one process and on two."""
    made = []
    for number, processes in enumerate((1, 2)):
        request = request_for(phantoms, raw=tmp_path / str(number), processes=processes)
        make_quickly(request)
        made.append(files_of(request.folder))
    assert made[0] == made[1]


@pytest.fixture
def one_scan(tmp_path: Path, request_for: Any) -> Callable[..., DatasetRequest]:
    """Make a request for a single scan, which all processes work on."""
    folder = tmp_path / "one"
    write_phantom_set(folder, labelled=1, unlabelled=0, test=0, shape=SHAPE, spacing_mm=SPACING_MM)

    def make(name: str, processes: int) -> DatasetRequest:
        alone = {"label_names": ("organ",), "unlabelled": None, "test_images": None, "test_labels": None}
        request: DatasetRequest = request_for(folder, raw=tmp_path / name, processes=processes, **alone)
        return request

    return make


def test_a_single_scan_gives_the_same_bytes_however_many_threads_write_it(
    one_scan: Callable[..., DatasetRequest], make_quickly: Make, files_of: Files
) -> None:
    """Each label with its own name."""
    made = []
    for processes in (1, 4):
        request = one_scan(str(processes), processes)
        make_quickly(request, propagate=propagate)
        made.append(files_of(request.folder))
    assert made[0] == made[1]
    assert len({made[0][f"rada/propagated/{FIRST}_{k}.nii.gz"] for k in range(3)}) == 3


def test_a_file_that_a_thread_cannot_write_ends_the_command(
    one_scan: Callable[..., DatasetRequest], make_quickly: Make, files_of: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case does not count as done; the next run writes what the undisturbed one does."""
    undisturbed = one_scan("undisturbed", 4)
    make_quickly(undisturbed)

    def write(path: Path, *values: Any) -> None:
        if path.name == f"{FIRST}_1.nii.gz":
            raise OSError("disk full")
        write_label(path, *values)

    request = one_scan("disturbed", 4)
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_label", write)
        with pytest.raises(OSError, match="disk full"):
            make_quickly(request)
    assert not (request.folder / "rada" / "cases.json").exists()
    make_quickly(request)
    assert files_of(request.folder) == files_of(undisturbed.folder)


def in_frame_of(path: Path, frame: Path) -> NDArray[Any]:
    """Read a label map in the array order of another file of the same anatomy."""
    image = sitk.Resample(
        sitk.ReadImage(str(path)), sitk.ReadImage(str(frame)), sitk.Transform(), sitk.sitkNearestNeighbor
    )
    return sitk.GetArrayFromImage(image)


@pytest.mark.parametrize("directions", ["permuted", "flipped"])
def test_the_order_of_axes_in_a_file_changes_nothing_anatomical(
    tmp_path: Path, request_for: Any, make_quickly: Make, directions: Directions
) -> None:
    """The same scan stored in another order: same planes, same annotation, same propagated and fused labels."""
    folders = {}
    for each in ("identity", directions):
        write_phantom_set(
            tmp_path / each,
            labelled=2,
            unlabelled=0,
            test=0,
            shape=SHAPE,
            spacing_mm=SPACING_MM,
            directions=each,
            classes=2,
        )
        request = request_for(
            tmp_path / each, raw=tmp_path / each / "raw", unlabelled=None, test_images=None, test_labels=None
        )
        made = make_quickly(request)
        assert [annotated.view for annotated in made.cases[FIRST].slices] == list(VIEWS)
        folders[each] = request.folder
    names = ["labelsTr/{}.nii.gz", "rada/fused/{}.nii.gz", "rada/confidence/{}.nii.gz"]
    names += [f"rada/propagated/{{}}_{k}.nii.gz" for k in range(3)]
    for case in (FIRST, "phantom_labelled_01"):
        for name in names:
            reference = folders["identity"] / name.format(case)
            expected = sitk.GetArrayFromImage(sitk.ReadImage(str(reference)))
            np.testing.assert_array_equal(in_frame_of(folders[directions] / name.format(case), reference), expected)
            stored = sitk.GetArrayFromImage(sitk.ReadImage(str(folders[directions] / name.format(case))))
            assert stored.shape != expected.shape or (stored != expected).any()  # it is stored in another order


@pytest.mark.slow
def test_real_registration_gives_the_same_anatomy_in_every_direction(
    tmp_path: Path, request_for: Any, make_quickly: Make
) -> None:
    """Fused labels overlap as well as registration allows, and each slice is normal to its view's patient axis."""
    fused = {}
    for directions in get_args(Directions):
        folder = tmp_path / directions
        write_phantom_set(
            folder, labelled=1, unlabelled=0, test=0, shape=(14, 20, 22), spacing_mm=SPACING_MM, directions=directions
        )
        request = request_for(
            folder, raw=folder / "raw", label_names=("organ",), unlabelled=None, test_images=None, test_labels=None
        )
        made = make_quickly(request, propagate=propagate)
        fused[directions] = RadaFolder(root=request.folder / "rada").fused(FIRST)
        direction = np.reshape(sitk.ReadImage(str(fused[directions])).GetDirection(), (3, 3))
        for annotated in made.cases[FIRST].slices:
            patient_axis = np.abs(direction[:, 2 - annotated.axis]).argmax()
            assert VIEWS[patient_axis] == annotated.view
    one = in_frame_of(fused["identity"], fused["identity"]) > 0
    for directions, smallest in (("permuted", 0.85), ("flipped", 0.85), ("oblique", 0.75)):
        other = in_frame_of(fused[directions], fused["identity"]) > 0
        assert 2 * (one & other).sum() / (one.sum() + other.sum()) > smallest, directions


def test_real_annotations_give_the_dataset_of_the_simulated_ones(
    phantoms: Path,
    request_for: Any,
    make_quickly: Make,
    write_volume: Callable[..., Path],
    read_array: ReadArray,
    tmp_path: Path,
) -> None:
    """An annotator who drew those slices alone gets the same labels, propagated and fused."""
    simulated = request_for(phantoms, raw=tmp_path / "simulated")
    made = make_quickly(simulated)
    for case in made.labelled:
        path = simulated.labels / f"{case}.nii.gz"
        dense = read_array(path)
        write_volume(
            path, erased(dense, off_planes(np.ones(dense.shape, dtype=bool), made.cases[case].planes)), like=path
        )
    annotated = request_for(phantoms, raw=tmp_path / "annotated", simulate=None)
    found = make_quickly(annotated)
    assert found.strategy == "annotated"
    for case in made.labelled:
        for name in (f"labelsTr/{case}.nii.gz", f"rada/fused/{case}.nii.gz", f"rada/confidence/{case}.nii.gz"):
            assert (annotated.folder / name).read_bytes() == (simulated.folder / name).read_bytes()
        assert sorted(made.cases[case].planes) == found.cases[case].planes
        slices, networks = found.cases[case].slices, found.cases[case].networks
        assert all(slices[k].view == network for network, members in networks.items() for k in members)
