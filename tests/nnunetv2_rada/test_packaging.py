"""An unmodified nnU-Net finds the trainers after an install, and nothing is left after an uninstall.

Each install goes into a fresh virtual environment that borrows the dependencies of the running one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

AUTOLOAD = "nnunetv2_rada_autoload.pth"

# Run by the fresh environment. The parent drops the variable, so that the worker must find the trainer by itself.
FIND = """
import multiprocessing, os, pickle, sys
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find

if __name__ == "__main__":
    found = find("nnUNetTrainerRADA")
    assert pickle.loads(pickle.dumps(found)) is found
    del os.environ["nnUNet_extTrainer"]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(find, ("nnUNetTrainerRADA",)) is found
    print("found in", sys.modules[found.__module__].__file__)
"""
VARIABLE = "import os; print(os.environ.get('nnUNet_extTrainer'))"


@dataclass(frozen=True)
class Environment:
    """A virtual environment with its own packages first and borrowed ones behind."""

    root: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.root / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where its own packages lie."""
        return next((self.root / "lib").glob("python*/site-packages"))

    def run(self, *arguments: str | Path, **variables: str) -> str:
        """Run Python from an empty folder, without what the test run's own environment says about paths."""
        inherited = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "nnUNet_extTrainer")
        }
        return _checked([self.python, *arguments], cwd=self.root, env={**inherited, **variables})

    def pip(self, *arguments: str | Path) -> None:
        """Run the test environment's pip on this one, offline."""
        options = ["--python", self.python, "--no-cache-dir", "--disable-pip-version-check"]
        _checked([sys.executable, "-m", "pip", *options, *arguments], cwd=self.root)

    def install(self, way: str, *, wheel: Path, repository: Path) -> None:
        """Install the project `plain`, from the wheel, or `editable`, from the source tree."""
        # --ignore-installed: the borrowed packages may hold this very project, which must stay as it is.
        options = ["--no-deps", "--no-build-isolation", "--ignore-installed"]
        self.pip("install", *options, *([wheel] if way == "plain" else ["-e", repository]))

    def files(self) -> set[Path]:
        """Every file in it."""
        return {path for path in self.root.rglob("*") if not path.is_dir()}


def _checked(command: list[str | Path], *, cwd: Path, env: dict[str, str] | None = None) -> str:
    finished = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


def _fresh(root: Path) -> Environment:
    """Borrowed folders' own .pth files are not read, so an editable install there has no effect."""
    venv.create(root, with_pip=False, symlinks=True)
    fresh = Environment(root)
    borrowed = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (fresh.site_packages / "zz_borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    return fresh


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[Path, Path]:
    """The wheel and the source archive, built without a network."""
    folder = tmp_path_factory.mktemp("dist")
    _checked([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", folder], cwd=repository)
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(archives: tuple[Path, Path]) -> Path:
    """The wheel."""
    return archives[0]


@pytest.fixture(scope="module", params=["plain", "editable"])
def way(request: pytest.FixtureRequest) -> str:
    """How the project is installed."""
    return str(request.param)


@pytest.fixture(scope="module")
def installed(way: str, wheel: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The project in a fresh environment; tests only look at it."""
    environment = _fresh(tmp_path_factory.mktemp(way) / "venv")
    environment.install(way, wheel=wheel, repository=repository)
    return environment


def test_nnunet_finds_the_trainer(installed: Environment, way: str, repository: Path) -> None:
    """In the process itself and in a spawned worker, and from this very install; the class pickles."""
    script = installed.root / "find.py"
    script.write_text(FIND)
    expected = (installed.site_packages if way == "plain" else repository) / "nnunetv2_rada" / "trainer.py"
    assert installed.run(script).splitlines()[-1] == f"found in {expected}"


def test_the_variable_is_appended_to_once(installed: Environment) -> None:
    """A user's own folders stay first, and a child process does not add the folder again."""
    alone = installed.run("-c", VARIABLE).strip()
    assert Path(alone).name == "_ext"
    assert installed.run("-c", VARIABLE, nnUNet_extTrainer="/mine").strip() == f"/mine{os.pathsep}{alone}"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {VARIABLE!r}], check=True)"
    assert installed.run("-c", child).strip() == alone


def test_starting_python_imports_nothing_else(installed: Environment) -> None:
    """The .pth file runs at every start of Python: it may cost two tiny modules and no more."""
    code = "import sys; print(sorted(name for name in sys.modules if name.startswith(('nnunetv2', 'sparse', 'numpy'))))"
    assert installed.run("-c", code).strip() == "['nnunetv2_rada', 'nnunetv2_rada._autoload']"


def test_every_command_is_installed(installed: Environment, repository: Path) -> None:
    """Each script of pyproject.toml is there and starts."""
    for line in (repository / "pyproject.toml").read_text().splitlines():
        if line.startswith("rada-"):
            name = line.split(" = ")[0]
            assert _checked([installed.root / "bin" / name, "--help"], cwd=installed.root).startswith(f"usage: {name}")


def test_uninstalling_leaves_nothing(way: str, wheel: Path, repository: Path, tmp_path: Path) -> None:
    """After use and uninstall the environment holds the files it held before, and the variable is not set."""
    environment = _fresh(tmp_path / "venv")
    before = environment.files()
    environment.install(way, wheel=wheel, repository=repository)
    assert (environment.site_packages / AUTOLOAD).is_file()
    environment.run("-c", "import nnunetv2_rada.config")
    environment.pip("uninstall", "--yes", "nnunetv2-rada")
    assert environment.files() == before
    assert environment.run("-c", VARIABLE).strip() == "None"


def test_the_source_archive_builds_the_same_wheel(archives: tuple[Path, Path], tmp_path: Path) -> None:
    """What is needed to build is in the archive, the .pth file included."""
    wheel, source_archive = archives
    with tarfile.open(source_archive) as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    source = next(path for path in tmp_path.iterdir() if path.is_dir())
    _checked([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=source)
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as second:
        assert first.namelist() == second.namelist()
        assert first.read(AUTOLOAD) == b"import nnunetv2_rada._autoload\n"


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    """No tests, benchmarks or documents in site-packages, and above all nothing in nnU-Net's own folders."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    assert tops == {"nnunetv2_rada", "sparse_annotation_tools", AUTOLOAD}
    assert len(licences) == 1
