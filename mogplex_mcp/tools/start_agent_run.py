"""``mogplex_start_agent_run``: POST /runs (Mogplex documentation, /web/api/runs)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

import anyio
import structlog
from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError

from mogplex_mcp.api import MogplexError, StartedRun, StartRun
from mogplex_mcp.auth.scopes import AGENTS_RUN, TOOLS_READ
from mogplex_mcp.store.errors import StoreError
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.errors import BadArgumentsError
from mogplex_mcp.tools.following import DEFAULT_SECONDS, MAX_SECONDS, follow
from mogplex_mcp.tools.repo_names import repo_id_of
from mogplex_mcp.tools.seen_runs import seen
from mogplex_mcp.tools.tasks import Task
from mogplex_mcp.tools.tool import RUN_SCHEMA, Absent, Arguments, Hints, Identifier, Json, Tool, nullable

_log = structlog.stdlib.get_logger(__name__)

Branch = Annotated[str, Field(min_length=1, max_length=200)]
Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]


class StartAgentRunArguments(Arguments):
    """Arguments of ``mogplex_start_agent_run``."""

    repo_id: Identifier = Field(description="A repository: `id` from mogplex_list_repos, or owner/name.")
    prompt: Annotated[str, Field(min_length=1, max_length=100_000)] = Field(
        description="The whole task, in words. The agent sees the repository and this text, nothing else."
    )
    harness: Literal["codex", "claude-code"] | Absent = Field(None, description="Agent to run; unset, the default one.")
    base_branch: Branch | Absent = Field(None, description="Branch to start from; unset, the default branch.")
    working_branch: Branch | Absent = Field(None, description="Branch to commit to; unset, the base branch.")
    create_branch: bool | Absent = Field(
        None, description="Commit to a new branch: named workingBranch, or generated when that is unset."
    )
    root_directory: Annotated[str, Field(max_length=500)] | None = Field(
        None, description="Directory of the repository to work in (monorepos); null is its root."
    )
    idempotency_key: Identifier | Absent = Field(
        None, description="Only when repeating a start whose outcome is unknown: the key from its error."
    )
    wait: bool | Absent = Field(None, description="Follow the run at once, like mogplex_follow_run.")
    timeout_seconds: Seconds | Absent = Field(
        None, description="With wait: return after so long; 50 unless given. A task ends with the run."
    )


async def _start_agent_run(call: Call, arguments: StartAgentRunArguments) -> Json | Task:
    if arguments.wait:
        _check_may_wait(call)
    elif arguments.timeout_seconds is not None:
        raise BadArgumentsError(timeoutSeconds="says how long to wait: give it with wait: true")
    request = StartRun(
        repo_id=await repo_id_of(call, arguments.repo_id, changes=True),
        prompt=arguments.prompt,
        harness=arguments.harness,
        base_branch=arguments.base_branch,
        working_branch=arguments.working_branch,
        create_branch=arguments.create_branch,
        root_directory=arguments.root_directory,
    )
    run = await call.api.start_run(request, idempotency_key=arguments.idempotency_key)
    # A run that was started is remembered, although who asked for it has left meanwhile.
    with anyio.CancelScope(shield=True):
        shown = await seen(call, run)
    started = {"run": {**shown, "replayed": run.replayed is True}}
    if not arguments.wait:
        return started
    call.watchers.nudge(call.caller.account, run.run_id)
    if call.start_task is not None:
        return await _as_task(call, call.start_task, run, started)
    return await _followed(call, run, started, arguments.timeout_seconds or DEFAULT_SECONDS)


def _check_may_wait(call: Call) -> None:
    """Refuse before anything is started: events are shown only to those who may read.

    Raises:
        MogplexError: FORBIDDEN.
    """
    if missing := call.caller.missing((TOOLS_READ,)):
        message = f"Waiting shows the run's events, which needs {' '.join(missing)}; nothing was started."
        raise MogplexError("FORBIDDEN", message, status=403, suggestion="Start the run without wait.")


async def _as_task(
    call: Call, start_task: Callable[[Call, StartedRun], Awaitable[Task]], run: StartedRun, started: Json
) -> Json | Task:
    """The task that waits for the run; the run as it was started, should no task be kept: it did start."""
    try:
        return await start_task(call, run)
    except (StoreError, SQLAlchemyError):
        _log.exception("task_not_kept")
        return started


async def _followed(call: Call, run: StartedRun, started: Json, seconds: float) -> Json:
    """The run, followed; as it was started, should following fail: a start must never look like a failure."""
    try:
        followed = await follow(call, run.run_id, since=None, until=None, seconds=seconds)
    except MogplexError as error:
        _log.warning("start_not_followed", code=error.code)
        return started
    return {**followed, "run": {**followed["run"], "replayed": run.replayed is True}}


START_AGENT_RUN = Tool(
    name="mogplex_start_agent_run",
    title="Start a Mogplex agent run",
    description=(
        "Start a coding agent (Codex or Claude Code) on a repository, in its own sandbox. Pass `createBranch: true` "
        "unless told otherwise: without `createBranch` or `workingBranch` the agent commits to the base branch. "
        "`repoId` is an `id` from mogplex_list_repos or an owner/name. It answers at once with `runId` and "
        "`branch.working`; the work goes on for minutes. Next: mogplex_follow_run until `ended` (`wait: true` begins "
        "with that); then tell the person the branch. Every call starts a new run (limits: 10 a minute, 30 an hour, "
        "150 a day), so never repeat a call to check on a run. If the error carries an `idempotencyKey`, call again "
        "with the same arguments and that key: it never starts a second run."
    ),
    scope=AGENTS_RUN,
    hints=Hints(read_only=False, destructive=True, idempotent=False, open_world=True),
    arguments=StartAgentRunArguments,
    result={
        "run": {**RUN_SCHEMA, "properties": {**RUN_SCHEMA["properties"], "replayed": {"type": "boolean"}}},
        "events": {"type": "array"},
        "nextEventId": nullable("string"),
        "ended": {"type": "boolean"},
    },
    handle=_start_agent_run,
)
