"""`rada-doctor`: one line per thing that can be wrong, each with the command that mends it."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparse_annotation_tools.cli.command import command
from sparse_annotation_tools.errors import UserError

DISTRIBUTION = "nnunetv2-rada"
TRAINER = "nnUNetTrainerRADA"
FOLDERS = {
    "nnUNet_raw": "raw datasets",
    "nnUNet_preprocessed": "preprocessed datasets; a fast local disk",
    "nnUNet_results": "trained models",
}
_SHARED_MEMORY_GIB = 1.0  # containers start with 0.06; nnU-Net's loader processes hand their batches over in it


@dataclass(frozen=True)
class Finding:
    """One line: `level` is `ok`, `note` (works, but good to know) or `FIX`; `mend` is a command to type."""

    level: str
    what: str
    text: str
    mend: str = ""

    def __str__(self) -> str:
        """The line as printed."""
        return f"{self.level:4}  {self.what:9}  {self.text}" + (f"; type: {self.mend}" if self.mend else "")


Check = Callable[[], Iterator[Finding]]


@command("rada-doctor")
def main(argv: Sequence[str] | None = None) -> None:
    """Run every check and print its lines; raise if the user must mend something."""
    argparse.ArgumentParser(
        prog="rada-doctor",
        description="Check that everything needed is there and works; say what to type where something is not.",
        epilog="exit status: 0 all is well, 2 something must be mended",
    ).parse_args(argv)
    broken = 0
    for check in CHECKS:
        for finding in check():
            print(finding, flush=True)
            broken += finding.level == "FIX"
    if broken:
        raise UserError(f"{broken} of the lines above start with FIX; type what they say, then rada-doctor again")
    print("next: rada-demo -o demo_output, or your own scans: rada-make-sparse-dataset --help")


def check_versions() -> Iterator[Finding]:
    """Every dependency is installed in the range that the distribution asks for."""
    from packaging.requirements import Requirement

    try:
        required = [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION) or []]
    except importlib.metadata.PackageNotFoundError:
        folder = Path(__file__).resolve().parent.parent
        yield Finding("FIX", "versions", f"{DISTRIBUTION} is not installed, only on the path", f"pip install {folder}")
        return
    good = []
    for requirement in required:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        wanted = f"{requirement.name}{requirement.specifier}"
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            found = "nothing"
        if found != "nothing" and requirement.specifier.contains(found, prereleases=True):
            good.append(f"{requirement.name} {found}")
        else:
            yield Finding("FIX", "versions", f"found {found}, expected {wanted}", f'pip install "{wanted}"')
    own = importlib.metadata.version(DISTRIBUTION)
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", "versions", f"{DISTRIBUTION} {own}, Python {python}, {', '.join(good)}")


def check_trainer() -> Iterator[Finding]:
    """nnU-Net's own finder finds the trainer, as `nnUNetv2_train` will."""
    from nnunetv2_rada import _autoload

    export = f'export {_autoload.VARIABLE}="{_autoload.FOLDER}"'
    try:
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

        with contextlib.redirect_stdout(io.StringIO()):
            found = recursive_find_trainer_class_by_name(TRAINER)
    except ImportError as error:
        yield Finding("FIX", "trainer", f"cannot be imported ({_line(error)})", f"pip install --upgrade {DISTRIBUTION}")
    except RuntimeError:
        yield Finding(
            "FIX", "trainer", f"nnU-Net does not find {TRAINER}, as Python did not read {_autoload.PTH}", export
        )
    else:
        yield Finding("ok", "trainer", f"nnU-Net finds {TRAINER} in {sys.modules[found.__module__].__file__}")


def check_commands() -> Iterator[Finding]:
    """The nnU-Net command on PATH is that of this Python, in which the trainer is installed."""
    name = "nnUNetv2_train"
    found = shutil.which(name)
    installed = _installed_command(name)
    if installed is None:
        yield Finding("FIX", "commands", f"{name} is not installed", "pip install --force-reinstall --no-deps nnunetv2")
    elif found is None or not Path(found).samefile(installed):
        where = "is not on PATH" if found is None else f"on PATH is {found}, of another Python"
        yield Finding("FIX", "commands", f"{name} {where}", f'export PATH="{installed.parent}:$PATH"')
    else:
        yield Finding("ok", "commands", f"{name} on PATH is {found}, of this Python")


def check_folders() -> Iterator[Finding]:
    """nnU-Net's three folders are set, exist and can be written to."""
    for variable, content in FOLDERS.items():
        value = os.environ.get(variable)
        if not value:
            mend = f'export {variable}="$HOME/{variable}"; mkdir -p "${variable}"'
            yield Finding("FIX", "folders", f"{variable} is not set ({content})", mend)
        elif not Path(value).is_dir():
            yield Finding("FIX", "folders", f"{variable} is {value}, which is no folder", f'mkdir -p "{value}"')
        elif not _writable(Path(value)):
            yield Finding("FIX", "folders", f"{variable} is {value}, which cannot be written", f'chmod u+w "{value}"')
        else:
            free = shutil.disk_usage(value).free / 2**30
            yield Finding("ok", "folders", f"{variable} is {value}, {free:.0f} GiB free")


def check_registration() -> Iterator[Finding]:
    """ANTs moves a disc on to a shifted disc."""
    try:
        overlap = _registered_overlap()
    except (ImportError, RuntimeError, OSError) as error:
        yield Finding("FIX", "ANTs", f"does not work ({_line(error)})", "pip install --force-reinstall antspyx")
        return
    if overlap < 0.9:
        text = f"registers two shifted discs badly (Dice {overlap:.2f}, expected 0.90 or more)"
        yield Finding("FIX", "ANTs", text, "pip install --force-reinstall antspyx")
    else:
        yield Finding("ok", "ANTs", f"registers two slices (Dice {overlap:.2f})")


def check_encoders() -> Iterator[Finding]:
    """open_clip, which encodes slices and prompts, imports."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's, of torch functions that grow old
            importlib.import_module("open_clip")
    except (ImportError, RuntimeError, OSError) as error:
        mend = "pip install --force-reinstall open_clip_torch torchvision"
        yield Finding("FIX", "open_clip", f"does not import ({_line(error)})", mend)
    else:
        yield Finding("ok", "open_clip", f"imports, version {importlib.metadata.version('open_clip_torch')}")


def check_device() -> Iterator[Finding]:
    """A GPU is there and trains in mixed precision, or training runs on the CPU."""
    import torch

    if not torch.cuda.is_available():
        if torch.backends.mps.is_available():
            yield Finding("ok", "device", f"Apple GPU, torch {torch.__version__}; train with -device mps")
            return
        built = f"torch {torch.__version__} is built for CUDA {torch.version.cuda}" if torch.version.cuda else ""
        reason = f" ({built}, but no driver or GPU answers)" if built else f" (torch {torch.__version__} for CPU)"
        yield Finding("note", "device", f"no GPU{reason}: add -device cpu; fit for small volumes only")
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        name = f"GPU {index} {properties.name}, {properties.total_memory / 2**30:.0f} GiB"
        try:
            _train_in_mixed_precision(torch.device("cuda", index))
        except RuntimeError as error:
            mend = "nvidia-smi  (another process may hold the GPU, or torch is too new or old for the driver)"
            yield Finding("FIX", "device", f"{name}, fails in mixed precision ({_line(error)})", mend)
        else:
            yield Finding("ok", "device", f"{name}, trains in mixed precision")


def check_resources() -> Iterator[Finding]:
    """Processes and shared memory fit this machine."""
    from joblib import cpu_count
    from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

    cores, workers = cpu_count(), get_allowed_n_proc_DA()
    memory = f"{_memory_gib():.0f} GiB memory" if hasattr(os, "sysconf") else "memory unknown"
    if workers > cores:
        text = f"{cores} cores and {memory}, but nnU-Net will start {workers} loader processes"
        yield Finding("note", "machine", text, f"export nnUNet_n_proc_DA={cores}")
    else:
        yield Finding("ok", "machine", f"{cores} cores, {memory}, {workers} loader processes")
    shared = Path("/dev/shm")
    if shared.is_dir():
        size = shutil.disk_usage(shared).total / 2**30
        if size < _SHARED_MEMORY_GIB:
            text = f'shared memory is {size:.2f} GiB, which loader processes can exhaust ("Bus error")'
            yield Finding("note", "machine", text, "docker run --shm-size=8g ...  or export nnUNet_n_proc_DA=0")


CHECKS: tuple[Check, ...] = (
    check_versions,
    check_trainer,
    check_commands,
    check_folders,
    check_registration,
    check_encoders,
    check_device,
    check_resources,
)


def _registered_overlap() -> float:
    """Dice of a disc after registration to the same disc moved by two pixels (0.8 before)."""
    import ants
    import numpy as np

    rows, columns = np.ogrid[:32, :36]
    discs = [((rows - row) ** 2 + (columns - 18) ** 2 <= 36).astype(np.float32) for row in (15, 17)]
    moving, fixed = (ants.from_numpy(disc) for disc in discs)
    with tempfile.TemporaryDirectory(prefix="rada-doctor-") as folder:
        result = ants.registration(
            fixed, moving, type_of_transform="SyNOnly", reg_iterations=(40, 20), outprefix=f"{folder}/pair"
        )
    warped = result["warpedmovout"].numpy() > 0.5
    return float(2 * (warped * discs[1]).sum() / (warped.sum() + discs[1].sum()))


def _train_in_mixed_precision(device: object) -> None:
    """One step of one convolution, scaled as nnU-Net does; raises RuntimeError where it fails."""
    import torch

    layer = torch.nn.Conv3d(1, 2, 3, padding=1).to(device)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cuda")
    with torch.autocast("cuda"):
        loss = layer(torch.ones(1, 1, 8, 8, 8, device=device)).square().mean()  # type: ignore[call-overload]
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    if not torch.isfinite(loss):
        raise RuntimeError("the loss is not finite")


def _installed_command(name: str) -> Path | None:
    """Where the installed nnunetv2 has its command; None where it has none."""
    try:
        files = importlib.metadata.files("nnunetv2") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    located = (Path(str(file.locate())).resolve() for file in files if file.stem == name)
    return next((path for path in located if path.is_file()), None)


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    raise SystemExit(main())
