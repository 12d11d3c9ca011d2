"""A simulated Mogplex behind real HTTP on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.simulated_mogplex import SimulatedMogplex
from mogplex_mcp.api import Upstream, open_upstream
from mogplex_mcp.local.listener import Listener, bind_tcp
from mogplex_mcp.settings import Settings
from tests.api.conftest import no_embedded


@asynccontextmanager
async def over_http(mogplex: SimulatedMogplex) -> AsyncIterator[Upstream]:
    """Serve it, and give the way to it."""

    async def answer(request: Request) -> Response:
        status, headers, body = mogplex.answer(request.url.path, request.headers["authorization"])
        return Response(body, status, {"content-type": "application/json", **headers})

    app = Starlette(routes=[Route("/{path:path}", answer)])
    listener = Listener(app, lambda: [bind_tcp("127.0.0.1", 0)])
    await listener.start()
    try:
        settings = Settings(url=f"http://127.0.0.1:{listener.ports[0]}", dev=True, api_rate_limit=0)
        async with open_upstream(settings, embedded=no_embedded) as upstream:
            yield upstream
    finally:
        await listener.stop()
