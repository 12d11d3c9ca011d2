"""Sessions of 2025 clients, so many for each caller: one host that never ends its own cannot lock the others out."""

from __future__ import annotations

import asyncio
from collections import Counter

from anyio.abc import TaskGroup
from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SESSIONS_PER_CALLER = 50
"""Hosts hold one each; a team's service account may hold some dozens."""


class CallerSessions(StreamableHTTPSessionManager):
    """Ends a caller's oldest session when the caller opens one too many; idle ones go first.

    The host of an ended session gets 404 and opens another one, as the specification asks of it.
    """

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        mine = [session_id for session_id, owner in self._session_owners.items() if owner == requestor]
        tasks: TaskGroup | None = self._task_group
        if len(mine) >= SESSIONS_PER_CALLER and tasks is not None:
            idle = (each for each in mine if not self._server_instances[each]._requests_in_flight)
            ended = next(idle, mine[0])
            tasks.start_soon(self._discard_session, ended, self._server_instances[ended])
        return super()._admit_session(requestor)


class StandingStreams:
    """The GET streams that are open, by session: what is pushed while a session has none reaches nobody."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._news = asyncio.Event()

    async def opened(self, session_id: str) -> None:
        """Wait until the session has one."""
        while not self._open[session_id]:
            await self._news.wait()

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a GET; from its first byte until its end it is open.

        Args:
            app: What answers.
            scope: The request.
            receive: As in ASGI.
            send: As in ASGI.
        """
        session_id = Headers(scope=scope).get("mcp-session-id", "")
        opened = False

        async def noticed(message: Message) -> None:
            nonlocal opened
            if message["type"] == "http.response.start" and message["status"] == 200:
                opened = True
                self._open[session_id] += 1
                self._news.set()
                self._news = asyncio.Event()
            await send(message)

        try:
            await app(scope, receive, noticed)
        finally:
            if opened:
                self._open[session_id] -= 1
                if not self._open[session_id]:
                    del self._open[session_id]
