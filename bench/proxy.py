"""The yardstick: a bare Starlette + httpx2 proxy. One POST in, one GET upstream, JSON out, and nothing else.

Run as ``python -m bench.proxy UPSTREAM``; prints its address, then serves until it is ended. It runs as this server
does: uvicorn with uvloop and httptools, one process, one pooled client.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click
import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bench.upstream import ROUTE


def create_app(upstream: str) -> Starlette:
    """The proxy's application.

    Args:
        upstream: Base URL of the upstream, without a path.
    """
    client = httpx2.AsyncClient(base_url=upstream, limits=httpx2.Limits(max_connections=200))

    async def forward(request: Request) -> Response:
        await request.json()
        answer = await client.get(ROUTE, headers={"authorization": request.headers["authorization"]})
        return JSONResponse(answer.json()["data"], status_code=answer.status_code)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    return Starlette(routes=[Route("/mcp", forward, methods=["POST"])], lifespan=lifespan)


@click.command()
@click.argument("upstream")
def main(upstream: str) -> None:
    """Serve on a free port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        click.echo(f"proxy on http://127.0.0.1:{listener.getsockname()[1]}/mcp")
        config = uvicorn.Config(
            create_app(upstream), loop="uvloop", http="httptools", access_log=False, log_level="warning"
        )
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
