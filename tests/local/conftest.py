"""A short data directory, and an environment without this machine's own settings."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mogplex_mcp.local.database import Database, open_database
from tests.local.hosting import Host, daemons_of, hosting, settings_for


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


@pytest.fixture
async def host(data_dir: Path) -> AsyncIterator[Host]:
    async with hosting(data_dir) as opened:
        yield opened
