"""``mogplex_start_agent_run``: POST /runs (Mogplex documentation, /web/api/runs)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mogplex_mcp.api import StartRun
from mogplex_mcp.auth.scopes import AGENTS_RUN
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.repo_names import repo_id_of
from mogplex_mcp.tools.seen_runs import seen
from mogplex_mcp.tools.tool import RUN_SCHEMA, Absent, Arguments, Hints, Identifier, Json, Tool

Branch = Annotated[str, Field(min_length=1, max_length=200)]


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


async def _start_agent_run(call: Call, arguments: StartAgentRunArguments) -> Json:
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
    return {"run": {**await seen(call, run), "replayed": run.replayed is True}}


START_AGENT_RUN = Tool(
    name="mogplex_start_agent_run",
    title="Start a Mogplex agent run",
    description=(
        "Start a coding agent (Codex or Claude Code) on a repository, in its own sandbox. Pass `createBranch: true` "
        "unless told otherwise: without `createBranch` or `workingBranch` the agent commits to the base branch. "
        "`repoId` is an `id` from mogplex_list_repos or an owner/name. It answers at once with `runId` and "
        "`branch.working`; the work goes on for minutes. Next: mogplex_follow_run until `ended`; then tell the "
        "person the branch. Every call starts a new run (limits: 10 a minute, 30 an hour, 150 a day), so never "
        "repeat a call to check on a run. If the error carries an `idempotencyKey`, call again with the same "
        "arguments and that key: it never starts a second run."
    ),
    scope=AGENTS_RUN,
    hints=Hints(read_only=False, destructive=True, idempotent=False, open_world=True),
    arguments=StartAgentRunArguments,
    result={"run": {**RUN_SCHEMA, "properties": {**RUN_SCHEMA["properties"], "replayed": {"type": "boolean"}}}},
    handle=_start_agent_run,
)
