"""Attaching a host to a run that started elsewhere: it names the run in a header and learns of it in the instructions.

Source: Mogplex documentation, /cli/concepts/attach. A run is an object, not a connection: attaching changes nothing
about it, and neither does leaving.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mogplex_mcp.api import MogplexApi, MogplexError

ATTACH_HEADER = "Mogplex-Attach-Run"

_RUN_ID = re.compile(r"[A-Za-z0-9._:-]{1,200}")
MAX_WORD = 100


def attached_run(headers: Headers) -> str | None:
    """The run that a request's header names; None without one, or when it cannot be a run's id."""
    value = headers.get(ATTACH_HEADER)
    return value if value is not None and _RUN_ID.fullmatch(value) else None


class AttachMiddleware:
    """Returns the header, so that whoever sent it knows that this server understands it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        run_id = attached_run(Headers(scope=scope))
        if run_id is None:
            await self.app(scope, receive, send)
            return

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[ATTACH_HEADER] = run_id
            await send(message)

        await self.app(scope, receive, named)


async def describe_attached(api: MogplexApi, run_id: str) -> str:
    """What the instructions say of the attached run. Another account's run is unknown, like one that never was."""
    try:
        run = await api.get_run(run_id)
    except MogplexError as error:
        state = "unknown to this account" if error.code == "NOT_FOUND" else f"not readable now ({error.code})"
        return f"This host is attached to the Mogplex run {run_id}, which is {state}."
    return (
        f"This host is attached to the Mogplex run {run_id}, status {run.status[:MAX_WORD]}. Read it with "
        "mogplex_follow_run; do not start another run for the same task unless asked."
    )
