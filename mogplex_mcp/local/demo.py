"""The demonstration repository: small, real, with one failing test for an agent to repair."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from mogplex_mcp.local.git import GitError, clean_environment

_README = """\
# hello

A package small enough to read at a glance. One of its tests fails:

    python3 -m unittest discover

Ask an agent to repair it.
"""
_GREETING = '''\
"""Greetings."""


def greet(name: str = "") -> str:
    """A greeting for somebody; the world is greeted when there is no name."""
    return f"Hello, {name}!"
'''
_TEST = """\
import unittest

from hello.greeting import greet


class GreetingTest(unittest.TestCase):
    def test_somebody_is_greeted_by_name(self) -> None:
        self.assertEqual(greet("Ada"), "Hello, Ada!")
"""
_FAILING_TEST = """
    def test_the_world_is_greeted_when_there_is_no_name(self) -> None:
        self.assertEqual(greet(), "Hello, world!")
"""
_COMMITS: tuple[tuple[str, dict[str, str]], ...] = (
    ("Begin with a readme", {"README.md": _README, ".gitignore": "__pycache__/\n"}),
    (
        "Greet people by name",
        {
            "hello/__init__.py": '"""A package that greets."""\n',
            "hello/greeting.py": _GREETING,
            "tests/__init__.py": "",
            "tests/test_greeting.py": _TEST,
        },
    ),
    ("Expect a greeting for the world", {"tests/test_greeting.py": _TEST + _FAILING_TEST}),
)


def create_demo_repository(path: Path) -> None:
    """Make the repository at ``path``, whole or not at all; the same commits every time.

    Raises:
        FileExistsError: something is there already.
        GitError, OSError: it could not be made.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".demo-", dir=path.parent) as scratch:
        made = Path(scratch) / "hello"
        made.mkdir()
        _git(made, 0, "init", "--quiet", "--template=", "--object-format=sha1", "--initial-branch=main")
        for number, (message, files) in enumerate(_COMMITS):
            for name, text in files.items():
                (made / name).parent.mkdir(exist_ok=True)
                (made / name).write_text(text, "utf-8")
            _git(made, number, "add", "--all")
            _git(made, number, "commit", "--quiet", "--message", message)
        shutil.move(made, path)


def _git(cwd: Path, number: int, *arguments: str) -> None:
    """Git without the person's configuration, at a fixed time: the commits are the same everywhere."""
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _AUTHOR.items()}
    when = f"2026-01-01T12:{number:02}:00+00:00"
    fixed = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    fixed |= {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    try:
        subprocess.run(
            ["git", "-c", "gc.auto=0", "-c", "maintenance.auto=false", *arguments],
            cwd=cwd,
            env=clean_environment() | who | fixed,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=60,
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise GitError(f"git {arguments[0]} took longer than 60 s") from error
    except subprocess.CalledProcessError as error:
        raise GitError(
            f"git {arguments[0]} failed: {error.stderr.decode('utf-8', 'replace').strip()[-500:]}"
        ) from error


_AUTHOR = {"NAME": "Mogplex Demo", "EMAIL": "demo@localhost"}
