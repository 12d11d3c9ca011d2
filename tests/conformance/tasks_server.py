"""A server with the suite's fixture tools, whose tasks speak the same extension as ours (``tools/tasks.py``).

The tools are as the suite's ``tasks-*`` scenarios describe them. Their work is coroutines in this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import mcp_types as types
from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mogplex_mcp.serving import listen, make_server
from mogplex_mcp.store.opaque import new_id
from mogplex_mcp.tools.tasks import Context, Json, Status, Task, UnknownTaskError, declares_tasks, serve_tasks
from mogplex_mcp.tools.tasks import require_tasks as refuse_without_tasks

TTL_MS = 60_000
POLL_MS = 50


@dataclass
class Work:
    """One task: a coroutine, and what it waits for.

    Attributes:
        task_id: Its name.
        asked: What it asks the client, by key, with what takes the answer.
        answered: Keys that were answered.
    """

    task_id: str = field(default_factory=new_id)
    asked: dict[str, tuple[Json, asyncio.Future[Json]]] = field(default_factory=dict)
    running: asyncio.Task[types.CallToolResult] | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def ask(self, **messages: str) -> list[Json]:
        """Ask for several confirmations at once; the answers in that order."""
        answers = []
        for key, message in messages.items():
            form = {"type": "object", "properties": {"confirm": {"type": "boolean"}, "name": {"type": "string"}}}
            params = {"mode": "form", "message": message, "requestedSchema": form}
            answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
            self.asked[key] = {"method": "elicitation/create", "params": params}, answer
            answers.append(answer)
        return await asyncio.gather(*answers)

    def task(self) -> Task:
        status, payload = self._state()
        now = datetime.now(UTC)
        return Task(self.task_id, status, self.created_at, now, TTL_MS, POLL_MS, payload=payload)

    def _state(self) -> tuple[Status, Json | None]:
        assert self.running is not None
        if not self.running.done():
            requests = {key: request for key, (request, _) in self.asked.items()}
            return ("input_required", requests) if requests else ("working", None)
        if self.running.cancelled():
            return "cancelled", None
        error = self.running.exception()
        if isinstance(error, MCPError):
            return "failed", error.error.model_dump(mode="json", exclude_none=True)
        return "completed", self.running.result().model_dump(by_alias=True, mode="json", exclude_none=True)


class FixtureTasks:
    """The tasks of this server."""

    def __init__(self) -> None:
        self._works: dict[str, Work] = {}

    def start(self, work: Callable[[Work], Coroutine[Any, Any, types.CallToolResult]]) -> Json:
        made = Work()
        made.running = asyncio.create_task(work(made))
        self._works[made.task_id] = made
        return made.task().created()

    async def get_task(self, _: Context, task_id: str) -> Task:
        return self._work(task_id).task()

    async def update_task(self, _: Context, task_id: str, responses: Mapping[str, Any]) -> None:
        work = self._work(task_id)
        for key, response in responses.items():
            if (asked := work.asked.pop(key, None)) is not None:
                asked[1].set_result(response)

    async def cancel_task(self, _: Context, task_id: str) -> None:
        work = self._work(task_id)
        assert work.running is not None
        work.running.cancel()
        await asyncio.wait({work.running})

    async def close(self) -> None:
        running = [work.running for work in self._works.values() if work.running is not None]
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _work(self, task_id: str) -> Work:
        if task_id not in self._works:
            raise UnknownTaskError
        return self._works[task_id]


Answer = types.CallToolResult | types.InputRequiredResult | Json
Tool = Callable[[Context, types.CallToolRequestParams, FixtureTasks], Awaitable[Answer]]


def text(words: str, *, is_error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=words)], is_error=is_error)


async def greet(_: Context, params: types.CallToolRequestParams, __: FixtureTasks) -> Answer:
    return text(f"Hello, {(params.arguments or {})['name']}!")


async def slow_compute(ctx: Context, params: types.CallToolRequestParams, tasks: FixtureTasks) -> Answer:
    arguments = params.arguments or {}

    async def work(_: Work) -> types.CallToolResult:
        await asyncio.sleep(arguments["seconds"])
        return text(f"Computed {arguments.get('label')}.")

    if arguments["seconds"] == 0 or not declares_tasks(ctx):
        return await work(Work())
    return tasks.start(work)


async def failing_job(ctx: Context, _: types.CallToolRequestParams, tasks: FixtureTasks) -> Answer:
    async def work(_: Work) -> types.CallToolResult:
        await asyncio.sleep(1)
        return text("The job failed.", is_error=True)

    refuse_without_tasks(ctx)
    return tasks.start(work)


async def protocol_error_job(ctx: Context, _: types.CallToolRequestParams, tasks: FixtureTasks) -> Answer:
    async def work(_: Work) -> types.CallToolResult:
        raise MCPError(types.INTERNAL_ERROR, "The job broke.")

    refuse_without_tasks(ctx)
    return tasks.start(work)


async def confirm_delete(ctx: Context, params: types.CallToolRequestParams, tasks: FixtureTasks) -> Answer:
    async def work(running: Work) -> types.CallToolResult:
        name = (params.arguments or {})["filename"]
        (answer,) = await running.ask(confirm=f"Delete {name}?")
        return text(f"{name}: {answer['action']}.")

    refuse_without_tasks(ctx)
    return tasks.start(work)


async def multi_input(ctx: Context, _: types.CallToolRequestParams, tasks: FixtureTasks) -> Answer:
    async def work(running: Work) -> types.CallToolResult:
        answers = await running.ask(first="The first?", second="The second?")
        return text(", ".join(answer["action"] for answer in answers))

    refuse_without_tasks(ctx)
    return tasks.start(work)


async def test_tool_with_task(ctx: Context, params: types.CallToolRequestParams, tasks: FixtureTasks) -> Answer:
    refuse_without_tasks(ctx)
    answer = (params.input_responses or {}).get("user_name")
    if not isinstance(answer, types.ElicitResult):
        form = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
        asked = types.ElicitRequestFormParams(message="Who are you?", requested_schema=form)
        return types.InputRequiredResult(input_requests={"user_name": types.ElicitRequest(params=asked)})

    async def work(_: Work) -> types.CallToolResult:
        return text(f"Hello, {(answer.content or {})['name']}!")

    return tasks.start(work)


TOOLS: Mapping[str, Tool] = {
    tool.__name__: tool
    for tool in (
        greet,
        slow_compute,
        failing_job,
        protocol_error_job,
        confirm_delete,
        multi_input,
        test_tool_with_task,
    )
}


def create_tasks_server(tasks: FixtureTasks) -> Server[dict[str, Any]]:
    """The MCP server."""

    async def list_tools(_: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name=name, input_schema={"type": "object"}) for name in TOOLS])

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> Answer:
        return await TOOLS[params.name](ctx, params, tasks)

    server: Server[dict[str, Any]] = Server("fixtures", version="1", on_list_tools=list_tools)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call_tool)
    serve_tasks(server, tasks)
    return server


@asynccontextmanager
async def tasks_server() -> AsyncIterator[int]:
    """Serve it until the block is left; gives its port on 127.0.0.1."""
    tasks = FixtureTasks()
    manager = StreamableHTTPSessionManager(create_tasks_server(tasks))

    class Endpoint:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await manager.handle_request(scope, receive, send)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield
        await tasks.close()

    listening = listen("127.0.0.1", 0)
    server = make_server(Starlette(routes=[Route("/mcp", endpoint=Endpoint())], lifespan=lifespan))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
