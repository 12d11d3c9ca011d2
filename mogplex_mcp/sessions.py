"""Sessions of 2025 clients, so many for each caller: one host that never ends its own cannot lock the others out."""

from __future__ import annotations

from anyio.abc import TaskGroup
from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

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
