"""What is under way, by grant: its end, the loss of a scope that is needed, or its token's end, ends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mogplex_mcp.auth.rpc_errors import UNAUTHORIZED, refusal

WATCH_SECONDS = 4.0
"""What another process revokes, or takes away, is noticed within this time."""


class OpenStreams:
    """The requests being answered in this process, each with the scope that ends it."""

    def __init__(self) -> None:
        self._open: dict[str, dict[anyio.CancelScope, frozenset[str]]] = {}

    @property
    def grants(self) -> frozenset[str]:
        """The grants that have something under way."""
        return frozenset(self._open)

    def end(self, grant_ids: Collection[str]) -> None:
        """End everything under way for these grants."""
        for grant_id in grant_ids:
            for scope in tuple(self._open.get(grant_id, ())):
                scope.cancel()

    def narrow(self, grant_id: str, allowed: Collection[str]) -> None:
        """End what is under way for a grant and needs a scope that it does not have any more.

        Args:
            grant_id: The grant.
            allowed: The scopes that it has.
        """
        for scope, needs in tuple(self._open.get(grant_id, {}).items()):
            if not needs.issubset(allowed):
                scope.cancel()

    @contextmanager
    def under(
        self, grant_id: str, seconds: float, *, needs: frozenset[str] = frozenset()
    ) -> Iterator[anyio.CancelScope]:
        """Run the block until it ends, the grant is ended or loses a scope that is needed, or the time is over.

        Args:
            grant_id: The grant in whose name it runs.
            seconds: Until its access token expires; infinite for what outlives the token.
            needs: The scopes without which it may not go on.
        """
        with anyio.move_on_after(max(0.0, seconds)) as scope:
            self._open.setdefault(grant_id, {})[scope] = needs
            try:
                yield scope
            finally:
                scopes = self._open[grant_id]
                del scopes[scope]
                if not scopes:
                    del self._open[grant_id]

    async def serve(
        self,
        app: ASGIApp,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        grant: tuple[str, float],
        needs: frozenset[str] = frozenset(),
    ) -> None:
        """Answer one request under a grant; an answer that is ended is closed in order.

        Args:
            app: What answers.
            scope: The request.
            receive: As in ASGI.
            send: As in ASGI.
            grant: The grant's id, and the seconds until its access token expires.
            needs: The scopes without which the answer may not go on.
        """
        started = finished = False

        async def watched(message: Message) -> None:
            nonlocal started, finished
            started = started or message["type"] == "http.response.start"
            finished = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        with self.under(*grant, needs=needs) as limit:
            await app(scope, receive, watched)
        if not limit.cancelled_caught or finished:
            return
        if started:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await refusal(401, UNAUTHORIZED, "This agent's access has ended.")(scope, receive, send)

    async def watch(self, live: Callable[[Collection[str]], Awaitable[Mapping[str, Collection[str]] | None]]) -> None:
        """End what other processes have revoked or taken away, for ever.

        Args:
            live: Tells which of these grants are live, and their scopes; None: it cannot tell now.
        """
        while True:
            await anyio.sleep(WATCH_SECONDS)
            if (grants := self.grants) and (allowed := await live(grants)) is not None:
                self.end(grants - set(allowed))
                for grant_id, scopes in allowed.items():
                    self.narrow(grant_id, scopes)
