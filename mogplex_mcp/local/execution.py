"""One run from its worktree to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import anyio
import structlog

from mogplex_mcp.local import repos, runs, workspace
from mogplex_mcp.local.child import Child
from mogplex_mcp.local.database import Database
from mogplex_mcp.local.events import NewEvent
from mogplex_mcp.local.git import GitError
from mogplex_mcp.local.harness import HarnessEvent, Reader, catalogue
from mogplex_mcp.local.news import News
from mogplex_mcp.local.run_log import RunLog
from mogplex_mcp.local.runs import Run
from mogplex_mcp.local.timestamps import now_ms
from mogplex_mcp.local.workspace import Workspace
from mogplex_mcp.settings import Settings

log = structlog.get_logger()

SHUTDOWN_GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL when the server stops."""


class Stop(Enum):
    """Why a run is ended from outside."""

    CANCEL = "cancelled"
    TIMEOUT = "timeout"
    STALL = "stall"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Ending:
    status: str
    error: str | None = None
    payload: Mapping[str, object] = field(default_factory=dict)


class Execution:
    """Runs a claimed run. `stop` may be called at any time, from the event loop; the first call counts."""

    def __init__(self, db: Database, settings: Settings, run: Run, news: News) -> None:
        self.run = run
        self._news = news
        self._db = db
        self._settings = settings
        self._log = RunLog(db, run, news)
        self._space: Workspace | None = None
        self._stop: Stop | None = None
        self._attention = asyncio.Event()
        self._noise_since: float | None = None
        self._noise: str | None = None

    def stop(self, reason: Stop) -> None:
        if self._stop is None:
            self._stop = reason
            self._attention.set()

    async def perform(self) -> Run:
        """Does the run's work and records its end. Raises only when the end cannot be recorded."""
        try:
            ending = await self._attempt()
        except (GitError, OSError, ValueError) as error:
            ending = Ending("failed", str(error))
        except Exception:
            # A defect of ours: the run ends, its log says why, and the other runs go on.
            log.exception("run_broken", run_id=self.run.id)
            ending = Ending("failed", "The server could not go on with this run; its log says why.")
        payload = dict(ending.payload)
        if (space := self._space) is not None:
            remains = await self._db.call(workspace.clear, space.repository, space.worktree, self.run, space.base_sha)
            payload |= remains.payload(self.run.working_branch)
            if remains.problem is not None:
                # Work was lost, so it was no success.
                status = "failed" if ending.status == "success" else ending.status
                ending = Ending(status, f"{ending.error}\n{remains.problem}" if ending.error else remains.problem)
        return await self._db.call(self._finish, ending, payload)

    async def _attempt(self) -> Ending:
        path = await self._db.call(self._repository_path)
        space = self._space = await self._db.call(workspace.prepare, self._settings.data_dir, path, self.run)
        await self._db.call(self._mark_sandbox)
        return await self._work(space) if self._stop is None else self._stopped(self._stop)

    async def _work(self, space: Workspace) -> Ending:
        harness = catalogue(self._settings)[self.run.harness]
        try:
            child = await Child.start(harness.command, cwd=space.directory, prompt=self.run.prompt, env=space.identity)
        except OSError as error:
            raise OSError(f"{harness.name} could not be started: {error.strerror}. {harness.install}") from error
        reader = harness.reader()
        pump = asyncio.create_task(self._pump(child, reader))
        try:
            # Whoever cancelled before this run was known here left word in the database.
            if (await self._db.call(self._mark_streaming, child)).cancel_requested_at is not None:
                self.stop(Stop.CANCEL)
            self._news.tell(self.run.id)
            await self._watch(pump)
            if self._stop is not None:
                await child.terminate(self._grace())
            await pump
            outcome = reader.finish(await child.wait(), child.stderr_tail())
        finally:
            with anyio.CancelScope(shield=True):
                await child.terminate(0)
            pump.cancel()
        if self._stop is not None:
            return self._stopped(self._stop)
        return Ending("success" if outcome.success else "failed", outcome.error, outcome.payload)

    async def _pump(self, child: Child, reader: Reader) -> None:
        async for line in child.lines():
            for event in reader.feed(line):
                self._listen_for_stall(event)
                await self._log.write([NewEvent(event.type, event.message, event.tool_name, event.payload)])

    def _listen_for_stall(self, event: HarnessEvent) -> None:
        if not event.stalled:
            self._noise_since = None
            return
        self._noise = event.message or self._noise
        if self._noise_since is None:
            self._noise_since = asyncio.get_running_loop().time()
            self._attention.set()

    async def _watch(self, pump: asyncio.Task[None]) -> None:
        """Returns when the output has ended or the run is to be stopped."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.local_run_timeout
        while not pump.done() and self._stop is None:
            self._attention.clear()
            since = self._noise_since
            stall = None if since is None else since + self._settings.local_stall_timeout
            now = loop.time()
            if now >= deadline:
                self.stop(Stop.TIMEOUT)
            elif stall is not None and now >= stall:
                self.stop(Stop.STALL)
            else:
                attention = asyncio.create_task(self._attention.wait())
                until = deadline if stall is None else min(deadline, stall)
                await asyncio.wait({pump, attention}, timeout=until - now, return_when=asyncio.FIRST_COMPLETED)
                attention.cancel()

    def _grace(self) -> float:
        return SHUTDOWN_GRACE if self._stop is Stop.SHUTDOWN else self._settings.local_cancel_grace

    def _stopped(self, reason: Stop) -> Ending:
        match reason:
            case Stop.CANCEL:
                return Ending("cancelled")
            case Stop.TIMEOUT:
                seconds = self._settings.local_run_timeout
                return Ending("failed", f"The run took longer than {seconds:g} s and was stopped.")
            case Stop.STALL:
                seconds = self._settings.local_stall_timeout
                return Ending("failed", f"Nothing but error lines for {seconds:g} s. The last one: {self._noise}")
            case Stop.SHUTDOWN:
                return Ending("failed", "The server was stopped before the run ended.")

    def _repository_path(self) -> Path:
        with self._db.read() as connection:
            return repos.path_of(connection, self.run.repo_id)

    def _mark_sandbox(self) -> None:
        with self._db.write() as connection:
            runs.mark_sandbox_running(connection, self.run, f"worktree-{self.run.id}", now_ms())

    def _mark_streaming(self, child: Child) -> Run:
        with self._db.write() as connection:
            runs.mark_streaming(connection, self.run, child.pid, child.create_time, now_ms())
            return runs.get(connection, self.run.id)

    def _finish(self, ending: Ending, payload: dict[str, object]) -> Run:
        with self._db.write() as connection:
            return runs.finish(
                connection, self.run, status=ending.status, error=ending.error, payload=payload, now=now_ms()
            )
