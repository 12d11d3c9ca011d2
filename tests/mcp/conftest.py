"""The MCP server over the real embedded Mogplex, in this process, on a port of its own."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mogplex_mcp.api import Upstream, open_upstream
from mogplex_mcp.app import create_app
from mogplex_mcp.embedded_tokens import EmbeddedTokens
from mogplex_mcp.local.database import open_database
from mogplex_mcp.local.embedded import embedded_transport
from mogplex_mcp.local.tokens import create_token
from mogplex_mcp.serving import listen, make_server
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store, open_store

Json = dict[str, Any]


@dataclass(frozen=True)
class Host:
    """An agent host: it knows an address and a token, and speaks JSON-RPC."""

    url: str
    token: str
    http: httpx2.AsyncClient
    store: Store

    def headers(self, **more: str) -> dict[str, str]:
        """What every request carries."""
        return {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **{name.replace("_", "-"): value for name, value in more.items()},
        }

    async def post(self, body: object, **headers: str) -> httpx2.Response:
        """POST one JSON body."""
        return await self.http.post(self.url, json=body, headers=self.headers(**headers))

    async def rpc(self, method: str, params: Json | None = None, **headers: str) -> Json:
        """One 2025 request without a session; the JSON-RPC answer."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, **({} if params is None else {"params": params})}
        answer: Json = (await self.post(body, **headers)).json()
        return answer

    async def tool(self, name: str, /, **arguments: object) -> Json:
        """Call a tool; the tool result."""
        result: Json = (await self.rpc("tools/call", {"name": name, "arguments": arguments}))["result"]
        return result

    def modern(self, method: str, params: Json | None = None) -> tuple[Json, dict[str, str]]:
        """Body and headers of a 2026-07-28 request."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        }
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**(params or {}), "_meta": meta}}
        headers = {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": method}
        name = (params or {}).get("name") or (params or {}).get("uri")
        return body, headers if name is None else {**headers, "Mcp_Name": str(name)}

    async def post_modern(self, method: str, params: Json | None = None) -> httpx2.Response:
        """POST one 2026-07-28 request."""
        body, headers = self.modern(method, params)
        return await self.post(body, **headers)


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path: the daemon's Unix socket lies below it."""
    made = Path(tempfile.mkdtemp(prefix="mm-"))
    yield made
    shutil.rmtree(made)


@asynccontextmanager
async def serving(settings: Settings, upstream: Upstream, token: str) -> AsyncIterator[Host]:
    """Serve the application on a free port until the block is left."""
    listening = listen("127.0.0.1", 0)
    store = await asyncio.to_thread(open_store, settings)
    server = make_server(create_app(settings, upstream, store, EmbeddedTokens(settings)))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        async with httpx2.AsyncClient(timeout=30) as http:
            yield Host(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", token, http, store)
    finally:
        server.should_exit = True
        await task
        store.close()


@pytest.fixture
def settings(home: Path) -> Settings:
    """The demo harness everywhere and no limits; tests of limits set their own."""
    return Settings(home=home, transport="process", local_harness="demo", local_rate_limit=0)


@pytest.fixture
async def host(settings: Settings) -> AsyncIterator[Host]:
    """An agent host of a server over the embedded Mogplex."""
    async with open_upstream(settings, embedded=lambda: embedded_transport(settings, may_own=True)) as upstream:
        token = await asyncio.to_thread(new_token, settings)
        async with serving(settings, upstream, token) as made:
            yield made


def new_token(settings: Settings, *scopes: str) -> str:
    """A token of the embedded Mogplex, with all scopes unless some are named."""
    database = open_database(settings)
    try:
        return create_token(database, "tests", scopes or ("read", "write"))[0]
    finally:
        database.close()


@pytest.fixture
async def other_token(host: Host, settings: Settings) -> str:  # the host's server owns the database by then
    """Another valid token of the same Mogplex."""
    return await asyncio.to_thread(new_token, settings)
