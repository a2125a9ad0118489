"""Rows of `rada-compare`: everything that is refused before the first run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from reliability import spoil
from reliability.edits import json_field, put
from reliability.place import Place
from reliability.row import Spoil, nothing, table
from reliability.rows_pages import NO_DATASET, dataset, file_at, options

COMMAND = "rada-compare"


def settings(content: Any) -> Spoil:
    """Write a file of settings."""
    return file_at("given.json", content if isinstance(content, str) else json.dumps(content))


def no_test_scans(place: Place) -> None:
    """Let the dataset have no test scans."""
    json_field("test", {})(place.dataset / "rada" / "cases.json")


def begun(text: str) -> Spoil:
    """Leave the record of an earlier comparison."""
    return lambda place: put(place.work / "comparison" / "compare.json", text)


_BEGUN = {"keeps": "work/comparison"}  # its record, with which the next run goes on
_SETTINGS = {"options": {"--settings": "{work}/given.json"}}
COMPARE = [
    *table(
        COMMAND,
        "dataset",
        *NO_DATASET,
        ("cases.json empty", dataset("rada/cases.json", spoil.empty), "cases.json is not valid JSON"),
        ("without test scans", no_test_scans, "has no test scans with labels ... make it with --test-images DIR"),
        ("without labelsTs", lambda p: shutil.rmtree(p.dataset / "labelsTs"), "has no test scans with labels"),
        ("embeddings cut off", dataset("rada/prompts.safetensors", spoil.cut), "is no whole .safetensors file"),
        ("embeddings missing", dataset("rada/prompts.safetensors", Path.unlink), "run rada-embed -d", _BEGUN),
        (
            "made by a command that nobody knows",
            dataset("rada/cases.json", json_field("command", "rada-make-sparse-dataset --frobnicate")),
            "the command that made Dataset007_Phantom cannot be read any more",
        ),
    ),
    *table(
        COMMAND,
        "options and settings",
        ("an unknown table", nothing, "argument --table: invalid choice: 'IX'", options(**{"--table": "IX"})),
        (
            "an unknown row",
            nothing,
            "--methods names nnU-Foo, which the tables do not",
            options(**{"--methods": "nnU-Foo"}),
        ),
        ("no iteration", nothing, "argument --iterations: 0 is less than 1", options(**{"--iterations": "0"})),
        ("iterations that are a prime", nothing, "cannot be divided into epochs", options(**{"--iterations": "997"})),
        ("no seed", nothing, "argument --seeds: 0 is less than 1", options(**{"--seeds": "0"})),
        ("an unknown device", nothing, "invalid choice: 'tpu'", options(**{"-device": "tpu"})),
        (
            "an unknown dataset of the paper",
            nothing,
            "--paper-dataset: invalid choice",
            options(**{"--paper-dataset": "X"}),
        ),
        (
            "options that rada-embed does not have",
            nothing,
            "holds no options of rada-embed; see rada-embed --help",
            options(**{"--embedding": "--encoder magic"}),
        ),
        ("--settings missing", nothing, "given.json cannot be read as JSON", _SETTINGS),
        ("--settings that are no JSON", settings("{"), "given.json cannot be read as JSON", _SETTINGS),
        ("--settings that are a list", settings([1]), "holds list, expected a JSON object of settings", _SETTINGS),
        ("an unknown setting", settings({"base_filter": 8}), "unknown setting base_filter; known are", _SETTINGS),
        ("a setting that is NaN", settings('{"learning_rate": NaN}'), "learning_rate is nan, expected", _SETTINGS),
        ("a seed in --settings", settings({"seed": 1}), "the seeds of a comparison are 0, 1, ...", _SETTINGS),
    ),
    *table(
        COMMAND,
        "output",
        ("-o is a file", file_at("comparison"), "mend it and run again"),
        ("-o lies below a file", file_at("file"), "mend it and run again", options(**{"-o": "{work}/file/c"})),
        ("-o holds other files", file_at("comparison/mine.txt"), "holds other files, expected a new folder"),
        ("a comparison of other things", begun('{"dataset": "Dataset001_X"}'), "its rows would not be comparable"),
        ("a comparison whose record is cut off", begun('{"data'), "compare.json is damaged"),
    ),
]
