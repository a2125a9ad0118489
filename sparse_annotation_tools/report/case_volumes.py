"""Everything that is known about one case, on one upright grid, read from a raw dataset and a prediction folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.files.json_files import load_json
from sparse_annotation_tools.files.volumes import Geometry, read_label_of_scan, read_volume
from sparse_annotation_tools.schema import IGNORE, AnnotatedSlice, CasesFile, RadaFolder
from sparse_annotation_tools.schema_check import file_ending
from sparse_annotation_tools.suggestion.doubt import read_prediction

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Plane:
    """An annotated plane on the upright grid."""

    view: str
    axis: int
    index: int


@dataclass(frozen=True, kw_only=True)
class CaseVolumes:
    """One case. Arrays are [z, y, x] with z to the head, y to the back and x to the patient's left.

    Attributes:
        name: case identifier.
        image: float32, first channel.
        spacing_mm: voxel size along the array axes.
        affine: [4, 4] from an index (x, y, z) to mm with x to the right, y to the front, z to the head (NIfTI's frame).
        planes: the annotated planes, in the order of `cases.json`; empty where nothing is annotated.
        annotation: uint8 classes drawn on the planes, 0 elsewhere; None where nothing is annotated.
        propagated: uint8 label carried from each plane, in the order of `planes`.
        fused: uint8 label from all planes, or None.
        confidence: uint8 confidence of `fused`, 0 to 255, or None.
        prediction: uint8, or None.
        truth: uint8 dense label, or None.
        wrong: float32 probability that the prediction is wrong, see `doubt.read_prediction`, or None.
    """

    name: str
    image: Array
    spacing_mm: tuple[float, float, float]
    affine: Array
    planes: tuple[Plane, ...] = ()
    annotation: Array | None = None
    propagated: tuple[Array, ...] = ()
    fused: Array | None = None
    confidence: Array | None = None
    prediction: Array | None = None
    truth: Array | None = None
    wrong: Array | None = None


class RawDataset:
    """A raw dataset made by rada-make-sparse-dataset.

    Raises:
        UserError: `folder` lacks dataset.json or a readable rada/cases.json.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        try:
            content = load_json(self.folder / "dataset.json")
            self.ending = file_ending(content)
            labels: dict[str, int] = dict(content["labels"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(f"{self.folder} is no raw dataset: dataset.json cannot be read ({error})") from None
        self.classes = {name: value for name, value in labels.items() if name != IGNORE and value != 0}
        self.rada = RadaFolder(root=self.folder / "rada")
        self.cases = CasesFile.load(self.rada)

    def read(
        self,
        case: str,
        *,
        images: Path | None = None,
        predictions: Path | None = None,
        truth: Path | None = None,
        doubt: Sequence[Path] = (),
    ) -> CaseVolumes:
        """Read what there is about `case`: a training case's planes and labels, a prediction, a dense truth.

        Args:
            case: identifier of a training or test case, or of a scan in `images`.
            images: folder of a scan that is not in the dataset.
            predictions: folder of predicted labels; used where it holds the case.
            truth: folder of dense labels; used where it holds the case, else labelsTs is for test cases.
            doubt: folders that hold the case and say how sure its prediction is, see `doubt.read_prediction`.

        Raises:
            UserError: there is no image of that name, or a file cannot be read or lies on another
                grid.
        """
        places = [self.folder / "imagesTr", self.folder / "imagesTs"] if images is None else [images]
        expected = [place / f"{case}_0000{self.ending}" for place in places]
        found = [path for path in expected if path.exists()]
        if not found:
            where = " or ".join(map(str, expected))
            raise UserError(f"case {case} has no image, expected {where}; check the identifier")
        image = _read(found[0])
        is_training = found[0].parent == self.folder / "imagesTr"
        record = self.cases.cases.get(case) if is_training else None
        slices = record.slices if record else ()
        upright = SimpleITK.DICOMOrient(image, "LPS")
        volumes: dict[str, Any] = {}
        if slices:
            planes = tuple(_upright_plane(image, annotated) for annotated in slices)
            label = self._label(self.folder / "labelsTr" / f"{case}{self.ending}", image)
            volumes["annotation"] = _on_planes(label, planes)
            volumes["planes"] = planes
            volumes["propagated"] = tuple(self._label(self.rada.propagated(case, k), image) for k in range(len(slices)))
            if self.rada.fused(case).exists():
                volumes["fused"] = self._label(self.rada.fused(case), image)
            if self.rada.confidence(case).exists():
                volumes["confidence"] = self._label(self.rada.confidence(case), image)
        test_truth = None if is_training else self.folder / "labelsTs"
        for role, folders in (("prediction", (predictions,)), ("truth", (truth, test_truth))):
            paths = [Path(folder) / f"{case}{self.ending}" for folder in folders if folder is not None]
            existing = [path for path in paths if path.exists()]
            if existing:
                volumes[role] = self._label(existing[0], image)
        if doubt:
            volumes["wrong"] = _upright(read_prediction(case, doubt, _geometry(image)).wrong, image)
        return CaseVolumes(
            name=case,
            image=SimpleITK.GetArrayFromImage(upright).astype(np.float32),
            spacing_mm=upright.GetSpacing()[::-1],
            affine=_affine(upright),
            **volumes,
        )

    def _label(self, path: Path, image: Any) -> Array:
        label = read_label_of_scan(path, _geometry(image), "make the file again, on this very scan")
        return _upright(label, image).astype(np.uint8)


def _geometry(image: Any) -> Geometry:
    return Geometry(
        size=image.GetSize(), spacing=image.GetSpacing(), origin=image.GetOrigin(), direction=image.GetDirection()
    )


def _affine(image: Any) -> Array:
    """The image's grid in NIfTI's frame, whose first two axes run against those of ITK's."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _read(path: Path) -> Any:
    """Read a scan as `read_volume` does, which refuses what ITK would read in silence, for ITK to turn upright."""
    volume = read_volume(path)
    image = SimpleITK.GetImageFromArray(volume.array)
    image.SetSpacing(volume.geometry.spacing)
    image.SetOrigin(volume.geometry.origin)
    image.SetDirection(volume.geometry.direction)
    return image


def _upright(array: Array, like: Any) -> Array:
    """Reorder `array`, on the grid of `like`, to the axes of a patient who stands upright."""
    image = SimpleITK.GetImageFromArray(array)
    image.CopyInformation(like)
    return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(image, "LPS")))


def _upright_plane(image: Any, annotated: AnnotatedSlice) -> Plane:
    """Find an annotated plane on the upright grid: mark it, reorder, look where the mark went."""
    mark = np.zeros(image.GetSize()[::-1], np.uint8)
    np.moveaxis(mark, annotated.axis, 0)[annotated.index] = 1
    positions = np.nonzero(_upright(mark, image))
    axis, index = next(
        (axis, int(where[0])) for axis, where in enumerate(positions) if where.size and where.min() == where.max()
    )
    return Plane(view=annotated.view, axis=axis, index=index)


def _on_planes(label: Array, planes: Sequence[Plane]) -> Array:
    """Keep `label` on the planes only; the ignore value lies everywhere else."""
    kept = np.zeros_like(label)
    for plane in planes:
        np.moveaxis(kept, plane.axis, 0)[plane.index] = np.moveaxis(label, plane.axis, 0)[plane.index]
    return kept
