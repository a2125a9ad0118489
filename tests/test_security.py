"""What the code never does: run what a file holds, start a shell, or go to the network unasked."""

from __future__ import annotations

import ast
import importlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from phantom_dataset import commands_before_training, write_small_phantoms

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema_check import file_ending

PACKAGES = ("sparse_annotation_tools", "nnunetv2_rada")
UNPICKLING = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
# nnU-Net's own checkpoints, in its own format, which nnU-Net itself loads in the same way.
CHECKPOINTS = {"nnunetv2_rada/checkpoint.py", "nnunetv2_rada/trainer.py", "nnunetv2_rada/trained_model.py"}


@pytest.fixture(scope="module")
def sources(repository: Path) -> dict[str, ast.Module]:
    """Return every module of both packages, parsed, by its path."""
    return {
        str(path.relative_to(repository)): ast.parse(path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in sorted((repository / package).rglob("*.py"))
    }


def calls(sources: dict[str, ast.Module]) -> Iterator[tuple[str, str, dict[str, ast.expr]]]:
    """Yield the file, the dotted name and the keyword arguments of every call."""
    for file, module in sources.items():
        for node in ast.walk(module):
            if isinstance(node, ast.Call):
                yield file, ast.unparse(node.func), {each.arg or "**": each.value for each in node.keywords}


def says(keywords: dict[str, ast.expr], name: str, value: bool) -> bool:
    """Whether a keyword argument is given as this constant."""
    given = keywords.get(name)
    return isinstance(given, ast.Constant) and given.value is value


def test_nothing_from_outside_is_unpickled(sources: dict[str, ast.Module]) -> None:
    """torch.load takes weights only (nnU-Net's own checkpoints aside), np.load no objects; pickle is idle."""
    for file, name, keywords in calls(sources):
        if name == "torch.load":
            assert says(keywords, "weights_only", True) or file in CHECKPOINTS, file
        if name in ("np.load", "numpy.load"):
            assert says(keywords, "allow_pickle", False), file
        assert name not in ("joblib.load", "torch.hub.load", "pd.read_pickle", "yaml.load"), file
        assert name.split(".")[0] not in UNPICKLING or name == "pickle.UnpicklingError", f"{file}: {name}"


def test_no_text_is_run(sources: dict[str, ast.Module]) -> None:
    """No eval, no exec, no shell."""
    for file, name, keywords in calls(sources):
        assert name not in ("eval", "exec", "os.system", "os.popen", "subprocess.getoutput"), f"{file}: {name}"
        shell = keywords.get("shell")
        assert shell is None or says(keywords, "shell", False), f"{file}: {name}"


def test_only_what_is_known_to_talk_does(sources: dict[str, ast.Module]) -> None:
    """Sockets, servers and downloads are imported by the modules that are for it alone."""
    allowed = {
        "sparse_annotation_tools/annotate/server.py",  # a page, on 127.0.0.1 alone
        "sparse_annotation_tools/annotate/lease.py",  # this computer's name
        "sparse_annotation_tools/processes/cluster.py",  # --backend dask --scheduler ADDRESS
        "sparse_annotation_tools/prompts/clip_encoder.py",  # --encoder clip, with OpenAI's weights by name
    }
    talks = {"socket", "http", "urllib.request", "requests", "ftplib", "huggingface_hub", "distributed"}
    for file, module in sources.items():
        for node in ast.walk(module):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            found = [name for name in names if name in talks or name.split(".")[0] in talks]
            assert not found or file in allowed, f"{file} imports {found}"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every socket to another machine, and every question for a name, raise; return what was asked for."""
    asked: list[str] = []

    class Deaf(socket.socket):
        def connect(self, address: Any) -> None:
            if self.family != socket.AF_UNIX:
                asked.append(str(address))
                raise OSError("no network in this test")
            super().connect(address)

    def nobody(host: object, *_: object, **__: object) -> None:
        asked.append(str(host))
        raise socket.gaierror("no network in this test")

    monkeypatch.setattr(socket, "socket", Deaf)
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    return asked


@pytest.mark.slow
def test_the_commands_work_without_a_network(no_network: list[str], nnunet_folders: Any, tmp_path: Path) -> None:
    """Scans to dataset, embeddings by the default encoder, checks, suggestions, scores: nobody is asked anything."""
    write_small_phantoms(tmp_path, labelled=1, unlabelled=1)
    for module, arguments in commands_before_training(tmp_path, tmp_path, processes=1):
        command = importlib.import_module(f"sparse_annotation_tools.cli.{module}")
        assert command.main(arguments) == 0, module
    with pytest.raises(OSError, match="no network"), socket.socket() as probe:
        probe.connect(("127.0.0.1", 9))
    assert no_network == ["('127.0.0.1', 9)"]


@pytest.mark.parametrize("ending", ["/../x", "../x", ".nii.gz/..", "", "nii", ".a b", None, 1, ".n\n"])
def test_a_file_ending_that_is_none_is_refused(ending: object) -> None:
    """It becomes a part of paths."""
    with pytest.raises(ValueError, match="file_ending is"):
        file_ending({"file_ending": ending})
    assert file_ending({"file_ending": ".nii.gz"}) == ".nii.gz"


def test_a_message_shows_what_a_terminal_would_obey() -> None:
    """Names come from files; escape sequences in them would reach the user's terminal."""
    message = str(UserError("case \x1b[2J\x07\x00 is " + json.dumps("é") + " unfit \u202e"))
    assert message.isprintable()
    assert "\\x1b[2J\\x07\\x00" in message
