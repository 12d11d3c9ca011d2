"""The methods by which hosts hear of changes, in both protocol eras, and the capabilities that say so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import mcp_types as types
import structlog
from mcp.server import Server
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mogplex_mcp.api import MogplexError
from mogplex_mcp.auth.current_caller import current_caller
from mogplex_mcp.auth.scopes import TOOLS_READ
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.listen import TaskSubscriptions, listen, read_filter
from mogplex_mcp.tools.live_resources import REPOS_URI, RUNS_URI
from mogplex_mcp.tools.resources import GUIDE_URI
from mogplex_mcp.tools.session_pushes import SessionPushes, can_push, subscriptions_of
from mogplex_mcp.tools.subscriptions import MAX_URIS, Subscriptions

T = TypeVar("T")
Context = ServerRequestContext[dict[str, Any], Any]

_log = structlog.stdlib.get_logger(__name__)


class AsCaller(Protocol):
    """Does work as the caller of a request; Mogplex's failures become JSON-RPC errors."""

    async def __call__(self, ctx: Context, work: Callable[[Call], Awaitable[T]]) -> T:
        """Do it."""


@dataclass(frozen=True)
class ChangeMethods:
    """What answers the MCP methods about changes.

    Attributes:
        as_caller: How work is done for the caller of a request.
        subscriptions: Who is told of changes.
        pushes: What is told to sessions of the earlier protocol.
        tasks: The tasks that can be listened for.
        seconds: How long an acknowledgement, or the answer to a subscription, waits for runs to be read.
    """

    as_caller: AsCaller
    subscriptions: Subscriptions
    pushes: SessionPushes
    tasks: TaskSubscriptions
    seconds: float

    async def listen(
        self, ctx: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """``subscriptions/listen``."""
        asked = read_filter(ctx, params.notifications)
        return await self.as_caller(
            ctx,
            lambda call: listen(
                ctx, asked, call, subscriptions=self.subscriptions, tasks=self.tasks, seconds=self.seconds
            ),
        )

    async def subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """``resources/subscribe``, for sessions of the earlier protocol."""
        uri = str(params.uri)
        if not can_push(ctx):
            message = "There is no session to be told in: initialize first, and send its Mcp-Session-Id."
            raise MCPError(types.INVALID_REQUEST, message)
        if await self.as_caller(ctx, lambda call: self._want(ctx, call, uri)):
            return types.EmptyResult()
        if uri == GUIDE_URI or uri.startswith(REPOS_URI):
            raise MCPError(types.INVALID_PARAMS, f"No changes are told of this resource; of {RUNS_URI} they are.")
        raise unknown_resource(ctx, uri)

    async def unsubscribe(self, ctx: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """``resources/unsubscribe``, for sessions of the earlier protocol."""
        for subscription in subscriptions_of(ctx):
            subscription.unwant(str(params.uri))
        return types.EmptyResult()

    async def initialized(self, ctx: Context, _: types.NotificationParams) -> None:
        """``notifications/initialized``."""
        await self._push_new_runs(ctx)

    async def push_when_listed(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Middleware: who lists resources in a session hears of new ones; also who was allowed to only just now."""
        if ctx.method == "resources/list":
            await self._push_new_runs(ctx)
        return await call_next(ctx)

    async def state_what_can_be_pushed(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Middleware: without a session there is nowhere to push to, and its capabilities say so."""
        result = await call_next(ctx)
        if ctx.method != "initialize" or can_push(ctx) or not isinstance(result, dict):
            return result
        return {**result, "capabilities": {**result["capabilities"], "resources": {}}}

    async def _want(self, ctx: Context, call: Call, uri: str) -> bool:
        try:
            async with asyncio.timeout(self.seconds):
                return await self.pushes.start(ctx, call).want(uri)
        except TimeoutError:
            message = f"The run could not be read within {self.seconds:g} s."
            raise MogplexError("TIMEOUT", message, suggestion="Subscribe again in a minute.") from None
        except ValueError:
            raise MCPError(types.INVALID_PARAMS, f"At most {MAX_URIS} resources in one session.") from None
        except MogplexError as error:
            # Another account's run is unknown, like one that never was.
            if error.code in {"NOT_FOUND", "BAD_REQUEST"}:
                raise unknown_resource(ctx, uri) from None
            raise

    async def _push_new_runs(self, ctx: Context) -> None:
        told = not can_push(ctx) or any(each.list_changed for each in subscriptions_of(ctx))
        if told or current_caller().missing((TOOLS_READ,)):
            return

        async def start(call: Call) -> None:
            self.pushes.start(ctx, call)

        try:
            await self.as_caller(ctx, start)
        except MCPError as error:
            # Nobody asked for it: what the host asks next will tell it why.
            _log.info("nothing_pushed", code=error.error.code)


class MogplexServer(Server[dict[str, Any]]):
    """The SDK's server, with capabilities that are true: runs come and change; tools and prompts never do."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """What a client of the earlier protocol is told."""
        options = notification_options or NotificationOptions(resources_changed=True)
        return super().create_initialization_options(options, experimental_capabilities, extensions)

    def get_capabilities(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
        *,
        protocol_version: str | None = None,
    ) -> types.ServerCapabilities:
        """What a client is told. The SDK concludes from ``subscriptions/listen`` that every list may change."""
        capabilities = super().get_capabilities(
            notification_options, experimental_capabilities, extensions, protocol_version=protocol_version
        )
        if protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return capabilities
        fixed = {
            "tools": types.ToolsCapability(list_changed=False),
            "prompts": types.PromptsCapability(list_changed=False),
        }
        return capabilities.model_copy(update=fixed)


def serve_changes(server: Server[dict[str, Any]], methods: ChangeMethods) -> None:
    """Have a server tell of changes.

    Args:
        server: What to add it to; its other middleware is there already.
        methods: What answers.
    """
    server.add_request_handler("subscriptions/listen", types.SubscriptionsListenRequestParams, methods.listen)
    server.add_request_handler("resources/subscribe", types.SubscribeRequestParams, methods.subscribe)
    server.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, methods.unsubscribe)
    server.add_notification_handler("notifications/initialized", types.NotificationParams, methods.initialized)
    server.middleware += [methods.push_when_listed, methods.state_what_can_be_pushed]


def unknown_resource(ctx: Context, uri: str) -> MCPError:
    """There is no such resource for this caller, whether or not there is for another."""
    # MCP 2026-07-28 made "resource not found" invalid params; before, it had a code of its own (-32002).
    code = types.INVALID_PARAMS if ctx.protocol_version >= "2026-07-28" else -32002
    return MCPError(code, "Resource not found.", {"uri": uri[:500]})
