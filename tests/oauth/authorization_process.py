"""One of several processes that serve the same database: ``python -m tests.oauth.authorization_process``.

It reads ``MOGPLEX_*`` variables as the real server does, and prints its address.
"""

import asyncio
import sys

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from mogplex_mcp.auth.authorization import Problem, create_authorization, oauth_routes
from mogplex_mcp.auth.urls import PublicUrls
from mogplex_mcp.serving import listen, serve_app
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import open_store


def problem_page(_: Request, problem: Problem) -> Response:
    """Nobody looks at this process's pages."""
    return PlainTextResponse(problem.kind, problem.status)


def main() -> None:
    """Serve until SIGINT."""
    settings = Settings()
    store = open_store(settings)
    try:
        routes = oauth_routes(create_authorization(settings, store), PublicUrls.of(settings), problem_page)
        listening = listen("127.0.0.1", 0)
        sys.stdout.write(f"on http://127.0.0.1:{listening.getsockname()[1]}/\n")
        sys.stdout.flush()
        asyncio.run(serve_app(Starlette(routes=list(routes)), listening, on_stop=lambda: None))
    finally:
        store.close()


if __name__ == "__main__":
    main()
