"""`rada-make-sparse-dataset`: from images and annotated slices to a raw nnU-Net dataset that RADA can train on."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparse_annotation_tools.cli.arguments import add_processes, processes_of
from sparse_annotation_tools.cli.command import command
from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.prompts.options import add_encoder_arguments, options_from_arguments

if TYPE_CHECKING:
    from sparse_annotation_tools.dataset.request import DatasetRequest
    from sparse_annotation_tools.propagation.chain import PropagationSettings
    from sparse_annotation_tools.schema import CasesFile

NAME = "rada-make-sparse-dataset"


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of `rada-make-sparse-dataset`."""
    result = argparse.ArgumentParser(
        prog=NAME,
        description="Make a raw nnU-Net dataset, with propagated labels, from images and annotated slices. "
        "A run that was killed goes on when the same command is typed again.",
    )
    result.add_argument("-d", dest="number", type=int, required=True, metavar="NUMBER", help="dataset number, 1 to 999")
    result.add_argument("-n", dest="name", required=True, metavar="NAME", help="dataset name, such as LA")
    inputs = result.add_argument_group("input")
    inputs.add_argument("--images", type=Path, metavar="DIR", help="labelled images {case}_0000.nii.gz")
    inputs.add_argument("--labels", type=Path, metavar="DIR", help="their label maps {case}.nii.gz")
    inputs.add_argument("--unlabelled", type=Path, metavar="DIR", help="further images, without labels")
    inputs.add_argument("--test-images", type=Path, metavar="DIR", help="images for testing")
    inputs.add_argument("--test-labels", type=Path, metavar="DIR", help="their dense label maps")
    inputs.add_argument(
        "--cases",
        type=Path,
        metavar="FILE",
        help="in place of these folders, for files in any layout: CSV of case,role,image,label, where role is "
        "labelled, unlabelled or test, and paths are relative to FILE (channels: a.nii.gz;b.nii.gz)",
    )
    inputs.add_argument("--label-names", nargs="+", metavar="CLASS", help="names of the label values 1, 2, ...")
    inputs.add_argument(
        "--merge",
        action="append",
        default=[],
        metavar="VALUES:CLASS",
        help="in place of --label-names: the values of a class in the label files, such as 1,2:kidney; once for each "
        "class, in the order of its new values 1, 2, ... (or in that of --label-names, if given too); the class "
        "background takes values to forget",
    )
    inputs.add_argument(
        "--labels-by-voxel",
        action="store_true",
        help="label maps lie voxel by voxel on their images, wherever their headers place them; sizes must agree",
    )
    inputs.add_argument("--modality", choices=("MR", "CT"), default="MR", help="(default MR)")
    planes = result.add_argument_group("annotated planes", "found from the painted voxels where neither is given")
    planes.add_argument(
        "--simulate",
        metavar="LETTERS",
        help="the labels are dense: keep the largest slice per letter of S, C, A (SCA), forget the rest",
    )
    planes.add_argument("--planes", type=Path, metavar="FILE", help="CSV of annotated planes: case,view,index (from 0)")
    planes.add_argument(
        "--not-annotated", type=int, default=255, metavar="VALUE", help="of voxels nobody annotated (default 255)"
    )
    propagation = result.add_argument_group("propagation of annotated slices")
    propagation.add_argument(
        "--paper", action="store_true", help="the published way: SyNRA on full frames, 5x5-pixel opening and closing"
    )
    propagation.add_argument("--transform", choices=("SyNOnly", "SyNRA"), help="(default SyNOnly)")
    propagation.add_argument(
        "--morphology-mm", type=float, metavar="MM", help="opening and closing, 0 for none (default 3)"
    )
    propagation.add_argument(
        "--registration-channel", type=int, default=0, metavar="CHANNEL", help="image channel to register (default 0)"
    )
    add_encoder_arguments(result)
    work = result.add_argument_group("work")
    add_processes(work)
    work.add_argument(
        "--backend", choices=("processes", "dask"), default="processes", help="where they run (default processes)"
    )
    work.add_argument("--scheduler", metavar="ADDRESS", help="of the dask cluster, such as tcp://10.0.0.1:8786")
    result.add_argument("--seed", type=int, default=0, help="of registration and folds (default 0)")
    result.add_argument(
        "--update", action="store_true", help="bring a dataset that this command made before up to date"
    )
    result.add_argument("--overwrite", action="store_true", help="replace a dataset that this command made before")
    return result


@command(NAME)
def main(argv: Sequence[str] | None = None) -> None:
    """Make one dataset."""
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)
    embedding = options_from_arguments(args)
    dataset = _dataset_folder_name(args.number, args.name)
    raw = _nnunet_folder("nnUNet_raw")
    if raw is None:
        raise UserError("nnUNet_raw is not set, and the dataset goes there; type: export nnUNet_raw=FOLDER")
    processes = processes_of(args)
    _check_backend(args)

    from sparse_annotation_tools.dataset.make import make_dataset
    from sparse_annotation_tools.dataset.request import DatasetRequest
    from sparse_annotation_tools.files.label_reading import class_names, parse_merge
    from sparse_annotation_tools.prompts import check_encoder, embed_dataset

    merge = parse_merge(args.merge)
    names = class_names(args.label_names, merge)
    request = DatasetRequest(
        raw=raw,
        preprocessed=_nnunet_folder("nnUNet_preprocessed"),
        dataset=dataset,
        images=args.images,
        labels=args.labels,
        cases=args.cases,
        label_names=names,
        merge=merge,
        labels_by_voxel=args.labels_by_voxel,
        modality=args.modality,
        simulate=args.simulate,
        planes_file=args.planes,
        unlabelled=args.unlabelled,
        test_images=args.test_images,
        test_labels=args.test_labels,
        propagation=_propagation(args),
        registration_channel=args.registration_channel,
        not_annotated=args.not_annotated,
        processes=processes,
        seed=args.seed,
        overwrite=args.overwrite,
        update=args.update,
        # What makes the dataset from nothing: the same whether or not there was one before.
        command=shlex.join([NAME, *(word for word in argv if word not in ("--update", "--overwrite"))]),
    )
    check_encoder(embedding, modality=args.modality, class_names=names)
    with _cluster(args.scheduler, request) if args.scheduler else contextlib.nullcontext(request) as request:
        made = make_dataset(request, embed=lambda folder: embed_dataset(folder, embedding), warn=_warn)
    _report(made, request.folder, args.number)


def _propagation(args: argparse.Namespace) -> PropagationSettings:
    """Return the settings: those of --paper, which no other option may change, or the default with what is given."""
    from sparse_annotation_tools.propagation.chain import PropagationSettings

    given = {name: getattr(args, name) for name in ("transform", "morphology_mm") if getattr(args, name) is not None}
    if not args.paper:
        return PropagationSettings(**given)
    if given:
        option = f"--{next(iter(given)).replace('_', '-')}"
        raise UserError(f"--paper sets all of the propagation, {option} included; leave out {option}, or --paper")
    return PropagationSettings.paper()


def _check_backend(args: argparse.Namespace) -> None:
    if args.backend == "dask" and args.scheduler is None:
        raise UserError("--backend dask needs the cluster's address; give --scheduler tcp://HOST:8786")
    if args.backend != "dask" and args.scheduler is not None:
        raise UserError("--scheduler is for dask; give --backend dask as well, or leave it out")


@contextlib.contextmanager
def _cluster(scheduler: str, request: DatasetRequest) -> Iterator[DatasetRequest]:
    """Work on a dask cluster, whose processes know nothing of this one's folder."""
    from sparse_annotation_tools.processes.cluster import dask_cluster

    request = request.with_absolute_paths()
    inputs = (request.images, request.labels, request.unlabelled, request.test_images, request.test_labels)
    folders = [request.cases.parent] if request.cases else [folder for folder in inputs if folder]
    with dask_cluster(scheduler, folders=folders, writable=request.raw):
        yield request


def _dataset_folder_name(number: int, name: str) -> str:
    if not 1 <= number <= 999:
        raise UserError(f"-d is {number}, expected a dataset number from 1 to 999")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise UserError(f"-n is {name!r}, expected letters, digits, '_' and '-', such as LA")
    return f"Dataset{number:03d}_{name}"


def _nnunet_folder(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def _warn(message: str) -> None:
    print(f"{NAME}: warning: {message}", file=sys.stderr)


def _report(made: CasesFile, folder: Path, number: int) -> None:
    slices = sum(len(made.cases[case].slices) for case in made.labelled)
    print(
        f"{made.dataset}: {len(made.labelled)} labelled cases with {slices} annotated slices, "
        f"{len(made.unlabelled)} unlabelled cases, {len(made.test)} test cases; written: {folder}"
    )
    if made.modality == "CT":
        print(
            "its dataset_fingerprint.json, with the intensities of annotated voxels, is in nnUNet_preprocessed; "
            "plan without --clean, which would count voxels that nobody annotated as foreground"
        )
    print(f"next: nnUNetv2_plan_and_preprocess -d {number} --verify_dataset_integrity -c 3d_fullres")
