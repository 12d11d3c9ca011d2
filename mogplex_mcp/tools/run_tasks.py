"""Tasks that stand for runs: what a waiting start is answered with, where the client takes tasks.

A task is a name in the store; its state is its run's, live where the run is watched in this process, else as Mogplex
gives it. So a task is there after a restart, and in every process that shares the store.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import mcp_types as types
import structlog

from mogplex_mcp.api import MogplexError, Run, StartedRun
from mogplex_mcp.runs.watched_run import FINAL_CODES
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tasks import StoredTask, get_task, put_task
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.changes import TaskChanged
from mogplex_mcp.tools.errors import api_error_result
from mogplex_mcp.tools.following import follow
from mogplex_mcp.tools.results import result_of
from mogplex_mcp.tools.seen_runs import seen
from mogplex_mcp.tools.tasks import Status, Task, UnknownTaskError

READING_SECONDS = 10.0
"""Within which the events of a run that has ended are read; else the task is shown as working once more."""
TURN_SECONDS = 10.0
"""How long reading a run waits for its turn among the polls; then the task is shown as working."""
RETRY_SECONDS = 10.0
"""Before a run that could not be followed is tried again, at the least."""
ASKED_SECONDS = 120.0
"""How long ago a task may have been asked for that still is."""
MAX_ACCOUNTS = 10_000
LISTENED_PER_ACCOUNT = 500
"""Tasks that an account's clients listen for together: this process follows a few thousand runs, for everybody."""
MAX_SHOWN_ID = 200

_log = structlog.stdlib.get_logger(__name__)


class RunTasks:
    """One per process; used on its event loop.

    Args:
        store: Where tasks are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked = _Asked()
        self._listened: Counter[str] = Counter()

    async def start(self, call: Call, run: StartedRun) -> Task:
        """Make a task of a run that was started. Once this returns, the task is kept.

        Args:
            call: Who started it.
            run: As the start answered.

        Raises:
            StoreError: There is no room for another one.
            SQLAlchemyError: The database cannot keep it now.
        """
        account = call.caller.account
        kept = await self._store.db.call(put_task, self._store, account, run.run_id, replayed=run.replayed is True)
        self._asked.note(account, kept.id)
        return self._working(call, kept, run)

    async def get(self, call: Call, task_id: str) -> Task:
        """``tasks/get``.

        Raises:
            UnknownTaskError: There is no such task of this account.
            MogplexError: Its run cannot be read now.
        """
        kept = await self._find(call, task_id)
        self._asked.note(call.caller.account, task_id)
        return await self._state(replace(call, report=_say_nothing), kept)

    async def update(self, call: Call, task_id: str, responses: Mapping[str, Any]) -> None:  # noqa: ARG002
        """``tasks/update``. A run asks nothing, so no key waits for an answer.

        Raises:
            UnknownTaskError: There is no such task of this account.
        """
        await self._find(call, task_id)

    async def cancel(self, call: Call, task_id: str) -> None:
        """``tasks/cancel``: ask the run to stop.

        Raises:
            UnknownTaskError: There is no such task of this account.
            MogplexError: Mogplex cannot be asked now.
        """
        kept = await self._find(call, task_id)
        try:
            result = await call.api.cancel_run(kept.run_id)
        except MogplexError as error:
            if error.code == "NOT_FOUND":
                return  # what is gone has ended
            raise
        call.watchers.nudge(kept.account, kept.run_id)
        await seen(call, result.run)

    @asynccontextmanager
    async def watching(self, call: Call, task_ids: Sequence[str]) -> AsyncIterator[Sequence[str]]:
        """Watch the runs of these tasks, and tell of the tasks: their state now, and every other until they end.

        Args:
            call: Who listens.
            task_ids: What the client named.

        Returns:
            Those that the caller may see, as many as there is room for.
        """
        account = call.caller.account
        mine = [await self._kept(call, task_id) for task_id in dict.fromkeys(task_ids)]
        room = LISTENED_PER_ACCOUNT - self._listened[account]
        found = [kept for kept in mine if kept is not None][: max(0, room)]
        self._listened[account] += len(found)
        quiet = replace(call, report=_say_nothing)
        watching = [asyncio.create_task(self._watch(quiet, kept)) for kept in found]
        try:
            yield [kept.id for kept in found]
        finally:
            self._listened[account] -= len(found)
            if not self._listened[account]:
                del self._listened[account]
            for each in watching:
                each.cancel()
            if watching:
                await asyncio.wait(watching)

    async def _watch(self, call: Call, kept: StoredTask) -> None:
        """Tell of a task until it has ended."""
        while True:
            try:
                await self._tell_while_working(call, kept)
                task = await self._state(call, kept)
            except MogplexError as error:
                if error.code in FINAL_CODES:
                    _log.warning("task_not_watched", code=error.code)
                    return
                await asyncio.sleep(max(RETRY_SECONDS, error.retry_after or 0.0))
                continue
            call.changes.tell(kept.account, TaskChanged(task.detailed()))
            if task.status != "working":
                return
            # Its last events are not all there, or Mogplex says now one thing, now another.
            await asyncio.sleep(RETRY_SECONDS)

    async def _tell_while_working(self, call: Call, kept: StoredTask) -> None:
        try:
            credential = call.caller.credential
            async with call.watchers.follow(kept.account, credential, kept.run_id, kind="nudge") as follower:
                while not follower.run.terminal:
                    task = self._working(call, kept, follower.run)
                    call.changes.tell(kept.account, TaskChanged(task.detailed()))
                    await follower.left(follower.run.status)
                await follower.finished()
        except MogplexError as error:
            if error.code != "NOT_FOUND":
                raise

    async def _find(self, call: Call, task_id: str) -> StoredTask:
        kept = await self._kept(call, task_id)
        if kept is None:
            raise UnknownTaskError
        return kept

    async def _kept(self, call: Call, task_id: str) -> StoredTask | None:
        return await self._store.db.call(get_task, self._store, call.caller.account, task_id)

    async def _state(self, call: Call, kept: StoredTask) -> Task:
        """The task as its run is now."""
        try:
            run = await self._run(call, kept)
            if run is None or not run.terminal:
                return self._working(call, kept, run)
            if run.status == "cancelled":
                return self._task(call, kept, run, "cancelled", None)
            result = await _result(call, kept)
        except MogplexError as error:
            if error.code != "NOT_FOUND":
                raise
            # The call would have ended with this too.
            return self._task(call, kept, None, "completed", api_error_result(error))
        return self._working(call, kept, run) if result is None else self._task(call, kept, run, "completed", result)

    async def _run(self, call: Call, kept: StoredTask) -> Run | None:
        """The run; None when it is not its turn to be read."""
        live = call.watchers.snapshot(kept.account, kept.run_id)
        run = live.run if live is not None and live.trouble is None else await _read(call, kept.run_id)
        if run is not None:
            await seen(call, run)
        return run

    def _working(self, call: Call, kept: StoredTask, run: Run | None) -> Task:
        return self._task(call, kept, run, "working", None)

    def _task(
        self, call: Call, kept: StoredTask, run: Run | None, status: Status, result: types.CallToolResult | None
    ) -> Task:
        created = datetime.fromtimestamp(kept.created_at / 1000, UTC)
        if status != "working":
            self._asked.forget(kept.account, kept.id)
        polled = self._asked.count(kept.account) + call.watchers.count(kept.account)
        return Task(
            task_id=kept.id,
            status=status,
            created_at=created,
            updated_at=max(created, _moment(run.updated_at if run is not None else None) or created),
            ttl_ms=kept.expires_at - kept.created_at,
            poll_interval_ms=math.ceil(call.api.poll_interval(polled) * 1000),
            message=_in_words(kept.run_id, run, status),
            payload=result.model_dump(by_alias=True, mode="json", exclude_none=True) if result is not None else None,
        )


async def _read(call: Call, run_id: str) -> Run | None:
    """Read a run within what polls may take: whoever asks for tasks leaves room for calls. None: they have taken it."""
    try:
        async with asyncio.timeout(TURN_SECONDS):
            return await call.api.polling().get_run(run_id)
    except TimeoutError:
        return None
    except MogplexError as error:
        if error.code in FINAL_CODES:
            raise
    # A call bears what passes soon.
    return await call.api.get_run(run_id)


async def _result(call: Call, kept: StoredTask) -> types.CallToolResult | None:
    """What the waiting call would have answered; None when the run's events are not all there yet."""
    followed = await follow(call, kept.run_id, since=None, until=None, seconds=READING_SECONDS)
    if not followed["ended"] and not followed["eventsTruncated"]:
        return None
    return result_of({**followed, "run": {**followed["run"], "replayed": kept.replayed}})


class _Asked:
    """Which tasks are being asked for: clients that poll share what their account can afford."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, dict[str, float]] = OrderedDict()

    def note(self, account: str, task_id: str) -> None:
        """A client asks for this task."""
        now = time.monotonic()
        asked = self._accounts.pop(account, {})
        recent = {name: at for name, at in asked.items() if at > now - ASKED_SECONDS}
        self._accounts[account] = {**recent, task_id: now}
        if len(self._accounts) > MAX_ACCOUNTS:
            self._accounts.popitem(last=False)

    def forget(self, account: str, task_id: str) -> None:
        """It has ended: nobody asks again."""
        self._accounts.get(account, {}).pop(task_id, None)

    def count(self, account: str) -> int:
        """How many the account's clients ask for, at least one."""
        return max(1, len(self._accounts.get(account, {})))


def _in_words(run_id: str, run: Run | None, status: Status) -> str:
    shown = run_id[:MAX_SHOWN_ID]
    if run is None and status == "working":
        return f"The run {shown} had not ended when it was read last; it is read again soon."
    if run is None:
        return f"Mogplex does not know the run {shown} any more."
    if run.terminal:
        return f"The run {shown} has ended: {run.status}."
    return f"The run {shown} is {run.status[:MAX_SHOWN_ID]}. mogplex_follow_run shows what it does."


def _moment(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)


async def _say_nothing(progress: int, message: str) -> None:
    """No progress is told of a task (specification, "Task Status Notifications")."""
