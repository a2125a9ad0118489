"""Rows of `rada-doctor` and `rada-demo`."""

from __future__ import annotations

import errno
import importlib.metadata
import sys
import tempfile
from functools import partial
from typing import Any

from reliability.edits import both, put, unset, variable
from reliability.place import Place
from reliability.row import nothing, table
from reliability.rows_make_other import raising

DOCTOR, DEMO = "rada-doctor", "rada-demo"
_MEND = "of the lines above start with FIX; type what they say, then rada-doctor again"


def only(check: str, then: Any = nothing) -> Any:
    """Run one check of the doctor alone, after an edit."""

    def edit(place: Place) -> None:
        import nnunetv2_rada.doctor as doctor

        then(place)
        place.patch.setattr(doctor, "CHECKS", (getattr(doctor, check),))

    return edit


def doctors(name: str, value: Any) -> Any:
    """Replace a part of the doctor."""

    def edit(place: Place) -> None:
        import nnunetv2_rada.doctor as doctor

        place.patch.setattr(doctor, name, value)

    return edit


def failing(error: Exception) -> Any:
    """Return a function that raises."""

    def fail(*arguments: Any, **more: Any) -> Any:
        raise error

    return fail


def unwritable(place: Place) -> None:
    """Let no file be made."""
    place.patch.setattr(tempfile, "TemporaryFile", failing(PermissionError(errno.EACCES, "Permission denied")))


def version(name: str, found: str | None) -> Any:
    """Let a package have another version, or not be there."""

    def edit(place: Place) -> None:
        genuine = importlib.metadata.version

        def of(package: str) -> str:
            if package != name:
                return genuine(package)
            if found is None:
                raise importlib.metadata.PackageNotFoundError(package)
            return found

        place.patch.setattr(importlib.metadata, "requires", lambda _: [f"{name}>=2.4"])
        place.patch.setattr(importlib.metadata, "version", of)

    return edit


def other_command(place: Place) -> None:
    """Put an nnUNetv2_train of another Python on the path."""
    put(place.work / "bin" / "nnUNetv2_train", "#!/bin/sh\n")
    (place.work / "bin" / "nnUNetv2_train").chmod(0o755)
    place.patch.setenv("PATH", str(place.work / "bin"))


def no_module(name: str) -> Any:
    """Let an import fail."""
    return lambda place: place.patch.setitem(sys.modules, name, None)


def _found(name: str, edit: Any, prints: str) -> tuple[Any, ...]:
    return (name, edit, _MEND, {"prints": f"FIX ... {prints}"})


_EACH = [
    row
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    for row in (
        _found(f"{name} unset", only("check_folders", unset(name)), f"{name} is not set ... type: export {name}="),
        _found(
            f"{name} not there",
            only("check_folders", variable(name, "{work}/gone")),
            f"{name} is ... which is no folder; type: mkdir -p",
        ),
    )
]
DOCTORED = table(
    DOCTOR,
    "surroundings",
    *_EACH,
    _found(
        "a folder is a file",
        only("check_folders", both(lambda p: put(p.work / "f", ""), variable("nnUNet_raw", "{work}/f"))),
        "nnUNet_raw is ... which is no folder",
    ),
    _found(
        "folders that cannot be written", only("check_folders", unwritable), "which cannot be written; type: chmod u+w"
    ),
    _found(
        "a package missing",
        only("check_versions", version("torch", None)),
        "found nothing, expected torch>=2.4; type: pip install",
    ),
    _found(
        "a package too old",
        only("check_versions", version("torch", "1.0")),
        "found 1.0, expected torch>=2.4; type: pip install",
    ),
    _found(
        "this package only on the path",
        only(
            "check_versions",
            lambda p: p.patch.setattr(
                importlib.metadata, "requires", failing(importlib.metadata.PackageNotFoundError("x"))
            ),
        ),
        "is not installed, only on the path; type: pip install",
    ),
    _found(
        "the trainer not found",
        only("check_trainer", unset("nnUNet_extTrainer")),
        "nnU-Net does not find nnUNetTrainerRADA ... type: export nnUNet_extTrainer=",
    ),
    _found(
        "nnU-Net's commands not on PATH",
        only("check_commands", variable("PATH", "{work}")),
        "nnUNetv2_train is not on PATH; type: export PATH=",
    ),
    _found(
        "nnU-Net of another Python on PATH",
        only("check_commands", other_command),
        "of another Python; type: export PATH=",
    ),
    _found(
        "nnU-Net's commands not installed",
        only("check_commands", doctors("_installed_command", lambda name: None)),
        "nnUNetv2_train is not installed; type: pip install",
    ),
    _found(
        "ANTs does not work",
        only("check_registration", doctors("_registered_overlap", failing(RuntimeError("no ITK")))),
        "does not work (no ITK); type: pip install --force-reinstall antspyx",
    ),
    _found(
        "ANTs registers badly",
        only("check_registration", doctors("_registered_overlap", lambda: 0.3)),
        "Dice 0.30, expected 0.90 or more",
    ),
    _found(
        "open_clip does not import",
        only("check_encoders", no_module("open_clip")),
        "does not import ... type: pip install --force-reinstall open_clip_torch",
    ),
    ("an argument", nothing, "unrecognized arguments: now", {"options": {"now": ""}}),
)


def stage(*command: str) -> Any:
    """Let the demo have one stage, which runs a command."""

    def edit(place: Place) -> None:
        import nnunetv2_rada.demo as demo
        from nnunetv2_rada.stages import Stage, run_command

        def stages(folder: Any, settings: Any, device: str, console: Any) -> list[Any]:
            log = folder.root / "logs" / "one.log"
            run = partial(run_command, command, log=log, environment={}, console=console, summary=lambda line: None)
            return [Stage(name="one", title="one stage", run=run)]

        place.patch.setattr(demo, "demo_stages", stages)

    return edit


def settings(text: str) -> Any:
    """Leave the settings of an earlier demo."""
    return lambda place: put(place.work / "demo" / "demo.json", text)


def no_scripts(place: Place) -> None:
    """Let this Python have no commands beside it."""
    import nnunetv2_rada.stages as stages

    place.patch.setattr(stages.sysconfig, "get_path", lambda name: str(place.work))


def as_file(place: Place) -> None:
    """Put a file where the demo goes."""
    put(place.work / "demo", "x")


DEMOS = table(
    DEMO,
    "output and surroundings",
    ("output is a file", as_file, "Not a directory: ... mend it and run again"),
    ("output holds other files", lambda p: put(p.work / "demo" / "mine.txt", "x"), "holds other files, expected a new"),
    (
        "a demo of other settings",
        settings('{"labelled": 3}'),
        "holds a demo made with other settings; give --overwrite",
    ),
    ("a demo whose settings are cut off", settings('{"label'), "demo.json is not valid JSON ... give --overwrite"),
    ("an unknown device", nothing, "argument -device: invalid choice: 'tpu'", {"options": {"-device": "tpu"}}),
    (
        "disk full",
        raising(errno.ENOSPC, at="open"),
        "No space left on device: ... mend it and run again",
        {"options": {"-o": "{raw}/demo"}, "keeps": "raw/demo"},
    ),
    (
        "commands not beside this Python",
        both(stage("rada-evaluate"), no_scripts),
        "command rada-evaluate not found in",
        {"keeps": "work/demo"},
    ),
    (
        "a stage that fails",
        stage("rada-evaluate", "-gt", "nowhere", "-pred", "nowhere"),
        "rada-evaluate ended with status 2, expected status 0; its whole output is in ... run the same command again",
        {"keeps": "work/demo"},
    ),
)
PROGRAMS = [*DOCTORED, *DEMOS]
