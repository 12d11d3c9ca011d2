"""The queue of runs: at most so many at once, the others wait their turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import structlog
from anyio.abc import TaskGroup
from sqlalchemy.exc import DBAPIError

from mogplex_mcp.local import runs, workspace
from mogplex_mcp.local.child import kill_processes_in
from mogplex_mcp.local.database import Database
from mogplex_mcp.local.execution import Execution, Stop
from mogplex_mcp.local.news import News
from mogplex_mcp.local.runs import Run
from mogplex_mcp.local.timestamps import now_ms
from mogplex_mcp.settings import Settings

log = structlog.get_logger()

_UNSTICK = 3.4
"""Seconds into a shutdown when a git that is still busy with a worktree is killed."""
_GIVE_UP = 4.2
"""Seconds into a shutdown when what is left is left to the next start, which reclaims it."""
_RETRY = 1.0
NEVER_STARTED = "The server was stopped before the run started."


class Runner:
    """Executes the runs of one data directory. Only whoever holds the directory's lock may have one."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self.news = News()
        self._closing = anyio.Event()
        self._db = db
        self._settings = settings
        self._executions: dict[str, Execution] = {}
        self._wake = anyio.Event()
        self._empty = anyio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Executes runs until the block ends; then ends what is still going, within 5 s."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._dispatch, tasks)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await self._shut_down()
                tasks.cancel_scope.cancel()

    def closing(self) -> bool:
        """Whether no more runs are taken on."""
        return self._closing.is_set()

    def wake(self) -> None:
        """There may be a run to start."""
        self._wake.set()

    async def idle(self) -> bool:
        """Whether no run is waiting or working."""
        return not self._executions and not await self._db.call(self._active)

    async def cancel(self, run_id: str) -> tuple[Run, bool] | None:
        """Asks for a run's end, at once: None for an unknown run, else the run and whether it had ended before."""
        outcome = await self._db.call(self._request_cancel, run_id)
        self.news.tell(run_id)
        execution = self._executions.get(run_id)
        # None between claim and registration: the execution finds the request in the database.
        if execution is not None and outcome is not None and not outcome[1]:
            execution.stop(Stop.CANCEL)
        return outcome

    async def _dispatch(self, tasks: TaskGroup) -> None:
        self.wake()
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            try:
                while not self.closing() and len(self._executions) < self._settings.local_max_concurrent_runs:
                    run = await self._db.call(self._claim)
                    if run is None:
                        break
                    execution = self._executions[run.id] = Execution(self._db, self._settings, run, self.news)
                    if self.closing():
                        execution.stop(Stop.SHUTDOWN)
                    tasks.start_soon(self._execute, execution)
            except DBAPIError as error:
                log.error("queue_unreadable", reason=str(error.orig))  # noqa: TRY400 - a full disk needs no stack
                await anyio.sleep(_RETRY)
                self.wake()

    async def _execute(self, execution: Execution) -> None:
        run = execution.run
        log.info("run_started", run_id=run.id, harness=run.harness)
        try:
            ended = await execution.perform()
            log.info("run_ended", run_id=run.id, status=ended.status)
        except DBAPIError as error:
            # A full disk, say. The run's row stays unfinished until the next start reclaims it.
            log.error("run_end_not_recorded", run_id=run.id, reason=str(error.orig))  # noqa: TRY400
        finally:
            del self._executions[run.id]
            self.wake()
            self.news.tell(run.id)
            if not self._executions:
                self._empty.set()

    async def _shut_down(self) -> None:
        self._closing.set()
        with anyio.move_on_after(_GIVE_UP):
            for execution in self._executions.values():
                execution.stop(Stop.SHUTDOWN)
            await self._db.call(self._fail_waiting)
            with anyio.move_on_after(_UNSTICK):
                await self._executions_ended()
            if self._executions:
                await anyio.to_thread.run_sync(kill_processes_in, workspace.worktrees_of(self._settings.data_dir))
                await self._executions_ended()
        self.news.close()
        if self._executions:
            log.warning("runs_left_to_the_next_start", count=len(self._executions))

    async def _executions_ended(self) -> None:
        while self._executions:
            self._empty = anyio.Event()
            await self._empty.wait()

    def _claim(self) -> Run | None:
        with self._db.write() as connection:
            return runs.claim_next(connection, now_ms())

    def _active(self) -> list[Run]:
        with self._db.read() as connection:
            return runs.active(connection)

    def _request_cancel(self, run_id: str) -> tuple[Run, bool] | None:
        with self._db.write() as connection:
            return runs.request_cancel(connection, run_id, now_ms())

    def _fail_waiting(self) -> None:
        with self._db.write() as connection:
            for run in runs.active(connection):
                if run.claimed_at is None:
                    runs.finish(connection, run, status="failed", error=NEVER_STARTED, payload={}, now=now_ms())
