"""What the documents name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGES = {"N": "nnunetv2_rada", "S": "sparse_annotation_tools"}
HOW_TO = sorted((Path(__file__).resolve().parents[1] / "docs" / "how-to").glob("*.md"))
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/paper-to-code.md",
    "docs/propagation.md",
    "docs/reliability.md",
)
DOCUMENTS = (*PAGES, *(f"docs/how-to/{page.name}" for page in HOW_TO))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files(repository: Path, document: str) -> None:
    """Every relative link of the main documents has its target."""
    path = repository / document
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_paper_is_mapped_to_code_and_tests_that_exist(repository: Path) -> None:
    """Files, names in them and tests of docs/paper-to-code.md are there."""
    text = (repository / "docs" / "paper-to-code.md").read_text()
    tests: dict[str, str] = {}
    for path in (repository / "tests").rglob("test_*.py"):  # two folders may hold one of the same name
        tests[path.name] = tests.get(path.name, "") + path.read_text()
    missing = []
    for package, path, name in re.findall(r"`([NS])/([\w/]+\.py)`(?: \(`(?:\w+\.)?(\w+)`\))?", text):
        file = repository / PACKAGES[package] / path
        if not file.is_file() or not re.search(rf"(def|class) {name}\b", file.read_text()):
            missing.append(f"{path} {name}")
    for file_name, name in re.findall(r"(test_\w+\.py)(?:::(test_\w+))?", text):
        if f"def {name}(" not in tests.get(file_name, "") and (name or file_name not in tests):
            missing.append(f"{file_name} {name}")
    every_test = "".join(tests.values())
    missing += [name for name in re.findall(r"`(test_\w+)`", text) if f"def {name}(" not in every_test]
    assert missing == []
