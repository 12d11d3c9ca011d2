"""A database of this server, SQLite or PostgreSQL: opening, migrating, and calling it off the event loop."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import anyio
import anyio.to_thread
from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, Engine, Table, Text, column, create_engine, event, inspect, select, table, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError

from mogplex_mcp.store.database_url import described, without_secrets
from mogplex_mcp.store.disk import disk_refusal

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

_BUSY_MS = 10_000
_CONNECT_SECONDS = 10
_STATEMENT_MS = 30_000
_MIGRATION_WAIT = 60.0
_THREADS = 8
_MIGRATION_KEY = 0x6D6F67706C6578

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseError(Exception):
    """The database cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Schema:
    """One set of tables and the migrations that make it."""

    head: str
    """The newest revision of ``versions``. Known beforehand, so that opening a current database imports no Alembic."""
    versions: Path
    """The directory of its revisions."""
    version_table: str = "alembic_version"
    """The table that holds the revision; of its own where a database may be shared with other programs."""
    advice: str = "Upgrade mogplex-mcp, or choose another --data-dir."
    """What to do about a newer schema."""


class Database:
    """One engine on one database, shared by every thread of this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(mogplex_write=True)
        self._reader = engine
        if engine.dialect.name == "postgresql":
            self._reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._limiter = anyio.CapacityLimiter(_THREADS)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one consistent state."""
        with self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection whose changes are all kept or, if the block raises, all undone.

        SQLite: it holds the write lock from its first statement, so what it reads stays true. PostgreSQL: only what
        it locked stays true (``with_for_update``, :func:`serialize`).
        """
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


def serialize(connection: Connection, key: int) -> None:
    """Lets one write transaction at a time go on from here, among those that name the same key.

    On SQLite write transactions always are one at a time.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=key))


def insert_into(connection: Connection, target: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT of this database's own kind, which can say what happens ``ON CONFLICT``."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - 50 ms that SQLite's users need not wait

        return postgresql.insert(target)
    return sqlite.insert(target)


def open_engine(url: URL, schema: Schema) -> Engine:
    """Connects to a database, making or migrating it first. An SQLite file is made 0600, its directory 0700.

    Raises:
        DatabaseError: it was made by a newer version of this program, it cannot be reached, it is no database, or
            another process has been migrating it for more than a minute. No message carries the URL's password.
    """
    engine = _sqlite(url) if url.drivername == "sqlite" else _postgresql(url)
    try:
        with engine.begin() as connection:
            found = _revision(connection, schema)
        if found != schema.head:
            _migrate(engine, schema)
    except DBAPIError as error:
        engine.dispose()
        if isinstance(error.orig, sqlite3.Error):
            path = Path(url.database or "")
            if (said := disk_refusal(error.orig, path.parent, path)) is not None:
                raise DatabaseError(said) from None
        raise DatabaseError(f"{described(url)} cannot be opened: {without_secrets(str(error.orig), url)}") from None
    except BaseException:
        engine.dispose()
        raise
    return engine


def _sqlite(url: URL) -> Engine:
    path = Path(url.database or "")
    make_private_directory(path.parent)
    # SQLite gives its -wal and -shm files the mode of the database file. One that exists must not be opened here:
    # closing any descriptor of it drops this process's POSIX locks, and then another process that closes its database
    # deletes the log under us ("How To Corrupt An SQLite Database File", section 2.2).
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    engine = create_engine(
        url,
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


def _postgresql(url: URL) -> Engine:
    engine = create_engine(
        url,
        connect_args={"connect_timeout": _CONNECT_SECONDS},
        pool_size=_THREADS,
        pool_pre_ping=True,  # a server that was restarted costs no request
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        # As long as SQLite's waiting for a lock, so that a stuck process holds nobody for ever.
        cursor.execute(f"SET lock_timeout = {_BUSY_MS}")
        cursor.execute(f"SET statement_timeout = {_STATEMENT_MS}")
        cursor.execute(f"SET idle_in_transaction_session_timeout = {_STATEMENT_MS}")
        cursor.close()
        connection.commit()

    return engine


def _revision(connection: Connection, schema: Schema) -> str | None:
    if not inspect(connection).has_table(schema.version_table):
        return None
    versions = table(schema.version_table, column("version_num", Text))
    return connection.execute(select(versions.c.version_num)).scalar()


def _migrate(engine: Engine, schema: Schema) -> None:
    waited = f"Another process has been migrating {described(engine.url)} for {_MIGRATION_WAIT:.0f} s; try again."
    if engine.dialect.name == "sqlite":
        lock = Path(engine.url.database or "").with_name("migration.lock")
        try:
            with FileLock(lock, timeout=_MIGRATION_WAIT, mode=0o600, fallback_to_soft=False):
                _use_write_ahead_log(engine)
                with engine.execution_options(mogplex_write=True).begin() as connection:
                    _upgrade(connection, schema)
        except Timeout as error:
            raise DatabaseError(waited) from error
        return
    with engine.begin() as connection:
        for setting in ("lock_timeout", "statement_timeout"):
            connection.execute(text(f"SET LOCAL {setting} = {_MIGRATION_WAIT * 1000:.0f}"))
        try:
            serialize(connection, _MIGRATION_KEY)
        except OperationalError as error:
            raise DatabaseError(waited) from error
        _upgrade(connection, schema)


def _upgrade(connection: Connection, schema: Schema) -> None:
    from alembic import command  # noqa: PLC0415 - a third of a second that only a migration needs
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config(attributes={"connection": connection, "version_table": schema.version_table})
    for option, value in (
        ("script_location", Path(__file__).parent / "migrations"),
        ("version_locations", schema.versions),
        ("path_separator", "newline"),
    ):
        config.set_main_option(option, str(value).replace("%", "%%"))
    found = _revision(connection, schema)  # another process may have been faster
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise DatabaseError(
            f"{described(connection.engine.url)} was made by a newer mogplex-mcp (schema {found}; this one knows "
            f"{schema.head}). {schema.advice}"
        )
    command.upgrade(config, "head")


def _use_write_ahead_log(engine: Engine) -> None:
    """Once, under the lock: the mode stays with the file, and changing it does not wait for other connections."""
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
