"""The shim as a host runs it: a process with two pipes."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Json = dict[str, Any]

ANSWER_TIMEOUT = 20.0
EXIT_LIMIT = 2.0
"""Seconds in which the shim must have ended."""

MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
"""What every request of 2026-07-28 carries in ``_meta``."""

INITIALIZE: Json = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"roots": {}},
    "clientInfo": {"name": "tests", "version": "1"},
}

COMMAND = (sys.executable, "-m", "mogplex_mcp_shim")


class ShimProcess:
    """A running shim; its stdout is read by a thread, so that nothing a test does not await is lost."""

    def __init__(self, process: subprocess.Popen[bytes], errors: Path, *, reads: bool = True) -> None:
        self.process = process
        self._errors = errors
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self.seen: list[Json] = []
        self._next_id = 0
        if reads:
            self.start_reading()

    def start_reading(self) -> None:
        """Read stdout from now on."""
        threading.Thread(target=self._read, daemon=True).start()

    def send_line(self, line: bytes) -> None:
        """Write a line as it is."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def send(self, message: object) -> None:
        """Write a message."""
        self.send_line(json.dumps(message).encode())

    def request(self, method: str, params: Json | None = None, *, id: object = None) -> object:  # noqa: A002
        """Send a request; gives its id."""
        if id is None:
            self._next_id += 1
            id = self._next_id  # noqa: A001
        self.send({"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}})
        return id

    def modern(self, method: str, params: Json | None = None, *, id: object = None) -> object:  # noqa: A002
        """Send a request of 2026-07-28; gives its id."""
        return self.request(method, {**(params or {}), "_meta": MODERN}, id=id)

    def notify(self, method: str, params: Json | None = None) -> None:
        """Send a notification."""
        self.send({"jsonrpc": "2.0", "method": method, "params": params or {}})

    def receive(self, timeout: float = ANSWER_TIMEOUT) -> Json:
        """The next message."""
        line = self._lines.get(timeout=timeout)
        assert line is not None, f"the shim has ended: {self.errors()}"
        message = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        assert line.endswith(b"\n")
        self.seen.append(message)
        assert isinstance(message, dict)
        return message

    def answer(self, request_id: object, timeout: float = ANSWER_TIMEOUT) -> Json:
        """The answer to a request; other messages before it are passed over."""
        deadline = time.monotonic() + timeout
        while True:
            message = self.receive(deadline - time.monotonic())
            if message.get("id") == request_id and "method" not in message:
                return message

    def receive_only(self, request_id: object) -> bool:
        """Whether the next message is the answer to this request."""
        return bool(self.receive()["id"] == request_id)

    def call(self, method: str, params: Json | None = None) -> Json:
        """Send a request and await its result."""
        answer = self.answer(self.request(method, params))
        assert "result" in answer, answer
        return answer["result"]  # type: ignore[no-any-return]

    def initialize(self) -> None:
        """Begin a session of 2025-11-25."""
        assert self.call("initialize", INITIALIZE)["protocolVersion"] == "2025-11-25"
        self.notify("notifications/initialized")

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing more comes within this time."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            return True
        return line is None

    def errors(self) -> str:
        """What it has written to stderr."""
        return self._errors.read_text()

    def close(self) -> float:
        """Close stdin; gives the seconds until it has ended."""
        assert self.process.stdin is not None
        started = time.monotonic()
        self.process.stdin.close()
        self.process.wait(10)
        return time.monotonic() - started

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)


def shim_environment(home: Path, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without any credential but those given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MOGPLEX_", "PYTHON"))}
    source = Path(__file__).parents[3] / "shim"
    return {**clean, "MOGPLEX_HOME": str(home), "PYTHONPATH": str(source), **(variables or {})}


@contextmanager
def running_shim(
    home: Path,
    *arguments: str,
    variables: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
    reads: bool = True,
) -> Iterator[ShimProcess]:
    """Run the shim until the block is left.

    Args:
        home: Its ``MOGPLEX_HOME``.
        arguments: Its arguments.
        variables: Its environment, beyond that.
        command: What is run.
        reads: Whether stdout is read from the start.
    """
    home.mkdir(exist_ok=True)
    errors = home / "stderr.txt"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=shim_environment(home, variables),
        )
    try:
        yield ShimProcess(process, errors, reads=reads)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
