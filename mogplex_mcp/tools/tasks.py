"""The Tasks extension, ``io.modelcontextprotocol/tasks``: shapes and methods, whatever the tasks are.

Source: https://modelcontextprotocol.github.io/ext-tasks/specification/2026-07-28/tasks.html (SEP-2663). A server may
answer a ``tools/call`` with a task instead of a result, if the client declared the extension in that very request; the
client then asks ``tasks/get`` until the task has ended. The extension exists on 2026-07-28 and later only: the tasks of
2025-11-25 are another protocol, which is not served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, NoReturn, Protocol

import mcp_types as types
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types.jsonrpc import HEADER_MISMATCH, MISSING_REQUIRED_CLIENT_CAPABILITY
from pydantic import Field

EXTENSION: Final = "io.modelcontextprotocol/tasks"
FIRST_REVISION = "2026-07-28"
MAX_TASK_ID = 200
"""Characters of a task's id."""
MAX_RESPONSES = 100
"""Answers that one ``tasks/update`` may bring."""

Context = ServerRequestContext[dict[str, Any], Any]
Json = dict[str, Any]
Status = Literal["working", "input_required", "completed", "failed", "cancelled"]

_PAYLOADS: Final[Mapping[Status, str]] = {
    "input_required": "inputRequests",
    "completed": "result",
    "failed": "error",
}


@dataclass(frozen=True)
class Task:
    """A task as it is now.

    Attributes:
        task_id: Its name: unguessable, at most ``MAX_TASK_ID`` characters.
        status: ``completed`` has the result of the call, one with ``isError`` too; ``failed`` a JSON-RPC error.
        created_at: When it was made.
        updated_at: When its state changed last.
        ttl_ms: How long it can be asked for, in milliseconds from ``created_at``; None: for ever.
        poll_interval_ms: How long to wait between two ``tasks/get``, in milliseconds.
        message: The state in words.
        payload: What the status brings: the requests to the client by key, the result, or the error.
    """

    task_id: str
    status: Status
    created_at: datetime
    updated_at: datetime
    ttl_ms: int | None
    poll_interval_ms: int
    message: str | None = None
    payload: Json | None = None

    def created(self) -> Json:
        """``CreateTaskResult``: what a call is answered with instead of its result."""
        return {"resultType": "task", **self._state()}

    def detailed(self) -> Json:
        """``DetailedTask``: what ``tasks/get`` answers and ``notifications/tasks`` tells."""
        name = _PAYLOADS.get(self.status)
        return {**self._state(), **({name: self.payload} if name is not None else {})}

    def _state(self) -> Json:
        return {
            "taskId": self.task_id,
            "status": self.status,
            **({"statusMessage": self.message} if self.message is not None else {}),
            "createdAt": _written(self.created_at),
            "lastUpdatedAt": _written(self.updated_at),
            "ttlMs": self.ttl_ms,
            "pollIntervalMs": self.poll_interval_ms,
        }


class UnknownTaskError(Exception):
    """There is no such task, or it is another account's; nobody learns which."""


class Tasks(Protocol):
    """What the tasks are: who keeps them, and how their state is known.

    Every method raises UnknownTaskError for a task that the caller of the request may not see.
    """

    async def get_task(self, ctx: Context, task_id: str) -> Task:
        """The task as it is now."""

    async def update_task(self, ctx: Context, task_id: str, responses: Mapping[str, Any]) -> None:
        """Take answers to the task's requests, by key. Keys that wait for no answer are to be ignored.

        The values are as the client sent them.
        """

    async def cancel_task(self, ctx: Context, task_id: str) -> None:
        """Ask that the work ends. Of a task that has ended, nothing changes."""


class TaskParams(types.RequestParams):
    """Parameters of ``tasks/get`` and ``tasks/cancel``."""

    task_id: Annotated[str, Field(min_length=1, max_length=MAX_TASK_ID)]


class UpdateTaskParams(TaskParams):
    """Parameters of ``tasks/update``."""

    input_responses: Annotated[dict[str, Any], Field(max_length=MAX_RESPONSES)]


def serve_tasks(server: Server[dict[str, Any]], tasks: Tasks) -> None:
    """Have a server speak the extension.

    Args:
        server: What to add it to.
        tasks: What the tasks are.
    """

    async def get(ctx: Context, params: TaskParams) -> Json:
        _check(ctx, params.task_id)
        try:
            task = await tasks.get_task(ctx, params.task_id)
        except UnknownTaskError:
            _refuse_unknown()
        return {"resultType": "complete", **task.detailed()}

    async def update(ctx: Context, params: UpdateTaskParams) -> Json:
        _check(ctx, params.task_id)
        try:
            await tasks.update_task(ctx, params.task_id, params.input_responses)
        except UnknownTaskError:
            _refuse_unknown()
        return {"resultType": "complete"}

    async def cancel(ctx: Context, params: TaskParams) -> Json:
        _check(ctx, params.task_id)
        try:
            await tasks.cancel_task(ctx, params.task_id)
        except UnknownTaskError:
            _refuse_unknown()
        return {"resultType": "complete"}

    server.extensions[EXTENSION] = {}
    server.add_request_handler("tasks/get", TaskParams, get)
    server.add_request_handler("tasks/update", UpdateTaskParams, update)
    server.add_request_handler("tasks/cancel", TaskParams, cancel)


def declares_tasks(ctx: Context) -> bool:
    """Whether the client takes a task for an answer to this request."""
    capabilities = ctx.session.client_capabilities
    extensions = capabilities.extensions if capabilities is not None else None
    return ctx.protocol_version >= FIRST_REVISION and extensions is not None and EXTENSION in extensions


def require_tasks(ctx: Context) -> None:
    """Refuse a request that only a client with the extension may make.

    Raises:
        MCPError: -32021, with what the client would have to declare.
    """
    if not declares_tasks(ctx):
        required = types.ClientCapabilities(extensions={EXTENSION: {}})
        data = types.MissingRequiredClientCapabilityErrorData(required_capabilities=required)
        raise MCPError(
            MISSING_REQUIRED_CLIENT_CAPABILITY,
            f"Missing required client capability: the extension {EXTENSION}.",
            data.model_dump(by_alias=True, mode="json", exclude_none=True),
        )


def _check(ctx: Context, task_id: str) -> None:
    """What every method of the extension asks of a request.

    Raises:
        MCPError: -32601 before 2026-07-28, -32021 without the extension, -32020 when ``Mcp-Name`` is not the task
            ("Streamable HTTP: Routing Headers"; what an intermediary routed by is what is executed).
    """
    if ctx.protocol_version < FIRST_REVISION:
        raise MCPError(types.METHOD_NOT_FOUND, "Method not found", ctx.method)
    require_tasks(ctx)
    # There are no headers on standard input.
    if ctx.request is not None and decode_header_value(ctx.request.headers.get(MCP_NAME_HEADER)) != task_id:
        raise MCPError(HEADER_MISMATCH, "The header Mcp-Name must be the task's id, params.taskId.")


def _refuse_unknown() -> NoReturn:
    raise MCPError(types.INVALID_PARAMS, "Task not found.") from None


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
