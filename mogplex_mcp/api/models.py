"""What Mogplex sends and takes (documentation, /web/api/repos, …/sandboxes, …/runs, …/mcp-servers).

Only what is certain is required and checked. The service moves on: every other field is whatever Mogplex sent, unknown
fields, statuses and event types included, and passes on as data. ``wire()`` gives back exactly what came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, PrivateAttr, model_validator
from pydantic.alias_generators import to_camel

TERMINAL_STATUSES = frozenset({"success", "failed", "cancelled"})
"""A run with one of these statuses stays as it is (documentation, /web/api/runs, "Status values")."""


class Record(BaseModel):
    """Something that Mogplex sent. Fields typed ``object`` are its data, of whatever type."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)

    # Kept rather than dumped anew: an unknown field may have the name that a known one has in Python.
    _wire: dict[str, Any] = PrivateAttr()

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, data: object, validate: ModelWrapValidatorHandler[Self]) -> Self:
        record = validate(data)
        if isinstance(data, dict):
            record._wire = data
        return record

    def wire(self) -> dict[str, Any]:
        """The JSON object as Mogplex sent it: nothing left out, nothing invented."""
        return dict(self._wire)


class CamelRecord(Record):
    """A record whose fields are camelCase on the wire."""

    model_config = ConfigDict(alias_generator=to_camel)


class Repo(Record):
    """A repository."""

    id: str
    full_name: str
    default_branch: object = None
    root_directory: object = None


class Sandbox(Record):
    """A sandbox: where a run works."""

    id: str
    status: str
    sandbox_id: object = None
    repo_id: object = None
    base_branch: object = None
    working_branch: object = None
    root_directory: object = None
    preview_url: object = None
    created_at: object = None
    last_active_at: object = None


class Run(CamelRecord):
    """A run's detail."""

    run_id: str
    status: str
    ai_call_id: object = None
    sandbox_record_id: object = None
    sandbox_id: object = None
    repo_id: object = None
    harness: object = None
    branch: object = None
    root_directory: object = None
    events_url: object = None
    cancel_url: object = None
    created_at: object = None
    updated_at: object = None
    error: object = None
    runtime: object = None

    @property
    def terminal(self) -> bool:
        """Whether the run has ended."""
        return self.status in TERMINAL_STATUSES


class StartedRun(Run):
    """The answer to a start: the run, and whether an earlier start with the same key had made it."""

    replayed: object = None


class RunEvent(CamelRecord):
    """One event of a run."""

    id: str
    type: str
    tool_name: object = None
    message: object = None
    payload: object = None
    created_at: object = None


class RunEvents(Record):
    """A run and its first events, oldest first; at most 200, past which no event can be read."""

    run: Run
    events: list[RunEvent]


class McpServer(Record):
    """An MCP server configured in Mogplex. ``config`` carries decrypted secrets: it must never reach a log."""

    name: str
    enabled: object = None
    config: object = Field(None, repr=False)


@dataclass(frozen=True)
class CancelResult:
    """The answer to a cancellation, in one shape whichever way Mogplex words it.

    Attributes:
        run: The run as it stands.
        status: ``cancellation_requested`` or ``already_terminal``, the documentation's words.
        already_terminal: The run had ended before; nothing was cancelled.
    """

    run: Run
    status: str
    already_terminal: bool


class StartRun(BaseModel):
    """What to start (documentation, /web/api/runs, "Start a run"). None leaves the choice to Mogplex.

    Attributes:
        repo_id: The repository's id.
        prompt: The task, at most 100,000 characters.
        harness: ``codex`` or ``claude-code``.
        base_branch: Branch to start from.
        working_branch: Branch to commit to.
        create_branch: Commit to a new branch.
        root_directory: Directory of the repository to work in.
        conversation_id: Conversation to attach to.
        workspace_session_id: Workspace session to attach to.
        mode: A hint for the runtime.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )

    repo_id: str = Field(min_length=1)
    prompt: str = Field(min_length=1, max_length=100_000, repr=False)
    harness: str | None = None
    base_branch: str | None = None
    working_branch: str | None = None
    create_branch: bool | None = None
    root_directory: str | None = None
    conversation_id: str | None = None
    workspace_session_id: str | None = None
    mode: str | None = None

    def body(self) -> bytes:
        """The request body. The same request gives the same bytes: Mogplex compares them for a repeated key."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()
