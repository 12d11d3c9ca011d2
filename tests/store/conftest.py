"""Every test of the store runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine

from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store, open_store
from mogplex_mcp.store.tables import metadata
from tests.store.clock import Clock
from tests.store.postgresql import new_database


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MOGPLEX_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """One database for this test process; each test finds its tables empty."""
    with new_database() as url:
        yield url.render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Of a new data directory, with an empty database of either kind."""
    if request.param == "sqlite":
        return Settings(mcp_data_dir=tmp_path / "data")
    url = request.getfixturevalue("postgresql_url")
    empty(url)
    return Settings(mcp_data_dir=tmp_path / "data", mcp_database_url=SecretStr(url))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(settings: Settings, clock: Clock) -> Iterator[Store]:
    with closing(open_store(settings)) as opened:
        yield replace(opened, clock=clock)


def empty(url: str) -> None:
    """Deletes every row, if there are tables yet."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        if connection.exec_driver_sql("SELECT to_regclass('accounts')").scalar() is not None:
            for table in reversed(metadata.sorted_tables):  # much faster than TRUNCATE on tables this small
                connection.execute(table.delete())
    engine.dispose()
