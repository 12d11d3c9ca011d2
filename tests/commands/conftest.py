"""The command in processes of its own, over an embedded Mogplex that all tests here share."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.processes import COMMAND, clean_environment
from tests.api.scripted_upstream import ScriptedUpstream, scripted_upstream
from tests.daemons import end_daemons
from tests.local.hosting import FAKE_CLI

Json = dict[str, Any]
Done = subprocess.CompletedProcess[str]

SECONDS = 60
START = ("run", "--repo", "demo/hello", "--create-branch")
KEPT = ("NO_COLOR", "TERM", "TZ", "CODEX_HOME", "LC_ALL", "LANG")
"""Variables that change what is printed: those of this process do not count."""


@dataclass(frozen=True)
class Mogplex:
    """A Mogplex and a person who types commands. A run's prompt is Python that its agent executes.

    Attributes:
        home: ``MOGPLEX_HOME``.
        variables: What else the person has set.
    """

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a command."""
        inherited = {name: value for name, value in clean_environment({}).items() if name not in KEPT}
        return {**inherited, "TZ": "UTC", "MOGPLEX_HOME": str(self.home), **self.variables, **more}

    def __call__(self, *arguments: str, stdin: str | None = None, **variables: str) -> Done:
        """Type a command and wait for its end."""
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment(**variables),
            input=stdin if stdin is not None else "",
            capture_output=True,
            encoding="utf-8",
            timeout=SECONDS,
            check=False,
        )

    def records(self, *arguments: str) -> list[Json]:
        """What a command that succeeds prints for programs."""
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def start(self, prompt: str) -> str:
        """Start a run; its id."""
        run_id: str = self.records(*START, prompt)[0]["runId"]
        return run_id

    def begin(self, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
        """Type a command that goes on."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = self.environment(**streams.pop("variables", {}))
        return subprocess.Popen([*COMMAND, *arguments], env=environment, encoding="utf-8", **pipes | streams)


@pytest.fixture(scope="session")
def mogplex() -> Iterator[Mogplex]:
    """An embedded Mogplex whose agent executes its prompt, without limits."""
    unlimited = {f"MOGPLEX_LOCAL_RUN_STARTS_PER_{time}": "0" for time in ("MINUTE", "HOUR", "DAY")}
    with tempfile.TemporaryDirectory(prefix="mm-") as name:
        variables = {
            "MOGPLEX_LOCAL_HARNESS": "codex",
            "MOGPLEX_LOCAL_CODEX_COMMAND": shlex.join([sys.executable, "-I", "-S", str(FAKE_CLI)]),
            "MOGPLEX_LOCAL_RATE_LIMIT": "0",
            "MOGPLEX_LOCAL_MAX_CONCURRENT_RUNS": "16",
            **unlimited,
        }
        try:
            yield Mogplex(Path(name), variables)
        finally:
            end_daemons(Path(name))


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """A hosted Mogplex that does as it is told."""
    async with scripted_upstream() as scripted:
        yield scripted


@pytest.fixture
def hosted(upstream: ScriptedUpstream, tmp_path: Path) -> Mogplex:
    """A person who uses it, with a home of their own and no token."""
    return Mogplex(tmp_path / "home", {"MOGPLEX_URL": upstream.url, "MOGPLEX_DEV": "1"})


async def typed(mogplex: Mogplex, *arguments: str, **variables: str) -> Done:
    """Type a command while this process serves."""
    return await asyncio.to_thread(mogplex, *arguments, **variables)


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """Lines of a command that goes on, to the first that matches."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if re.search(pattern, line):
            return text
    raise AssertionError(f"{pattern} never came:\n{text}")


class Terminal:
    """A terminal in which a command runs."""

    def __init__(self, mogplex: Mogplex, *arguments: str, **variables: str) -> None:
        self._master, slave = os.openpty()
        more = {"TERM": "xterm", "COLUMNS": "100", "LINES": "30", **variables}
        streams = {"stdin": slave, "stdout": slave, "stderr": slave, "start_new_session": True}
        self.process = mogplex.begin(*arguments, variables=more, **streams)
        os.close(slave)
        self.screen = ""

    def until(self, pattern: str) -> str:
        """Everything that was drawn, when this has come."""
        while not re.search(pattern, self.screen):
            drawn = self._read()
            assert drawn, f"{pattern} never came:\n{self.screen!r}"
            self.screen += drawn
        return self.screen

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def end(self) -> tuple[int, str]:
        """The exit code, and everything that was drawn."""
        while drawn := self._read():
            self.screen += drawn
        os.close(self._master)
        return self.process.wait(SECONDS), self.screen

    def _read(self) -> str:
        try:
            return os.read(self._master, 65_536).decode("utf-8", "replace")
        except OSError:  # what Linux says when the last process has closed the terminal
            return ""
