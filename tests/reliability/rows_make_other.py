"""Rows of `rada-make-sparse-dataset`: names, lists, options, folders, disks."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from reliability import spoil
from reliability.commands import COMMANDS
from reliability.edits import (
    both,
    copied,
    existing,
    json_field,
    painted,
    put,
    renamed,
    unset,
    variable,
    without_field,
    written,
)
from reliability.place import CASE, OTHER, TEST, UNLABELLED, Outcome, Place, content_of
from reliability.row import nothing, table
from reliability.rows_make import COMMAND, is_made
from sparse_annotation_tools.schema import CasesFile, RadaFolder

_IMAGE = f"labelled/images/{CASE}_0000.nii.gz"
_LABEL = f"labelled/labels/{CASE}.nii.gz"
_ODD = "has odd characters; use letters, digits"


def named(new: str) -> Any:
    """Rename one labelled case."""
    return renamed("labelled", CASE, new)


def has_case(name: str) -> dict[str, Any]:
    """The dataset is made, with a case of this name."""

    def right(place: Place, outcome: Outcome) -> None:
        is_made(place, outcome)
        assert name in CasesFile.load(RadaFolder(root=place.dataset / "rada")).labelled

    return {"status": 0, "right": right, "result": f"case {name} is in the dataset"}


NAMES = table(
    COMMAND,
    "names",
    ("a case with dots", named("a.b.c"), "2 labelled cases", has_case("a.b.c")),
    ("a case of digits", named("0001"), "2 labelled cases", has_case("0001")),
    ("a case with a space", named("case 1"), f"case 'case 1' {_ODD}"),
    ("a case with an umlaut", named("fälle"), f"case 'fälle' {_ODD}"),
    ("a case in Chinese", named("病例"), f"case '病例' {_ODD}"),
    ("a case with a line break", named("case\n1"), f"case 'case\\n1_0000' {_ODD}"),
    ("a case that begins with a minus", named("-rf"), f"case '-rf' {_ODD}"),
    ("a case that ends in _seg", named("scan_seg"), "case scan_seg ends in _seg, and nnU-Net would drop it ... rename"),
    ("an unlabelled case that ends in _seg", renamed("unlabelled", UNLABELLED, "x_seg"), "case x_seg ends in _seg"),
    ("one case as .nii.gz and as .nrrd", copied(_IMAGE, f"labelled/images/{CASE}_0000.nrrd"), "are both channel 0 of"),
    ("one case with and without _0000", copied(_IMAGE, f"labelled/images/{CASE}.nii.gz"), "are both channel 0 of case"),
    ("two label maps of a case", copied(_LABEL, f"labelled/labels/{CASE}.nii"), f"holds case {CASE} twice ... remove"),
    (
        "a case labelled and unlabelled",
        copied(_IMAGE, f"unlabelled/images/{CASE}_0000.nii.gz"),
        f"case {CASE} is in both --images and --unlabelled; rename or remove one",
    ),
    (
        "a case for training and for testing",
        both(renamed("test", TEST, OTHER)),
        f"case {OTHER} is in both --images and --test-images; rename or remove one",
    ),
    (
        "one image under two names",
        copied(_IMAGE, "unlabelled/images/same_0000.nii.gz"),
        "2 labelled cases with 6 annotated slices, 2 unlabelled cases",
        {"status": 0, "right": is_made, "result": "both are used; rada-check-dataset warns of it"},
    ),
    (
        "the image's ending in upper case",
        lambda p: p.image.rename(p.images / f"{CASE}_0000.NII.GZ"),
        "ends in .NII.GZ, expected .nii.gz; rename it",
    ),
    (
        "the label map's ending in upper case",
        lambda p: p.label.rename(p.labels / f"{CASE}.Nii.gz"),
        "ends in .Nii.gz, expected .nii.gz; rename it",
    ),
    (
        "input folders with spaces and umlauts",
        lambda p: p.inputs.joinpath("labelled").rename(p.inputs / "Größe 1"),
        "2 labelled cases",
        {
            "status": 0,
            "result": "used like others",
            "right": lambda p, o: has_files(p, 4),
            "options": {"--images": "{inputs}/Größe 1/images", "--labels": "{inputs}/Größe 1/labels"},
        },
    ),
    ("hidden files beside the scans", written("labelled/images/._x_0000.nii.gz", "mac"), "2 labelled", has_case(CASE)),
)


def has_files(place: Place, count: int) -> None:
    """As many files are made as cases."""
    assert len(list(place.dataset.glob("images*/*.nii.gz"))) == count


def planes(text: str | bytes, says: str) -> tuple[Any, ...]:
    """A list of planes and what is said of it."""
    return (
        written("planes.csv", text, painted()),
        says,
        {"options": {"--simulate": None, "--planes": "{inputs}/planes.csv"}},
    )


_HEAD = "case,view,index\n"
_ALL = "".join(f"{OTHER},{view},5\n" for view in ("axial", "coronal", "sagittal"))
LISTS = table(
    COMMAND,
    "list of planes",
    (
        "missing",
        painted(),
        "planes.csv cannot be read ... No such file",
        {"options": {"--simulate": None, "--planes": "{inputs}/planes.csv"}},
    ),
    ("empty", *planes("", "lists no plane for ... add its lines, or move its image to --unlabelled")),
    ("first line missing", *planes(f"{CASE},axial,5\n{CASE},coronal,5\n", "expected a first line case,view,index")),
    ("semicolons for commas", *planes("case;view;index\na;axial;5\n", "expected a first line case,view,index")),
    ("no text", *planes(bytes(range(256)), "planes.csv cannot be read ... expected a CSV: case,view,index")),
    ("unknown view", *planes(f"{_HEAD}{CASE},frontal,5\n", "line 2 says view 'frontal' ... expected one of sagittal")),
    ("negative index", *planes(f"{_HEAD}{CASE},axial,-1\n", "index '-1'; expected one of ... a whole number from 0")),
    ("index with a fraction", *planes(f"{_HEAD}{CASE},axial,5.5\n", "index '5.5'; expected one of")),
    ("index beyond the scan", *planes(f"{_HEAD}{_ALL}{CASE},axial,10\n", "which has axial slices 0 to 9; correct the")),
    ("index of 400 digits", *planes(f"{_HEAD}{_ALL}{CASE},axial,{'9' * 400}\n", "expected one of")),
    ("a case that is not there", *planes(f"{_HEAD}nobody,axial,5\n", "lists case nobody, which is not a labelled")),
    ("a plane twice", *planes(f"{_HEAD}{CASE},axial,5\n{CASE},Axial,5\n", "line 3 lists ... twice; remove one")),
    ("paint off the listed planes", *planes(f"{_HEAD}{CASE},axial,0\n{_ALL}", "off the planes listed in --planes")),
    ("one scan without a line", *planes(f"{_HEAD}{_ALL}", "lists no plane for")),
)


def cases(text: str | bytes, says: str) -> tuple[Any, ...]:
    """A list of cases and what is said of it."""
    folders = ("--images", "--labels", "--unlabelled", "--test-images", "--test-labels")
    options: dict[str, Any] = {**dict.fromkeys(folders), "--cases": "{inputs}/cases.csv"}
    return (written("cases.csv", text), says, {"options": options})


_CASES = "case,role,image,label\n"
_ONE = f"one,labelled,{_IMAGE},{_LABEL}\n"
LISTS += table(
    COMMAND,
    "list of cases",
    ("missing", lambda p: None, "cases.csv cannot be read ... No such file", cases("", "")[2]),
    ("empty", *cases("", "lists no case with role labelled; annotate slices of at least one scan")),
    ("a column missing", *cases("case,role,image\none,labelled,a\n", "expected a first line case,role,image,label")),
    ("unknown role", *cases(f"{_CASES}one,train,{_IMAGE},{_LABEL}\n", "line 2 has role 'train', expected labelled")),
    ("a file that is not there", *cases(f"{_CASES}one,labelled,gone.nii.gz,{_LABEL}\n", "gone.nii.gz, which does")),
    ("an image that is no volume", *cases(f"{_CASES}one,labelled,cases.csv,{_LABEL}\n", "expected a file that ends")),
    ("a labelled case without label", *cases(f"{_CASES}one,labelled,{_IMAGE},\n", "has role labelled and no label")),
    ("a case twice", *cases(f"{_CASES}{_ONE}{_ONE}", "line 3 lists case one, as line 2 does; remove one")),
    ("a case with a slash", *cases(f"{_CASES}../one,labelled,{_IMAGE},{_LABEL}\n", f"case '../one' {_ODD}")),
    ("a case without a name", *cases(f"{_CASES},labelled,{_IMAGE},{_LABEL}\n", f"case '' {_ODD}")),
    (
        "beside folders",
        written("cases.csv", _CASES + _ONE),
        "--cases lists all files by itself; leave out --images",
        {"options": {"--cases": "{inputs}/cases.csv"}},
    ),
)


def options(name: str, says: str, **changes: Any) -> tuple[Any, ...]:
    """A row of nothing but options."""
    return (name, nothing, says, {"options": {key.replace("_", "-"): value for key, value in changes.items()}})


OPTIONS = table(
    COMMAND,
    "options",
    options("dataset number 0", "-d is 0, expected a dataset number from 1 to 999", **{"-d": "0"}),
    options("dataset number 1000", "-d is 1000, expected a dataset number from 1 to 999", **{"-d": "1000"}),
    options("dataset number in words", "argument -d: invalid int value: 'seven'", **{"-d": "seven"}),
    options("dataset name with a slash", "-n is 'a/b', expected letters, digits, '_' and '-'", **{"-n": "a/b"}),
    options("dataset name with a space", "-n is 'my organ', expected letters, digits", **{"-n": "my organ"}),
    options("no process", "-np is 0, expected 1 or more", **{"-np": "0"}),
    options("no images", "no scans are named; give --images DIR and --labels DIR, or --cases", **{"--images": None}),
    options("no class", "no class is named; give --label-names CLASS [CLASS ...]", **{"--label-names": None}),
    options("a class called background", "--label-names background is unfit", **{"--label-names": ["background"]}),
    options("a class twice", "--label-names a a is unfit; expected 1 to 254 differ", **{"--label-names": ["a", "a"]}),
    options("255 classes", "is unfit; expected 1 to 254", **{"--label-names": [f"c{n}" for n in range(255)]}),
    options(
        "a class that nobody drew",
        "class fat (value 2) is on no annotated slice of any case; annotate one, or correct",
        **{"--label-names": ["organ", "fat"]},
    ),
    options("a merge without class", "--merge '1,2' is not understood, expected VALUES:CLASS", **{"--merge": "1,2"}),
    options("a merge of words", "--merge 'a:organ' is not understood, expected", **{"--merge": "a:organ"}),
    options("a merge of 0", "--merge lists value 0, which is the background", **{"--merge": "0,1:organ"}),
    options("a merge of a value twice", "--merge lists value 1 twice; a value belongs", **{"--merge": "1,1:organ"}),
    options("a strategy of other letters", "--simulate 'XYZ' is no slice strategy; expected", **{"--simulate": "XYZ"}),
    options("--planes with --simulate", "leave out --planes, or --simulate", **{"--planes": "{inputs}/planes.csv"}),
    options(
        "--not-annotated of a class",
        "--not-annotated 1 is the value of a class, expected more than 1",
        **{"--simulate": None, "--not-annotated": "1"},
    ),
    options("--update and --overwrite", "give one of them", **{"--update": "", "--overwrite": ""}),
    options("--paper and --transform", "leave out --transform, or --paper", **{"--paper": "", "--transform": "SyNRA"}),
    options("a channel that is not there", "but the images have 0 to 0", **{"--registration-channel": "1"}),
    options("dask without its address", "give --scheduler tcp://HOST:8786", **{"--backend": "dask"}),
    options("an address without dask", "--scheduler is for dask; give --backend dask", **{"--scheduler": "tcp://a:1"}),
    options("test labels without test images", "give --test-images DIR as well", **{"--test-images": None}),
    options("random encoder without seed", "needs a seed; give --encoder-seed N", **{"--encoder-seed": None}),
    options("a prompt without [CLS]", "[CLS]", **{"--prompt": "a scan"}),
    options(
        "inputs in the dataset's own folder",
        "lies in the dataset that is to be made",
        **{"--images": "{raw}/Dataset007_Phantom/imagesTr"},
    ),
)


def taken(name: str) -> Any:
    """Put a dataset of another name and the same number into a folder."""
    return lambda place: put(place.root / name / "Dataset007_Other" / "dataset.json", "{}")


def as_file(name: str) -> Any:
    """Let a variable name a file."""

    def edit(place: Place) -> None:
        put(place.work / "file", "")
        place.patch.setenv(name, str(place.work / "file"))

    return edit


def begun(place: Place) -> None:
    """Leave what a killed run with another seed leaves."""
    existing()(place)
    (place.dataset / "rada").rename(place.dataset / ".incomplete")


FOLDERS = table(
    COMMAND,
    "nnU-Net folders",
    ("nnUNet_raw unset", unset("nnUNet_raw"), "nnUNet_raw is not set ... type: export nnUNet_raw=FOLDER"),
    ("nnUNet_raw empty", variable("nnUNet_raw", ""), "nnUNet_raw is not set ... type: export nnUNet_raw=FOLDER"),
    ("nnUNet_raw is a file", as_file("nnUNet_raw"), "Not a directory: ... mend it and run again"),
    (
        "nnUNet_raw not there yet",
        variable("nnUNet_raw", "{work}/new"),
        "2 labelled",
        {"status": 0, "result": "the folder is made", "right": lambda p, o: _moved(p)},
    ),
    (
        "CT without nnUNet_preprocessed",
        unset("nnUNet_preprocessed"),
        "nnUNet_preprocessed is not set, and CT needs ... type: export nnUNet_preprocessed=FOLDER",
        {"options": {"--modality": "CT"}},
    ),
    ("number taken in nnUNet_raw", taken("raw"), "number 7 is taken by ... give another -d, or -n Other"),
    ("number taken in nnUNet_preprocessed", taken("preprocessed"), "number 7 is taken by ... give another -d"),
    (
        "a folder of this name that is none of ours",
        lambda p: put(p.dataset / "dataset.json", "{}"),
        "exists and was not made by rada-make-sparse-dataset; remove it by hand, or give another",
    ),
    ("a dataset of other settings", existing(), "is not what this command makes: ... give --overwrite to make it anew"),
    ("a begun dataset of other settings", begun, "was begun by another command: ... give --overwrite to make it anew"),
    (
        "a dataset of another schema version",
        existing(json_field("schema_version", 99)),
        "has schema_version 99, expected 1; make the dataset again",
    ),
    ("a dataset without schema version", existing(without_field("schema_version")), "has schema_version None, expect"),
    ("a cut-off cases.json", existing(lambda f: put(f, f.read_bytes()[:40])), "cases.json is not valid JSON"),
    (
        "cases.json of another program",
        existing(lambda f: put(f, '{"schema_version": 1}')),
        "cases.json is damaged or incomplete",
    ),
    ("cases.json is a list", existing(lambda f: put(f, "[1]")), "has schema_version None, expected 1"),
)


def _moved(place: Place) -> None:
    assert (place.work / "new" / "Dataset007_Phantom" / "rada" / "cases.json").is_file()


def raising(code: int, *, at: str) -> Any:
    """Let the atomic writer meet an error of the system: when it opens a file, or when it gives the final name."""

    def edit(place: Place) -> None:
        module, name = {"open": (tempfile, "mkstemp"), "rename": (os, "replace")}[at]
        genuine = getattr(module, name)

        def fail(*arguments: Any, **more: Any) -> Any:
            target = str(more.get("dir", arguments[-1] if arguments else ""))
            if target.startswith(str(place.raw)) and "mended" not in place.notes:
                raise OSError(code, os.strerror(code), target)
            return genuine(*arguments, **more)

        place.patch.setattr(module, name, fail)

    return edit


def full_after(size: int) -> Any:
    """Let no file grow beyond a size."""
    return lambda place: place.notes.update({"largest file": size})


def cut_by_itk(place: Place) -> None:
    """Let ITK write the first half of each label map and say nothing, as it does on a full disk."""
    genuine = sitk.WriteImage

    def write(image: Any, file: str, *more: Any) -> None:
        genuine(image, file, *more)
        if "mended" not in place.notes:
            spoil.cut(Path(file))

    place.patch.setattr(sitk, "WriteImage", write)


def goes_on(place: Place, outcome: Outcome) -> None:
    """Nothing half-written is there; with room again, the same command makes the dataset that it would have made."""
    assert not (place.dataset / "rada" / "cases.json").exists()
    assert not list(place.root.rglob(".partial-*"))
    place.notes.update({"mended": True})
    command = COMMANDS[COMMAND]
    undisturbed = place.work / "undisturbed"
    for raw in (place.raw, undisturbed):
        place.patch.setenv("nnUNet_raw", str(raw))
        assert command.main()(command.argv(place, {})) == 0
    assert content_of(place.raw) == content_of(undisturbed)


_GOES_ON = {"keeps": "raw/", "after": goes_on}
DISKS = table(
    COMMAND,
    "disks",
    ("full when a file is begun", raising(errno.ENOSPC, at="open"), "No space left on device: ... mend it", _GOES_ON),
    ("full when a file is named", raising(errno.ENOSPC, at="rename"), "No space left on device: ... mend it", _GOES_ON),
    ("full in the middle of a record", full_after(1500), "File too large: ... cases.json; mend it", _GOES_ON),
    ("full in the middle of a scan", full_after(5000), "File too large: ... _0000.nii.gz; mend it", _GOES_ON),
    ("full in the middle of a label map", cut_by_itk, "cannot be written as a whole (is the disk full?): ", _GOES_ON),
    ("quota used up", raising(errno.EDQUOT, at="open"), "Disk quota exceeded: ... mend it and run again", _GOES_ON),
    ("read-only", raising(errno.EROFS, at="open"), "Read-only file system: ... mend it and run again", _GOES_ON),
    ("not this user's", raising(errno.EACCES, at="open"), "Permission denied: ... mend it and run again", _GOES_ON),
    ("faulty", raising(errno.EIO, at="rename"), "Input/output error: ... mend it and run again", _GOES_ON),
    (
        "read-only input folders",
        lambda p: read_only(p.inputs),
        "2 labelled cases",
        {"status": 0, "result": "nothing is ever written there", "right": is_made},
    ),
)


def read_only(folder: Path) -> None:
    """Take the right to write from a folder and all in it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


MAKE_OTHER = [*NAMES, *LISTS, *OPTIONS, *FOLDERS, *DISKS]
