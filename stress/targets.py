"""What the fuzz run reads, and how it tells whether what was read is true.

Each target has one or more whole files, the changes made to them, and a check that reads the changed file with the
package, raises `UserError` where the package refuses it, and `WrongError` where the package took it for something that
it is not.
"""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from mutations import JSON, NIFTI, PACKED_NIFTI, TEXT, Mutation
from numpy.typing import NDArray
from readers import metaimage, nifti, nrrd, safetensors

from nnunetv2_rada.config import Config
from sparse_annotation_tools.annotation import read_annotation
from sparse_annotation_tools.case_list import read_case_list
from sparse_annotation_tools.centres import read_centres_file
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.inspection import read_label_on
from sparse_annotation_tools.label_maps import Labels
from sparse_annotation_tools.label_reading import LabelReading
from sparse_annotation_tools.phantom import make_phantom
from sparse_annotation_tools.planes import axes_of_scan, read_planes_file
from sparse_annotation_tools.prompts.store import PromptStore
from sparse_annotation_tools.schema import VIEWS, AnnotatedSlice, Case, CasesFile, RadaFolder
from sparse_annotation_tools.suggestion_files import ListedSlice, Record, SuggestionFolder
from sparse_annotation_tools.volumes import Volume, read_volume

SHAPE = (8, 9, 10)
NOT_ANNOTATED = 255
READING = LabelReading(classes={"one": 1, "two": 2})


class WrongError(Exception):
    """A file was taken for something that it is not."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One kind of input.

    Attributes:
        name: of the kind.
        file: name that a changed file gets.
        seeds: whole files.
        mutations: one of them is applied, sometimes two.
        check: reads the file at a path, given the bytes it was made from; see the module's docstring.
    """

    name: str
    file: str
    seeds: Sequence[bytes]
    mutations: Sequence[Mutation]
    check: Callable[[Path, bytes], None]


def expect(true: bool, what: str) -> None:
    """Raise `WrongError` unless something holds."""
    if not true:
        raise WrongError(what)


def named(stem: str, suffix: str) -> str:
    """Return a file name that differs from others in more than the suffix: ITK confuses a.nii and a.nii.gz."""
    return f"{stem}-{suffix[1:].replace('.', '-')}{suffix}"


def all_targets(folder: Path) -> list[Target]:
    """Return every target; files that whole ones name, and whole files themselves, are written to `folder`."""
    image, sparse = _phantom()
    volumes = {
        suffix: _written(image, folder / named("whole", suffix)) for suffix in (".nii", ".nii.gz", ".mha", ".nrrd")
    }
    packed = [_written(image, folder / named("packed", suffix), compress=True) for suffix in (".mha", ".nrrd")]
    labels = {suffix: _written(sparse, folder / named("label", suffix)) for suffix in (".nii", ".nii.gz", ".nrrd")}
    marked = sitk.Cast(sitk.GetImageFromArray(_marked(sitk.GetArrayFromImage(sparse))), sitk.sitkFloat32)
    marked.CopyInformation(sparse)
    labels_marked = _written(marked, folder / "marked.nii")
    scan = read_volume(folder / named("whole", ".nii"))
    opinions = {".nii": nifti, ".nii.gz": nifti, ".mha": metaimage, ".nrrd": nrrd}
    made = []
    for suffix, seed in volumes.items():
        seeds = [seed, *([packed[0]] if suffix == ".mha" else [packed[1]] if suffix == ".nrrd" else [])]
        kinds = {".nii": NIFTI, ".nii.gz": PACKED_NIFTI}.get(suffix, TEXT)
        check = _volume_check(folder, suffix, opinions[suffix])
        made.append(
            Target(
                name=f"scan {suffix}",
                file=named("scan", suffix),
                seeds=seeds,
                mutations=kinds,
                check=check,
            )
        )
    for suffix, seed in labels.items():
        seeds = [seed, *([labels_marked] if suffix == ".nii" else [])]
        kinds = {".nii": NIFTI, ".nii.gz": PACKED_NIFTI}.get(suffix, TEXT)
        check = _label_check(scan, opinions[suffix])
        made.append(
            Target(
                name=f"label {suffix}",
                file=named("drawn", suffix),
                seeds=seeds,
                mutations=kinds,
                check=check,
            )
        )
    rada = RadaFolder(root=folder / "rada")
    _cases_file().save(rada)
    _prompts().save(folder / "whole.safetensors")
    record = json.dumps(asdict(_record()), indent=2).encode()
    for name in ("a_0000.nii", "a_0001.nii", "a.nii", "b.nii"):
        (folder / name).write_bytes(volumes[".nii"])
    dataset_json = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "one": 1, "two": 2, "ignore": 3}}
    config = json.dumps({"alpha": "cosine", "networks": ["axial"], "learning_rate": 0.01, "gradient_clip": None})
    text: list[tuple[str, str, Sequence[bytes], Sequence[Mutation], Callable[[Path, bytes], None]]] = [
        ("planes CSV", "planes.csv", [_PLANES, _SUGGESTED], TEXT, check_planes),
        ("cases CSV", "cases.csv", [_CASES], TEXT, check_case_list),
        ("centres CSV", "centres.csv", [_CENTRES], TEXT, check_centres),
        ("cases.json", "cases.json", [rada.cases_file.read_bytes()], JSON, check_cases_json),
        ("prompts", "prompts.safetensors", [(folder / "whole.safetensors").read_bytes()], TEXT, check_prompts),
        ("suggestion", "suggestions/a.json", [record], JSON, check_suggestion),
        ("dataset.json", "dataset.json", [json.dumps(dataset_json).encode()], JSON, check_dataset_json),
        ("RADA_CONFIG", "config.json", [config.encode()], JSON, check_config),
    ]
    return made + [Target(name=n, file=f, seeds=s, mutations=m, check=c) for n, f, s, m, c in text]


# ---- volumes --------------------------------------------------------------------------------------------------------


def _volume_check(folder: Path, suffix: str, opinion: Callable[[Path], Any]) -> Callable[[Path, bytes], None]:
    whole = {
        name: read_volume(folder / named(name, suffix))
        for name in ("whole", "packed")
        if (folder / named(name, suffix)).is_file()
    }

    def check(path: Path, seed: bytes) -> None:
        volume = read_volume(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            axes = axes_of_scan(path, volume.geometry.direction)
        expect(sorted(axes.values()) == [0, 1, 2], f"axes {axes}")
        try:
            array, affines = opinion(path)
            array = array.reshape(array.shape[:3] + (1,) * (3 - array.ndim))
        except Exception as error:  # the other reader understands less: then the file must say what it said before
            same = any(np.array_equal(volume.array, each.array) for each in whole.values())
            expect(same, f"read, but the other reader says {error!r}")
            return
        ours = volume.array.transpose(2, 1, 0)
        expect(array.shape == ours.shape, f"shape {ours.shape}, the other reader says {array.shape}")
        expect(np.allclose(ours, array, rtol=1e-5, atol=1e-5), "other voxels than the other reader's")
        found = _affine(volume)
        scale = np.abs(found[:3, :3]).max()
        near = [np.abs(found - each) <= 1e-3 * max(scale, 1e-6) + 1e-3 * np.abs(each) for each in affines]
        others = [each.round(4).tolist() for each in affines]
        expect(any(each.all() for each in near), f"grid {found.round(4).tolist()}, the other reader says {others}")

    return check


def _label_check(scan: Volume, opinion: Callable[[Path], Any]) -> Callable[[Path, bytes], None]:
    axes = axes_of_scan(Path("scan.nii"), scan.geometry.direction)

    def check(path: Path, seed: bytes) -> None:
        label = read_label_on(path, scan.geometry, Path("scan.nii"), READING, not_annotated=NOT_ANNOTATED)
        annotation = read_annotation(label, axes, not_annotated=NOT_ANNOTATED, planes=None, name=str(path))
        try:
            values = opinion(path)[0]
            values = np.rint(values.reshape(values.shape[:3]).transpose(2, 1, 0))
        except Exception as error:
            raise WrongError(f"read, but the other reader says {error!r}") from error
        known = annotation.volume()
        painted = (values > 0) & (values != NOT_ANNOTATED)
        expect(bool((known[painted] == values[painted]).all()), "painted voxels are lost or changed")
        expect(bool((known[~painted] <= 0).all()), "there is paint where nobody painted")
        expect(all(each.area == (known.take(each.index, each.axis) > 0).sum() for each in annotation.slices), "areas")

    return check


def _affine(volume: Volume) -> NDArray[Any]:
    geometry = volume.geometry
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(geometry.direction, (3, 3)) * np.asarray(geometry.spacing)
    affine[:3, 3] = geometry.origin
    affine[:2] *= -1
    return affine


# ---- lists ----------------------------------------------------------------------------------------------------------


def _plain_rows(path: Path) -> list[dict[str, str]] | None:
    """Return the rows of a CSV without quotes, split by hand; None where that is no reading of it."""
    text = path.read_bytes().decode("utf-8-sig")
    if '"' in text or "\r" in text.replace("\r\n", "\n") or "\x00" in text:
        return None
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if not lines:
        return []
    names = [name.lstrip(" ") for name in lines[0].split(",")]
    return [dict(zip(names, [cell.strip() for cell in line.split(",")], strict=False)) for line in lines[1:]]


def check_planes(path: Path, seed: bytes) -> None:
    """Every line is a plane, in its order, and no other."""
    planes = read_planes_file(path)
    found = [(case, view, index) for case, listed in planes.items() for view, index in listed]
    expect(all(view in VIEWS and index >= 0 for _, view, index in found), f"{found}")
    rows = _plain_rows(path)
    if rows is not None:
        expected = [(row.get("case", ""), row["view"].lower(), int(row["index"])) for row in rows]
        expect(sorted(found) == sorted(expected), f"{found}, expected {expected}")


def check_case_list(path: Path, seed: bytes) -> None:
    """Every line is a case of its role, with files that are there."""
    cases = read_case_list(path)
    found = {(role, files.case, len(files.images)) for role, group in cases.items() for files in group}
    for group in cases.values():
        for files in group:
            there = [*files.images, *([files.label] if files.label else [])]
            expect(all(each.is_file() for each in there), f"{there}")
            expect("/" not in files.case and files.case not in ("", ".", ".."), files.case)
    rows = _plain_rows(path)
    if rows is not None:
        expected = {(row["role"], row["case"], row["image"].count(";") + 1) for row in rows}
        expect(found == expected, f"{found}, expected {expected}")


def check_centres(path: Path, seed: bytes) -> None:
    """Every line is a point of finite numbers."""
    centres = read_centres_file(path)
    expect(all(np.isfinite(point).all() for point in centres.values()), f"{centres}")
    rows = _plain_rows(path)
    if rows is not None:
        expected = {row["case"]: (float(row["r"]), float(row["a"]), float(row["s"])) for row in rows}
        expect(centres == expected, f"{centres}, expected {expected}")


_PLANES = b"case,view,index\na,axial,3\na,sagittal,5\nb, Coronal ,0\n"
_SUGGESTED = (
    b"case,view,index,state,score,ras_mm,itk_snap\na,axial,3,drawn,0.0,S 1.0,z 4\na,coronal,5,suggested,8.0,A 2,y 6\n"
)
_CASES = b"case,role,image,label\na,labelled,a_0000.nii;a_0001.nii,a.nii\nb,unlabelled,b.nii,\nc,test,b.nii,a.nii\n"
_CENTRES = b"case,r,a,s\na,1.5,-2,30\nb,0,0,1e1\n"


# ---- records --------------------------------------------------------------------------------------------------------


def check_cases_json(path: Path, seed: bytes) -> None:
    """What was read is what JSON says, every name stays in its folder, and the views are there."""
    rada = RadaFolder(root=path.parent)
    read = CasesFile.load(rada)
    content = json.loads(path.read_bytes())
    optional = {"test": {}, "merge": {}}
    written = json.loads(json.dumps(asdict(read)))
    for name, case in content["cases"].items():
        written["cases"][name] = {key: value for key, value in written["cases"][name].items() if key in case}
    expect({**optional, **content} == written, "another content than JSON's")
    for name in (*read.cases, *read.test):
        expect(rada.fused(name).resolve().parent == rada.root.resolve() / "fused", f"name {name!r}")
    for case in read.cases.values():
        for each in case.slices:
            expect(each.view in VIEWS and 0 <= each.index < case.shape[each.axis], f"{each}")
    expect(len(read.labelled) + len(read.unlabelled) == len(read.cases), "counts")


def check_prompts(path: Path, seed: bytes) -> None:
    """Tensors are those of a second reader, rows of length 1 where metadata says so."""
    store = PromptStore.load(path)
    tensors, metadata = safetensors(path)
    expect(dict(store.metadata) == metadata, "other metadata")
    expect(np.allclose(_unit(tensors["text"], store), store.text_kt, atol=1e-6, equal_nan=True), "other text rows")
    images = {name: tensor for name, tensor in tensors.items() if name != "text"}
    for name, tensor in images.items():
        _, case, key = name.split("/")
        rows = store.images[case][key]
        expect(np.allclose(_unit(tensor, store), rows, atol=1e-6, equal_nan=True), f"other rows of {name}")
    expect(sum(map(len, store.images.values())) == len(images), "another number of tensors")
    expect(store.prompt_planes != (), "no prompt plane")


def _unit(rows: NDArray[Any], store: PromptStore) -> NDArray[Any]:
    if store.normalise == "raw":
        return rows
    with np.errstate(all="ignore"):
        wide = rows.astype(np.float64)
        return wide / np.linalg.norm(wide, axis=1, keepdims=True) if rows.shape[1] else rows


def check_suggestion(path: Path, seed: bytes) -> None:
    """A damaged record counts as none (the scan is looked at again); one that is taken is what JSON says."""
    record = SuggestionFolder(root=path.parent.parent).record("a")
    if record is None:
        raise UserError("no record")
    content = json.loads(path.read_bytes())
    expect({"label_sha256": "", **content} == json.loads(json.dumps(asdict(record))), "another content than JSON's")
    expect(record.case == "a", f"it is of case {record.case!r}")
    for each in record.slices:
        expect(each.view in VIEWS and each.axis in (0, 1, 2) and each.index >= 0, f"{each}")
        expect(isinstance(each.score, (int, float)) and each.score >= 0, f"{each}")


def check_dataset_json(path: Path, seed: bytes) -> None:
    """Classes are those of JSON, with whole positive values."""
    labels = Labels.from_dataset_json(path)
    content = json.loads(path.read_bytes())["labels"]
    assert labels.classes is not None
    for name, value in labels.classes.items():
        expect(content[name] == value and type(value) is int and value > 0, f"{name} is {value!r}")
    expect(labels.ignore is None or type(labels.ignore) is int, f"ignore is {labels.ignore!r}")
    expect(len(set(labels.classes.values())) == len(labels.classes), "two classes of one value")


def check_config(path: Path, seed: bytes) -> None:
    """Settings are those of JSON; all others are as they were."""
    config = Config().overridden_by_file(path)
    content = json.loads(path.read_bytes())
    expect(config.to_json() == {**Config().to_json(), **content}, "another content than JSON's")


# ---- whole files ----------------------------------------------------------------------------------------------------


_PAINTED = (np.s_[3], np.s_[:, 4], np.s_[:, :, 5])


def _phantom() -> tuple[sitk.Image, sitk.Image]:
    """Return a scan of whole numbers, and a label map painted on a plane of each axis."""
    phantom = make_phantom(3, shape=SHAPE, spacing_mm=(3.0, 2.0, 1.5), directions="flipped", classes=2)
    image, label = phantom.to_sitk()
    sparse = np.zeros(image.GetSize()[::-1], np.uint8)
    for value, where in zip((1, 2, 1), _PAINTED, strict=True):
        sparse[where][2:7, 2:8] = value
    painted = sitk.GetImageFromArray(sparse)
    painted.CopyInformation(label)
    return sitk.Cast(image * 100, sitk.sitkInt16), painted


def _marked(sparse: NDArray[Any]) -> NDArray[Any]:
    marked = np.full_like(sparse, NOT_ANNOTATED)
    for where in _PAINTED:
        marked[where] = sparse[where]
    return marked


def _written(image: sitk.Image, path: Path, *, compress: bool = False) -> bytes:
    if path.name.endswith(".nii.gz"):
        plain = _written(image, path.with_name(f"plain-{path.name.removesuffix('.gz')}"))
        path.write_bytes(gzip.compress(plain, 1, mtime=0))
    else:
        sitk.WriteImage(image, str(path), compress)
    return path.read_bytes()


def _cases_file() -> CasesFile:
    axial = AnnotatedSlice(view="axial", axis=0, index=3, area=7, classes=(1, 2))
    sagittal = AnnotatedSlice(view="sagittal", axis=2, index=5, area=9, classes=(1,))
    labelled = Case(
        labelled=True, shape=SHAPE, sagittal_axis=2, slices=(axial, sagittal),
        networks={"axial": (0,), "sagittal": (1,), "coronal": (0, 1)}, sha256={"image_0000": "00", "annotation": "11"},
    )  # fmt: skip
    unlabelled = Case(labelled=False, shape=SHAPE, sagittal_axis=2, sha256={"image_0000": "22"})
    return CasesFile(
        dataset="Dataset101_LA", modality="MR", classes={"one": 1, "two": 2}, strategy="SCA", seed=0,
        propagation={"channel": 0, "method": "ants"}, cases={"a": labelled, "b": unlabelled}, versions={"ants": "0.5"},
        command="rada-make-sparse-dataset -d 101", test={"c": {"image_0000": "33"}}, merge={"one": [1]},
    )  # fmt: skip


def _prompts() -> PromptStore:
    random = np.random.default_rng(0)
    rows = random.standard_normal((2, 4)).astype(np.float32)
    absent = rows.copy()
    absent[1] = np.nan
    return PromptStore(
        classes=("one", "two"), text_kt=random.standard_normal((2, 3)).astype(np.float32),
        images={"a": {"axial": rows, "axial.1": absent}, "b": {"coronal": -rows}},
        metadata={"encoder": "random", "normalise": "raw", "prompt_planes": "A", "stamp": "none"},
    )  # fmt: skip


def _record() -> Record:
    slices = tuple(
        ListedSlice(view=view, axis=axis, index=3, state=state, score=4.5, ras_mm="S 1.0", itk_snap="z 4")
        for view, axis, state in (("axial", 0, "drawn"), ("coronal", 1, "suggested"))
    )
    return Record(case="a", made_from="f" * 64, rule="first slices", slices=slices, label_sha256="0" * 64)
