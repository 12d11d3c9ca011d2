"""Answers under way, by grant: revoking a grant, or its token's end, ends them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mogplex_mcp.auth.rpc_errors import UNAUTHORIZED, refusal

WATCH_SECONDS = 4.0
"""A grant revoked by another process is noticed within this time."""


class OpenStreams:
    """The requests being answered in this process, each with the scope that ends it."""

    def __init__(self) -> None:
        self._open: dict[str, set[anyio.CancelScope]] = {}

    @property
    def grants(self) -> frozenset[str]:
        """The grants that have something under way."""
        return frozenset(self._open)

    def end(self, grant_ids: Collection[str]) -> None:
        """End everything under way for these grants."""
        for grant_id in grant_ids:
            for scope in tuple(self._open.get(grant_id, ())):
                scope.cancel()

    @contextmanager
    def under(self, grant_id: str, seconds: float) -> Iterator[anyio.CancelScope]:
        """Run the block until it ends, the grant is ended, or the time is over.

        Args:
            grant_id: The grant in whose name it runs.
            seconds: Until its access token expires.
        """
        with anyio.move_on_after(max(0.0, seconds)) as scope:
            self._open.setdefault(grant_id, set()).add(scope)
            try:
                yield scope
            finally:
                scopes = self._open[grant_id]
                scopes.discard(scope)
                if not scopes:
                    del self._open[grant_id]

    async def serve(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, grant: tuple[str, float]
    ) -> None:
        """Answer one request under a grant; an answer that is ended is closed in order.

        Args:
            app: What answers.
            scope: The request.
            receive: As in ASGI.
            send: As in ASGI.
            grant: The grant's id, and the seconds until its access token expires.
        """
        started = finished = False

        async def watched(message: Message) -> None:
            nonlocal started, finished
            started = started or message["type"] == "http.response.start"
            finished = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        with self.under(*grant) as limit:
            await app(scope, receive, watched)
        if not limit.cancelled_caught or finished:
            return
        if started:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await refusal(401, UNAUTHORIZED, "This agent's access has ended.")(scope, receive, send)

    async def watch(self, ended: Callable[[Collection[str]], Awaitable[Collection[str]]]) -> None:
        """End what other processes have revoked, for ever.

        Args:
            ended: Tells which of these grants have ended.
        """
        while True:
            await anyio.sleep(WATCH_SECONDS)
            if grants := self.grants:
                self.end(await ended(grants))
