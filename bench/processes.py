"""Starts the processes of a run, each as its user would, and learns the address it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

START_TIMEOUT: Final = 30.0
"""Seconds within which a process must print its address."""

STOP_TIMEOUT: Final = 15.0
"""Seconds within which a process must end when it is asked to."""

COMMAND: Final = (sys.executable, str(Path(sys.executable).with_name("mogplex-mcp")))
"""This server's command: the installed script, run by the interpreter it is installed for."""

_ADDRESS = re.compile(rb"on http://127\.0\.0\.1:(\d+)/")


@dataclass(frozen=True)
class Running:
    """A process that has printed its address.

    Attributes:
        port: Its port on 127.0.0.1.
        pid: Its process id.
        log: Where its output goes.
    """

    port: int
    pid: int
    log: Path

    def resident_mb(self) -> float:
        """Memory it and its children hold, in MiB."""
        process = psutil.Process(self.pid)
        return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / 2**20


def script(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of the benchmark."""
    return [sys.executable, "-m", module, *arguments]


def clean_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these ``MOGPLEX_*`` variables and no others."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MOGPLEX_")} | dict(variables)


@contextmanager
def running(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Run the command until the block is left; then end it with SIGINT.

    Its output goes to a file, as with a user who redirects it: a pipe that nobody empties would stop it.

    Args:
        command: What to run.
        log: Where its output goes.
        environment: Its ``MOGPLEX_*`` variables.

    Raises:
        RuntimeError: It ended, or printed no address in ``START_TIMEOUT`` seconds.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=clean_environment(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Running(_printed_port(process, log), process.pid, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@contextmanager
def running_server(upstream: Running, directory: Path, *, python: Sequence[str] = ()) -> Iterator[Running]:
    """Run this server over the upstream, as ``mogplex-mcp serve`` runs it.

    Args:
        upstream: A running ``bench.upstream``.
        directory: An empty directory for its state and its log.
        python: Options of the interpreter, before the module.
    """
    directory.mkdir()
    environment = {
        "MOGPLEX_HOME": str(directory),
        "MOGPLEX_URL": f"http://127.0.0.1:{upstream.port}",
        "MOGPLEX_DEV": "1",
        # Counted like any other, but never reached.
        "MOGPLEX_API_RATE_LIMIT": "1000000000",
    }
    interpreter, command = COMMAND
    with running(
        [interpreter, *python, command, "serve", "--port", "0"], directory / "server.log", environment
    ) as server:
        yield server


def _printed_port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        found = _ADDRESS.search(log.read_bytes())
        if found:
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(0.002)
    raise RuntimeError(f"{process.args!r} printed no address:\n{log.read_text(errors='replace')[-4000:]}")
