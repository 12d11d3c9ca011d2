"""Changes pushed to sessions of the earlier protocol: ``resources/subscribe`` and ``resources/list_changed``.

Source: MCP specification 2025-11-25, server/resources. A push outlives the request that asked for it. So it ends with
what allowed it: with the session, with the grant, and with the grant's scope that shows runs.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, nullcontext
from contextvars import Context
from typing import Any

import mcp_types as types
import structlog
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mogplex_mcp.auth.scopes import TOOLS_READ
from mogplex_mcp.auth.streams import OpenStreams
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.subscriptions import Subscription, Subscriptions, TooManySubscriptionsError

_KEY = "mogplex-pushes"

_log = structlog.stdlib.get_logger(__name__)

RequestContext = ServerRequestContext[dict[str, Any], Any]


class SessionPushes:
    """Pushes to the sessions of this process.

    Args:
        subscriptions: The open ones.
        streams: What is under way, by grant.
        stream_opened: Waits until a session has a stream that pushes go to; None: there is always one.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        streams: OpenStreams,
        stream_opened: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._subscriptions = subscriptions
        self._streams = streams
        self._stream_opened = stream_opened

    def start(self, ctx: RequestContext, call: Call) -> Subscription:
        """What the session hears of on behalf of the caller's grant, from now on new runs.

        Args:
            ctx: A request of the session.
            call: Who makes it.

        Raises:
            MCPError: There is no room.
        """
        connection = _connection(ctx)
        mine: dict[str | None, Subscription] = connection.state.setdefault(_KEY, {})
        grant_id = call.caller.grant_id
        if grant_id not in mine:
            mine[grant_id] = self._begin(connection, mine, call)
        if not any(subscription.list_changed for subscription in mine.values()):
            mine[grant_id].list_changed = True
        return mine[grant_id]

    def _begin(self, connection: Connection, mine: dict[str | None, Subscription], call: Call) -> Subscription:
        grant_id = call.caller.grant_id
        with ExitStack() as stack:
            try:
                subscription = stack.enter_context(self._subscriptions.open(call))
            except TooManySubscriptionsError:
                raise MCPError(types.INTERNAL_ERROR, "Too many open subscriptions: end some sessions.") from None
            stack.callback(mine.pop, grant_id)
            pushing = self._push(connection, subscription, grant_id)
            # In a context of its own: it outlives the request that began it.
            task = asyncio.get_running_loop().create_task(pushing, context=Context())
            ending = stack.pop_all()

        def ended(task: asyncio.Task[None]) -> None:
            ending.close()
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("push_broken", exc_info=error)

        task.add_done_callback(ended)
        connection.exit_stack.callback(task.cancel)
        return subscription

    async def _push(self, connection: Connection, subscription: Subscription, grant_id: str | None) -> None:
        granted = (
            nullcontext()
            if grant_id is None
            else self._streams.under(grant_id, math.inf, needs=frozenset({TOOLS_READ}))
        )
        with granted:
            while notices := await subscription.news():
                if self._stream_opened is not None and connection.session_id is not None:
                    await self._stream_opened(connection.session_id)
                for notice in notices:
                    match notice:
                        case ResourceUpdated(uri):
                            await connection.send_resource_updated(uri)
                        case ResourcesListChanged():
                            await connection.send_resource_list_changed()


def subscriptions_of(ctx: RequestContext) -> list[Subscription]:
    """What a session hears of, on behalf of whichever grants."""
    return list(_connection(ctx).state.get(_KEY, {}).values())


def can_push(ctx: RequestContext) -> bool:
    """Whether a request belongs to a session of the earlier protocol, which can be told of changes afterwards."""
    return ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS and _connection(ctx).has_standalone_channel


def _connection(ctx: RequestContext) -> Connection:
    # The SDK shows a handler the session of one request only; what lasts as long as the session is the connection.
    return ctx.session._connection
