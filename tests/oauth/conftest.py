"""Fixtures of the authorization server's tests."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mogplex_mcp.auth.authorization import create_authorization
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store, open_store
from tests.oauth.document_host import Certificate, DocumentHost, document_host, make_certificate
from tests.oauth.site import Clock, Site, running


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose database has been made: a third of a second that each test would wait."""
    home = tmp_path_factory.mktemp("home")
    open_store(Settings(home=home)).close()
    return home


@pytest.fixture
def settings(tmp_path: Path, migrated: Path) -> Settings:
    """A data directory of its own."""
    shutil.copytree(migrated, tmp_path / "home")
    return Settings(home=tmp_path / "home")


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    """A store of its own."""
    opened = await asyncio.to_thread(open_store, settings)
    yield opened
    await asyncio.to_thread(opened.close)


@pytest.fixture
async def site(settings: Settings, store: Store) -> AsyncIterator[Site]:
    """A running authorization server."""
    authorization = await asyncio.to_thread(create_authorization, settings, store)
    async with running(store, authorization, settings) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine uses, these hosts are on it."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate that the fetcher of these tests trusts."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def host(certificate: Certificate) -> AsyncIterator[DocumentHost]:
    """A host of documents."""
    async with document_host(certificate) as made:
        yield made


@pytest.fixture
def clock(store: Store) -> Clock:
    """Time that passes when a test says so."""
    return Clock(store)


@pytest.fixture
async def timed(settings: Settings, store: Store, clock: Clock) -> AsyncIterator[Site]:
    """A site whose store goes by the test's clock."""
    at = replace(store, clock=clock)
    async with running(at, await asyncio.to_thread(create_authorization, settings, at), settings) as made:
        yield made
