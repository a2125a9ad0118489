"""The user's dataset: what it was made from, and which changed versions of it can be made."""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sparse_annotation_tools.errors import UserError
from sparse_annotation_tools.schema import CasesFile, RadaFolder


@dataclass(frozen=True, kw_only=True)
class GivenDataset:
    """A raw dataset that `rada-make-sparse-dataset` made. It is read, and never written to.

    Attributes:
        folder: `nnUNet_raw/DatasetXXX_Name`.
        cases: its cases.json.
        prompts: metadata of its embeddings; None where it has none.
        options: of the command that made it.
        embedding: options that encode it, such as `--encoder clip`.
    """

    folder: Path
    cases: CasesFile
    prompts: dict[str, str] | None
    options: argparse.Namespace
    embedding: argparse.Namespace

    @classmethod
    def read(cls, folder: Path, *, embedding: str | None = None) -> GivenDataset:
        """Read a raw dataset.

        Args:
            folder: the raw dataset.
            embedding: options of rada-embed to use in place of the recorded ones.

        Raises:
            UserError: it was not made by rada-make-sparse-dataset, or holds no dense labels to test with.
        """
        from sparse_annotation_tools.prompts.store import PromptStore

        rada = RadaFolder(root=folder / "rada")
        cases = CasesFile.load(rada)
        if not cases.test or not (folder / "labelsTs").is_dir():
            raise UserError(
                f"{folder} has no test scans with labels, which a comparison is made on; make it with "
                "--test-images DIR --test-labels DIR (--update adds them)"
            )
        prompts = None
        if rada.prompts_file.is_file():
            prompts = dict(PromptStore.load(rada.prompts_file, classes=list(cases.classes)).metadata)
        recorded = recorded_options(cases)
        encoding = parse_embedding(embedding) if embedding else recorded
        return cls(folder=folder, cases=cases, prompts=prompts, options=recorded, embedding=encoding)

    @property
    def rada(self) -> RadaFolder:
        """Its `rada/` folder."""
        return RadaFolder(root=self.folder / "rada")

    def identity(self) -> dict[str, Any]:
        """Return what tells this state of the dataset from another: its name and hashes."""
        files = [file for file in (self.rada.cases_file, self.rada.prompts_file) if file.is_file()]
        return {"dataset": self.folder.name, **{file.name: sha256(file.read_bytes()).hexdigest() for file in files}}


def recorded_options(cases: CasesFile) -> argparse.Namespace:
    """Return the options of the command that made a dataset."""
    from sparse_annotation_tools.cli.make_sparse_dataset import parser

    try:
        with contextlib.redirect_stderr(io.StringIO()):  # argparse prints its own line
            return parser().parse_args(shlex.split(cases.command)[1:])
    except (SystemExit, ValueError):
        raise UserError(
            f"the command that made {cases.dataset} cannot be read any more: {cases.command}; make the dataset again"
        ) from None


def parse_embedding(options: str) -> argparse.Namespace:
    """Return options of rada-embed.

    Raises:
        UserError: they are no options of rada-embed.
    """
    from sparse_annotation_tools.cli.embed import parser

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return parser().parse_args(["-d", "1", *shlex.split(options)])
    except (SystemExit, ValueError):
        raise UserError(f"--embedding {options!r} holds no options of rada-embed; see rada-embed --help") from None


def words(parser: argparse.ArgumentParser, options: argparse.Namespace, **changes: Any) -> list[str]:
    """Return the command line that gives a parser these options, with some changed; None leaves an option out."""
    values = {**vars(options), **changes}
    result: list[str] = []
    for action in parser._actions:
        value = values.get(action.dest)
        if value is None or value == action.default or not action.option_strings:
            continue
        flag = action.option_strings[-1]
        if action.nargs == 0:
            result.append(flag)
        elif isinstance(action, argparse._AppendAction):
            result += [word for one in value for word in (flag, str(one))]
        elif isinstance(value, (list, tuple)):
            result += [flag, *map(str, value)]
        else:
            result += [flag, str(value)]
    return result
