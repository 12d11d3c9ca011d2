"""One harness as a child process: its own session, its prompt on stdin, its lines, and its end with all it started."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

import psutil

from mogplex_mcp.local.processes import (
    ProcessId,
    descendants,
    group_members,
    kill_group,
    kill_orphan,
    kill_processes_in,
    still_alive,
)

__all__ = ["MAX_LINE", "MAX_STDERR", "Child", "child_environment", "kill_orphan", "kill_processes_in"]

MAX_LINE = 1024 * 1024
"""Bytes of one line; what is longer is cut."""
MAX_STDERR = 64 * 1024
_MAX_WAITING_BYTES = 4 * MAX_LINE
_LEFTOVER_GRACE = 0.5
_DRAIN_TIMEOUT = 1.0
_KILL_TIMEOUT = 5.0
_POLL = 0.02

_DROPPED_PREFIXES = ("MOGPLEX_",)
_DROPPED = {
    # git would take them for the child's own repository.
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_PREFIX", "GIT_CONFIG"),
    # This program's own Python, not the repository's.
    *("VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "PYTHONHOME", "__PYVENV_LAUNCHER__"),
    # Set where this program was started by a coding agent: the child is no part of that session.
    *("CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT", "CLAUDE_CODE_SESSION_ID"),
    *("CODEX_SANDBOX", "CODEX_SANDBOX_NETWORK_DISABLED", "CODEX_THREAD_ID"),
}


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment as a harness gets it: nothing of ours, nothing that describes our own process."""
    kept = {k: v for k, v in os.environ.items() if k not in _DROPPED and not k.startswith(_DROPPED_PREFIXES)}
    return kept | dict(extra or {})


class _Output(asyncio.SubprocessProtocol):
    """What the child's pipes bring, within bounds: lines of stdout, the tail of stderr, and the two ends.

    The low-level protocol, because `asyncio.subprocess.Process.wait` waits in some Python versions until the pipes are
    closed too, and a server that the agent left running holds them open.
    """

    def __init__(self) -> None:
        self.exited = asyncio.Event()
        self.closed = asyncio.Event()
        self.news = asyncio.Event()
        self.lines: deque[bytes] = deque()
        self.stderr = bytearray()
        self._partial = bytearray()
        self._waiting = 0
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self.stderr += data
            del self.stderr[:-MAX_STDERR]
            return
        first, *rest = data.split(b"\n")
        self._extend(first)
        for part in rest:
            self._end_line()
            self._extend(part)
        if self._waiting > _MAX_WAITING_BYTES and not self.exited.is_set():
            self._stdout().pause_reading()

    def _extend(self, part: bytes) -> None:
        self._partial += part[: MAX_LINE - len(self._partial)]

    def _end_line(self) -> None:
        # After its end only what the pipe still held can come; more than this comes from a process that got away.
        if self._waiting <= 2 * _MAX_WAITING_BYTES:
            self.lines.append(bytes(self._partial))
            self._waiting += len(self._partial) + 64
        self._partial.clear()
        self.news.set()

    def take(self) -> bytes:
        line = self.lines.popleft()
        self._waiting -= len(line) + 64
        if self._waiting < _MAX_WAITING_BYTES / 2:
            self.resume()
        return line

    def resume(self) -> None:
        if not self.closed.is_set():
            self._stdout().resume_reading()

    def _stdout(self) -> asyncio.ReadTransport:
        if self._transport is None:
            raise RuntimeError("the child has not started")
        return cast("asyncio.ReadTransport", self._transport.get_pipe_transport(1))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        # A child that ended without reading its stdin is no error of ours; stderr's end tells nothing.
        if fd == 1:
            self.end()

    def end(self) -> None:
        """No more lines: the pipe is closed, or nobody who could close it is left."""
        if not self.closed.is_set():
            if self._partial:
                self._end_line()
            self.closed.set()
            self.news.set()

    def process_exited(self) -> None:
        self.exited.set()


class Child:
    """A running harness. `lines` is read to its end, then `wait` tells the exit code; `terminate` ends it early.

    Whatever way it ends, nothing of its process group is left afterwards.
    """

    def __init__(self, transport: asyncio.SubprocessTransport, output: _Output) -> None:
        self._transport = transport
        self._output = output
        self.pid = transport.get_pid()
        self.pgid = self.pid
        self._terminating = 0
        try:
            self.create_time = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            self.create_time = 0.0  # It has ended already, so there is nothing to be found again.
        self._end = asyncio.get_running_loop().create_task(self._supervise())

    @classmethod
    async def start(
        cls, command: Sequence[str], *, cwd: Path, prompt: str, env: Mapping[str, str] | None = None
    ) -> Child:
        """Start ``command`` in a session of its own.

        Args:
            command: program and arguments; never the prompt, which any user of the machine could read there.
            cwd: where it runs.
            prompt: written to its stdin, which is then closed. A child that does not read it holds nothing up.
            env: variables added to `child_environment`.

        Raises:
            OSError: it cannot be started.
        """
        transport, output = await asyncio.get_running_loop().subprocess_exec(
            _Output, *command, cwd=cwd, env=child_environment(env), start_new_session=True
        )
        child = cls(transport, output)
        stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
        stdin.write(prompt.encode("utf-8", "replace"))
        stdin.close()
        return child

    async def lines(self) -> AsyncIterator[str]:
        """The lines of stdout without their ends, cut at 1 MiB, until it is closed or the child is over."""
        output = self._output
        while True:
            while output.lines:
                yield output.take().removesuffix(b"\r").decode("utf-8", "replace")
            if output.closed.is_set():
                return
            output.news.clear()
            await output.news.wait()

    async def wait(self) -> int:
        """The exit code (negative: the signal), once the child and its whole group are gone."""
        await asyncio.shield(self._end)
        return self._code()

    def _code(self) -> int:
        code = self._transport.get_returncode()
        if code is None:
            raise RuntimeError("the child has not ended")
        return code

    def stderr_tail(self) -> str:
        """The last 64 KiB of stderr so far."""
        return self._output.stderr.decode("utf-8", "replace")

    async def terminate(self, grace: float) -> None:
        """End the child and all it started: SIGTERM, after ``grace`` seconds SIGKILL. Returns when all are gone.

        Processes that left the group are found as long as they hang below the child.
        """
        if self._end.done():
            return
        self._terminating += 1
        try:
            escaped = await asyncio.to_thread(descendants, self.pid)
            await self._end_group(escaped, grace)
        finally:
            self._terminating -= 1
        await self.wait()

    async def _supervise(self) -> None:
        output = self._output
        await output.exited.wait()
        # Whoever terminates grants the rest of the group its grace.
        while self._terminating:  # noqa: ASYNC110 - looked at once in a life, for seconds
            await asyncio.sleep(_POLL)
        await self._end_group([], _LEFTOVER_GRACE)
        output.resume()
        with suppress(TimeoutError):
            await asyncio.wait_for(output.closed.wait(), _DRAIN_TIMEOUT)
        output.end()
        self._transport.close()

    async def _end_group(self, escaped: list[ProcessId], grace: float) -> None:
        loop = asyncio.get_running_loop()
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILL_TIMEOUT)):
            until = loop.time() + seconds
            if not self._alive(escaped):
                return
            kill_group(self.pgid, escaped, number)
            while self._alive(escaped) and loop.time() < until:
                await asyncio.sleep(_POLL)
                if number == signal.SIGKILL:
                    kill_group(self.pgid, escaped, number)

    def _alive(self, escaped: list[ProcessId]) -> bool:
        return not self._output.exited.is_set() or bool(group_members(self.pgid)) or any(map(still_alive, escaped))
