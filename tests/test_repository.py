"""What is committed must serve anybody: no package index's address, no path of one machine."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MACHINE_DIRECTORIES = ("farm", "root", "tmp/w", "work")
"""Directories that are found on the machines this was written on, and that no document or program has to name."""

INDEX_SETTING = re.compile(
    r"--(?:extra-)?index-url|--find-link[s]|^\s*(?:extra-)?index-url\s*=|^\s*find-links\s*=|^\s*(?:@[\w-]+:)?registry\s*=",
    re.MULTILINE,
)


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def tracked_texts() -> dict[str, str]:
    """The text of every tracked file by its path; a deleted one is not there any more, a binary one has none."""
    texts = {}
    for file in tracked_files():
        content = file.read_bytes() if file.is_file() else b""
        if b"\0" not in content:
            texts[str(file.relative_to(ROOT))] = content.decode()
    return texts


def values_of(key: str, document: object) -> list[object]:
    """Every value that stands under this key, however deep."""
    if isinstance(document, dict):
        found = [document[key]] if key in document else []
        return found + [value for each in document.values() for value in values_of(key, each)]
    if isinstance(document, list):
        return [value for each in document for value in values_of(key, each)]
    return []


def test_python_locks_pin_by_hash_and_carry_no_address() -> None:
    locks = [file for file in tracked_files() if file.name.endswith(".lock")]
    assert {file.name for file in locks} >= {"requirements.lock", "requirements-dev.lock"}
    for file in locks:
        text = file.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text, file


def test_npm_locks_pin_by_hash_and_carry_no_address() -> None:
    locks = [file for file in tracked_files() if file.name == "package-lock.json"]
    assert locks
    for file in locks:
        packages = json.loads(file.read_text())["packages"]
        assert values_of("resolved", packages) == []
        assert all(name == "" or package["integrity"].startswith("sha512-") for name, package in packages.items())


def test_no_file_names_a_package_index() -> None:
    naming = [path for path, text in tracked_texts().items() if INDEX_SETTING.search(text)]
    assert naming == []


@pytest.mark.parametrize("directory", MACHINE_DIRECTORIES)
def test_no_file_names_a_directory_of_one_machine(directory: str) -> None:
    absolute = re.compile(rf"(?<![\w.~*}})-])/{directory}/")
    naming = [path for path, text in tracked_texts().items() if absolute.search(text)]
    assert naming == []
