"""The SQLite database of a data directory: opening, migrating, and calling it off the event loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread
from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from mogplex_mcp.settings import Settings

SCHEMA = "0001"
"""The newest revision in ``migrations/versions``. Known here so that opening a current database imports no Alembic."""

_BUSY_MS = 10_000
_MIGRATION_WAIT = 60.0
_THREADS = 8

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseError(Exception):
    """The database cannot be used; the message says what to do."""


class Database:
    """One engine on one SQLite file, shared by every thread of this process."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path = path
        self._engine = engine
        self._writer = engine.execution_options(mogplex_write=True)
        self._limiter = anyio.CapacityLimiter(_THREADS)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one consistent state."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection that holds the write lock from its first statement, so that what it reads stays true."""
        with self._writer.begin() as connection:
            yield connection

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a function that uses this database in a thread; the event loop never waits for the disk."""
        return await anyio.to_thread.run_sync(partial(function, *args, **kwargs), limiter=self._limiter)

    def close(self) -> None:
        self._engine.dispose()


def make_private_directory(path: Path) -> None:
    """Makes a directory and its missing parents, 0700. One that exists is left as it is."""
    for part in reversed([path, *path.parents]):
        if not part.exists():
            part.mkdir(mode=0o700, exist_ok=True)


def open_database(settings: Settings) -> Database:
    """Opens the data directory's database, making or migrating it first.

    Raises:
        DatabaseError: it was made by a newer version of this program, it is no database, or another process has been
            migrating it for more than a minute.
    """
    make_private_directory(settings.data_dir)
    path = settings.data_dir / "local.db"
    # SQLite gives its -wal and -shm files the mode of the database file. One that exists must not be opened here:
    # closing any descriptor of it drops this process's POSIX locks, and then another process that closes its database
    # deletes the log under us ("How To Corrupt An SQLite Database File", section 2.2).
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    engine = _engine(path)
    try:
        if _revision(engine) != SCHEMA:
            _migrate(engine, path)
    except DBAPIError as error:
        engine.dispose()
        raise DatabaseError(f"{path} cannot be opened: {error.orig}") from error
    except BaseException:
        engine.dispose()
        raise
    return Database(path, engine)


def _engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": _BUSY_MS / 1000},
        pool_size=_THREADS,
        hide_parameters=True,  # prompts and tokens' hashes stay out of exceptions and so out of logs
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by sqlite3 behind our back
        cursor = connection.cursor()
        for pragma in (f"busy_timeout={_BUSY_MS}", "synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("mogplex_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _revision(engine: Engine) -> str | None:
    with engine.begin() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return found


def _migrate(engine: Engine, path: Path) -> None:
    from alembic import command  # noqa: PLC0415 - a third of a second that only a migration needs
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    try:
        with FileLock(path.with_name("migration.lock"), timeout=_MIGRATION_WAIT, mode=0o600, fallback_to_soft=False):
            found = _revision(engine)  # another process may have been faster
            if found is not None and found not in known:
                raise DatabaseError(
                    f"{path} was made by a newer mogplex-mcp (schema {found}; this one knows {SCHEMA}). "
                    "Upgrade mogplex-mcp, or choose another --data-dir."
                )
            _use_write_ahead_log(engine)
            with engine.execution_options(mogplex_write=True).begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
    except Timeout as error:
        raise DatabaseError(
            f"Another process has been migrating {path} for {_MIGRATION_WAIT:.0f} s; try again."
        ) from error


def _use_write_ahead_log(engine: Engine) -> None:
    """Once, under the lock: the mode stays with the file, and changing it does not wait for other connections."""
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
