"""A short data directory, and an environment without this machine's own settings."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from mogplex_mcp.local.app import create_app
from mogplex_mcp.local.database import Database, open_database
from mogplex_mcp.local.repos import Repo, add_repo
from mogplex_mcp.local.runner import Runner
from mogplex_mcp.local.tokens import create_token
from tests.local.hosting import Answering, Host, client_for, daemons_of, hosting, make_repository, settings_for


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("MOGPLEX_", "GIT_")):
            monkeypatch.delenv(name)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Short enough for a Unix socket, wherever pytest keeps its own directories."""
    path = Path(tempfile.mkdtemp(prefix="mogplex-")).resolve()
    yield path
    for daemon in daemons_of(path):
        daemon.kill()
        daemon.wait(10)
    shutil.rmtree(path)


@pytest.fixture
def db(data_dir: Path) -> Iterator[Database]:
    database = open_database(settings_for(data_dir))
    yield database
    database.close()


@pytest.fixture(scope="module")
def standing() -> Iterator[tuple[Database, Repo, str]]:
    """One data directory for the tests of a module that start nothing."""
    path = Path(tempfile.mkdtemp(prefix="mogplex-")).resolve()
    database = open_database(settings_for(path))
    repo = add_repo(database, make_repository(path / "project", commits=2), "person/project")
    yield database, repo, create_token(database, "test")[0]
    database.close()
    shutil.rmtree(path)


@pytest.fixture
async def api(standing: tuple[Database, Repo, str]) -> AsyncIterator[Answering]:
    """The application alone: what it records, nobody executes."""
    db, repo, token = standing
    settings = settings_for(db.path.parent)
    app = create_app(db, Runner(db, settings), settings)
    async with client_for(httpx2.ASGITransport(app), token) as client:
        yield Answering(client, repo, db)


@pytest.fixture
async def host(data_dir: Path) -> AsyncIterator[Host]:
    async with hosting(data_dir) as opened:
        yield opened
