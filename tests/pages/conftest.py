"""A server's pages over the embedded Mogplex, and over a hosted one with an authorization server of its own."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mogplex_mcp.api import open_upstream
from mogplex_mcp.embedded_tokens import EmbeddedTokens
from mogplex_mcp.local.database import open_database
from mogplex_mcp.local.embedded import embedded_transport
from mogplex_mcp.local.repos import ensure_demo
from mogplex_mcp.serving import listen, make_server
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store, open_store
from tests.authorization_server import Mogplex
from tests.pages.hosting import Client, Site, serving_site


@pytest.fixture(scope="session")
def used_home() -> Iterator[Path]:
    """A home whose databases, key and demonstration repository are made: that is most of what a first start takes."""
    with tempfile.TemporaryDirectory(prefix="mm-") as name:
        settings = Settings(home=Path(name))
        open_store(settings).close()
        database = open_database(settings)
        ensure_demo(database, settings.data_dir)
        database.close()
        yield Path(name)


@pytest.fixture
def home(used_home: Path) -> Iterator[Path]:
    """A home of its own, at a short path: the daemon's Unix socket lies below it."""
    with tempfile.TemporaryDirectory(prefix="mm-") as name:
        shutil.copytree(used_home, name, dirs_exist_ok=True)
        yield Path(name)


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    """The server's own database."""
    opened = open_store(Settings(home=home))
    yield opened
    opened.close()


@asynccontextmanager
async def local_site(home: Path, store: Store, **more: object) -> AsyncIterator[Site]:
    """The pages of a server over its embedded Mogplex."""
    settings = Settings.model_validate({"home": home, "transport": "process", "local_rate_limit": 0, **more})
    async with (
        open_upstream(settings, embedded=lambda: embedded_transport(settings, may_own=True)) as upstream,
        serving_site(settings, store, upstream, EmbeddedTokens(settings)) as site,
    ):
        yield site


@pytest.fixture
async def site(home: Path, store: Store) -> AsyncIterator[Site]:
    """The pages of a server over its embedded Mogplex."""
    async with local_site(home, store) as made:
        yield made


@pytest.fixture
async def client(site: Site) -> Client:
    """A client registered there."""
    return await Client.register(site)


@asynccontextmanager
async def serving_mogplex(mogplex: Mogplex) -> AsyncIterator[Mogplex]:
    """Serve a hosted Mogplex with its authorization server until the block is left."""
    listening = listen("127.0.0.1", 0)
    server = make_server(mogplex.app())
    task = asyncio.create_task(server.serve(sockets=[listening]))
    mogplex.base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        yield mogplex
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def mogplex() -> AsyncIterator[Mogplex]:
    """A hosted Mogplex, as it is today."""
    async with serving_mogplex(Mogplex()) as served:
        yield served


@asynccontextmanager
async def hosted_site(home: Path, store: Store, mogplex: Mogplex, **more: object) -> AsyncIterator[Site]:
    """The pages of a server over a hosted Mogplex."""
    settings = Settings.model_validate({"home": home, "url": mogplex.base, "dev": True, **more})

    def never() -> object:
        raise AssertionError("hosted Mogplex needs no embedded one")

    async with (
        open_upstream(settings, embedded=never) as upstream,  # type: ignore[arg-type]
        serving_site(settings, store, upstream) as site,
    ):
        yield site


@pytest.fixture
async def hosted(home: Path, store: Store, mogplex: Mogplex) -> AsyncIterator[Site]:
    """The pages of a server over a hosted Mogplex."""
    async with hosted_site(home, store, mogplex) as made:
        yield made
