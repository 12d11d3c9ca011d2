"""``python -m bench.shim``: measure this project's shim beside other people's, signed in, on one server in one run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import IO

import click
import psutil

from bench.processes import Running, clean_environment, running, script
from bench.shim_peers import OWN, ROOT, Shim, installed
from bench.shim_server import TOKEN

ANSWER_TIMEOUT = 60.0
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
READY_SHARE = 0.9
"""Of the best peer's time from start to first answer that this project's may take."""


@dataclass(frozen=True)
class Sample:
    """One start of one shim: seconds to the first answer, seconds of each call, memory afterwards."""

    ready: float
    calls: list[float]
    resident_mb: float


@dataclass(frozen=True)
class Row:
    """Medians over all starts of one shim."""

    name: str
    ready_ms: float
    call_ms: float
    resident_mb: float


@click.command()
@click.option("--rounds", type=click.IntRange(1, 200), default=15, show_default=True, help="Starts of each shim.")
@click.option("--calls", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Calls after each start.")
@click.option("--peers/--no-peers", default=True, show_default=True, help="Install and measure other people's too.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report to this file.")
@click.option("--strict", is_flag=True, help="Fail unless this project's is first in everything.")
def main(*, rounds: int, calls: int, peers: bool, file: Path | None, strict: bool) -> None:
    """Measure start to first answer, one call after the other, and resident memory."""
    shims, failed = installed(ROOT / "build" / "shims", peers=peers)
    for name, reason in failed.items():
        click.echo(f"{name} is not measured, it could not be installed: {reason}", err=True)
    rows = _measure(shims, rounds, calls)
    for line in _table(rows):
        click.echo(line)
    if file is not None:
        machine = {"cores": psutil.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
        file.write_text(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
    if strict and len(rows) > 1 and (lost := _lost(rows)):
        raise click.ClickException(f"not first: {', '.join(lost)}")


def _measure(shims: list[Shim], rounds: int, calls: int) -> list[Row]:
    samples: dict[str, list[Sample]] = {shim.name: [] for shim in shims}
    with tempfile.TemporaryDirectory(prefix="bench-shim-") as name:
        directory = Path(name)
        # The one credential, where a sign-in would have put it: this project's reads it at every start.
        home = directory / "home"
        home.mkdir(mode=0o700)
        (home / "auth.json").touch(mode=0o600)
        (home / "auth.json").write_text(json.dumps({"mogplex": {"token": TOKEN}}))
        with running(script("bench.shim_server"), directory / "server.log") as server:
            for number in range(rounds + 1):
                for shim in shims:
                    sample = _sample(shim, server, home, calls)
                    if number:  # the first round only fills the caches
                        samples[shim.name].append(sample)
    return [_row(name, found) for name, found in samples.items()]


def _sample(shim: Shim, server: Running, home: Path, calls: int) -> Sample:
    url = f"http://127.0.0.1:{server.port}/mcp"
    started = time.perf_counter()
    with _started(shim.started(url, TOKEN), home) as host:
        _ask(host, 0, "initialize", INITIALIZE)
        ready = time.perf_counter() - started
        _write(host, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        _ask(host, 1, "tools/list", {})
        durations = []
        for number in range(2, calls + 2):
            before = time.perf_counter()
            _ask(host, number, "tools/call", {"name": "bench", "arguments": {}})
            durations.append(time.perf_counter() - before)
        tree = psutil.Process(host.process.pid)
        resident = sum(each.memory_info().rss for each in (tree, *tree.children(recursive=True))) / 2**20
    return Sample(ready, durations, resident)


@dataclass(frozen=True)
class Started:
    """A shim that runs, and its two pipes."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]


@contextmanager
def _started(command: list[str], home: Path) -> Iterator[Started]:
    environment = clean_environment({"MOGPLEX_HOME": str(home)}) | {"HOME": str(home)}
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a name, not a path
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=nothing, env=environment
        )
    try:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("both were asked for")
        yield Started(process, process.stdin, process.stdout)
    finally:
        process.terminate()
        process.communicate()


def _ask(host: Started, number: int, method: str, params: object) -> None:
    """Send a request and await its result; other messages are passed over."""
    _write(host, {"jsonrpc": "2.0", "id": number, "method": method, "params": params})
    for line in host.stdout:
        message = json.loads(line)
        if message.get("id") == number:
            if "result" not in message or message["result"].get("isError"):
                raise click.ClickException(f"{host.process.args!r} answered {message}")
            return
    raise click.ClickException(f"{host.process.args!r} ended without an answer to {method}")


def _write(host: Started, message: object) -> None:
    host.stdin.write(json.dumps(message).encode() + b"\n")
    host.stdin.flush()


def _row(name: str, samples: list[Sample]) -> Row:
    return Row(
        name,
        median(sample.ready for sample in samples) * 1000,
        median(each for sample in samples for each in sample.calls) * 1000,
        median(sample.resident_mb for sample in samples),
    )


def _table(rows: list[Row]) -> Iterator[str]:
    yield f"{'':24}{'ready ms':>10}{'call ms':>10}{'MiB':>8}"
    for row in rows:
        yield f"{row.name:24}{row.ready_ms:>10.1f}{row.call_ms:>10.2f}{row.resident_mb:>8.1f}"


def _lost(rows: list[Row]) -> list[str]:
    """In what this project's shim is not first."""
    (own,) = (row for row in rows if row.name == OWN)
    others = [row for row in rows if row is not own]
    lost = []
    if own.ready_ms > READY_SHARE * min(row.ready_ms for row in others):
        lost.append("start to first answer")
    if own.call_ms > min(row.call_ms for row in others):
        lost.append("one call")
    if own.resident_mb > min(row.resident_mb for row in others):
        lost.append("memory")
    return lost


if __name__ == "__main__":
    main()
