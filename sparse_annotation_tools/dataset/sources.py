"""Which files make which case: pair images with labels, and refuse names that nnU-Net would lose or confuse."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sparse_annotation_tools.errors import UserError, some
from sparse_annotation_tools.files.label_maps import find_label_maps
from sparse_annotation_tools.files.volumes import SEGMENTATION_SUFFIX, SUFFIXES, stem_of
from sparse_annotation_tools.schema_check import CASE_NAME

_CHANNEL_NAME = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


@dataclass(frozen=True, kw_only=True)
class CaseFiles:
    """The input files of one case: one image per channel, and its label map if there is one."""

    case: str
    images: tuple[Path, ...]
    label: Path | None = None


def labelled_cases(images: Path, labels: Path, *, options: tuple[str, str]) -> list[CaseFiles]:
    """Pair every image with its label map, sorted by case.

    Args:
        images: folder of `{case}_0000.nii.gz` (or `{case}.nii.gz`) and so on.
        labels: folder of `{case}.nii.gz` and so on.
        options: names of the two command-line options, for errors.

    Raises:
        UserError: a folder is missing or empty, or an image or a label map has no partner.
    """
    image_files = {files.case: files for files in unlabelled_cases(images, option=options[0])}
    label_files = find_label_maps(labels)
    lonely = sorted(image_files.keys() - label_files.keys())
    if lonely:
        raise UserError(
            f"{options[0]} {images} has no label in {labels} for {some(lonely)}; "
            f"expected {lonely[0]}.nii.gz, or move images without labels to the folder of --unlabelled"
        )
    lost = sorted(label_files.keys() - image_files.keys())
    if lost:
        raise UserError(
            f"{options[1]} {labels} has labels without an image in {images} for {some(lost)}; "
            f"expected {lost[0]}_0000.nii.gz"
        )
    return [CaseFiles(case=case, images=image_files[case].images, label=label_files[case]) for case in image_files]


def unlabelled_cases(images: Path, *, option: str) -> list[CaseFiles]:
    """Group the images of a folder into cases, sorted by case.

    Raises:
        UserError: the folder is missing or empty, a case lacks a channel or has one twice, or its name is refused.
    """
    if not images.is_dir():
        raise UserError(f"{option} {images} is not a folder; expected one with images {{case}}_0000.nii.gz")
    channels: dict[str, dict[int, Path]] = {}
    for path in sorted(images.iterdir()):
        stem = stem_of(path)
        if stem is None or path.name.startswith(".") or path.name.endswith(SEGMENTATION_SUFFIX):
            continue
        match = _CHANNEL_NAME.fullmatch(stem)
        case, channel = (match["case"], int(match["channel"])) if match else (stem, 0)
        previous = channels.setdefault(case, {}).setdefault(channel, path)
        if previous != path:
            raise UserError(
                f"{option}: {previous.name} and {path.name} are both channel {channel} of case {case}; remove one"
            )
    if not channels:
        raise UserError(f"{option} {images} holds no image; expected files that end in {', '.join(SUFFIXES)}")
    return [_case_files(case, found, option) for case, found in sorted(channels.items())]


def check_distinct(groups: dict[str, Iterable[CaseFiles]]) -> None:
    """Refuse a case identifier that occurs in two groups; the keys are the groups' options.

    Raises:
        UserError: see above.
    """
    seen: dict[str, str] = {}
    for option, group in groups.items():
        for files in group:
            if files.case in seen:
                raise UserError(f"case {files.case} is in both {seen[files.case]} and {option}; rename or remove one")
            seen[files.case] = option


def check_case_name(case: str, where: str) -> None:
    """Refuse a case identifier that nnU-Net would lose or file systems confuse; `where` starts the message.

    Raises:
        UserError: see above.
    """
    if not CASE_NAME.fullmatch(case):
        raise UserError(f"{where}: case {case!r} has odd characters; use letters, digits, '_', '-' and '.' only")
    if case.endswith("_seg"):
        raise UserError(f"{where}: case {case} ends in _seg, and nnU-Net would drop it from training; rename it")


def _case_files(case: str, channels: dict[int, Path], option: str) -> CaseFiles:
    paths = [channels[channel] for channel in sorted(channels)]
    if sorted(channels) != list(range(len(channels))):
        raise UserError(
            f"{option}: the four digits of {', '.join(path.name for path in paths[:3])} are read as image channels of "
            f"case {case}, expected _0000, _0001, ... without a gap; name images {{case}}_0000.nii.gz"
        )
    check_case_name(case, option)
    return CaseFiles(case=case, images=tuple(paths))
