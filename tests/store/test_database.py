"""Opening the store's database: made once, migrated by one process at a time, refused when it is newer."""

from __future__ import annotations

import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import column, create_engine, table
from sqlalchemy.exc import DBAPIError, IntegrityError

from mogplex_mcp.settings import Settings
from mogplex_mcp.store.database import Database, DatabaseError
from mogplex_mcp.store.database_url import DatabaseUrlError, described, parse_database_url, without_secrets
from mogplex_mcp.store.store import SCHEMA, Store, open_store
from mogplex_mcp.store.tables import accounts, metadata
from tests.store.postgresql import new_database

OPEN = (
    "import sys; from pathlib import Path; from pydantic import SecretStr;"
    "from mogplex_mcp.settings import Settings; from mogplex_mcp.store.store import open_store;"
    "from mogplex_mcp.store.accounts import sign_in_account;"
    "store = open_store(Settings(mcp_data_dir=Path(sys.argv[1]),"
    " mcp_database_url=SecretStr(sys.argv[2]) if sys.argv[2] else None));"
    "print(store.vault.keyed_hash('x'), sign_in_account(store, issuer='i', subject='s', label='l').id)"
)


def opened_at_once(data_dir: Path, url: str) -> list[str]:
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN, str(data_dir), url], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    return outputs


def test_the_migrations_make_the_tables_that_the_code_uses(store: Store) -> None:
    with store.db.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": SCHEMA.version_table})
        assert compare_metadata(context, metadata) == []


def test_the_newest_migration_is_the_one_the_code_knows() -> None:
    config = Config()
    for option, value in (
        ("script_location", str(SCHEMA.versions.parent)),
        ("version_locations", str(SCHEMA.versions)),
        ("path_separator", "newline"),
    ):
        config.set_main_option(option, value)
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA.head


def test_processes_that_open_a_new_sqlite_store_at_once_agree(tmp_path: Path) -> None:
    assert len(set(opened_at_once(tmp_path / "data", ""))) == 1
    for file in (tmp_path / "data").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_processes_that_open_a_new_postgresql_store_at_once_agree(tmp_path: Path) -> None:
    with new_database() as url:
        assert len(set(opened_at_once(tmp_path / "data", url.render_as_string(hide_password=False)))) == 1


def test_a_newer_schema_is_refused_with_what_to_do(settings: Settings, store: Store) -> None:
    versions = table(SCHEMA.version_table, column("version_num"))
    with store.db.write() as connection:
        connection.execute(versions.update().values(version_num="9999"))
    try:
        with pytest.raises(DatabaseError, match=r"made by a newer mogplex-mcp \(schema 9999; .*Upgrade"):
            open_store(settings)
    finally:
        with store.db.write() as connection:
            connection.execute(versions.update().values(version_num=SCHEMA.head))


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with new_database() as url:
        text = url.render_as_string(hide_password=False)
        engine = create_engine(url.set(drivername="postgresql+psycopg"))
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE grants (x int)")  # somebody else's
        with pytest.raises(DatabaseError, match='"grants" already exists'):
            open_store(Settings(mcp_data_dir=tmp_path, mcp_database_url=SecretStr(text)))
        with engine.begin() as connection:
            assert connection.exec_driver_sql("SELECT to_regclass('accounts')").scalar() is None
            connection.exec_driver_sql("DROP TABLE grants")
        engine.dispose()
        open_store(Settings(mcp_data_dir=tmp_path, mcp_database_url=SecretStr(text))).close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("this is no database, whatever its name says" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        open_store(Settings(mcp_data_dir=tmp_path))


def test_the_url_may_name_an_sqlite_file(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere" / "odd name?#%.db"
    url = f"sqlite:///{str(file).replace('%', '%25').replace('?', '%3F')}"
    with closing(open_store(Settings(mcp_data_dir=tmp_path / "data", mcp_database_url=SecretStr(url)))):
        assert [path.suffix for path in (tmp_path / "elsewhere").glob("*.db")] == [".db"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cr%40t@127.0.0.1:1/none",
        "postgresql://127.0.0.1:1/none?user=me&password=s3cr%40t",
        "postgres://me:s3cr%40t@no-such-host.invalid/none",
        "postgresql://me:s3cr@t@127.0.0.1:1/none",
        "postgresql://me:s3cr/t@127.0.0.1:1/none",
        "postgresql://me:s3cr?t@127.0.0.1:1/none",
        "postgresql://me:s3cr#t@127.0.0.1:1/none",
        "postgresql://me:s3cr:t@127.0.0.1:notaport/none",
        "mysql://me:s3cret@127.0.0.1/none",
        "s3cret",
    ],
)
def test_no_error_carries_the_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        open_store(Settings(mcp_data_dir=tmp_path, mcp_database_url=SecretStr(url)))
    seen = "".join(str(error) for error in (caught.value, caught.value.__cause__) if error is not None)
    assert "s3cr" not in seen
    assert caught.value.__cause__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_name_of_postgresql_means_the_one_driver(scheme: str) -> None:
    assert parse_database_url(f"{scheme}://me:pw@h:1/d").drivername == "postgresql+psycopg"


@pytest.mark.parametrize("url", ["", "mysql://h/d", "sqlite://", "sqlite:///:memory:", "http://h/d", "/some/file.db"])
def test_what_is_no_database_that_can_be_used_is_refused(url: str) -> None:
    with pytest.raises(DatabaseUrlError, match=r"postgresql://user:password@host"):
        parse_database_url(url)


def test_a_database_is_described_without_user_password_and_parameters() -> None:
    url = parse_database_url("postgres://me:pw@db.example:6432/app?password=pw2&sslmode=require")
    assert described(url) == "postgresql://db.example:6432/app"
    assert without_secrets("pw and pw2\nfailed", url) == "… and …2 failed"


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_a_connection_for_reading_cannot_write(store: Store) -> None:
    with pytest.raises(DBAPIError, match="read-only"), store.db.read() as connection:
        connection.execute(accounts.delete())


def test_a_transaction_that_raises_is_undone(store: Store) -> None:
    row = {"id": "a", "issuer": "i", "subject": "s", "label": "secret label", "created_at": 1, "signed_in_at": 1}

    def twice() -> None:
        with store.db.write() as connection:
            connection.execute(accounts.insert().values(row))
            connection.execute(accounts.insert().values(row))

    with pytest.raises(IntegrityError) as caught:
        twice()
    assert "secret label" not in str(caught.value)
    with store.db.read() as connection:
        assert connection.execute(accounts.select()).all() == []


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_a_server_that_dropped_our_connections_costs_no_request(settings: Settings, store: Store) -> None:
    assert settings.mcp_database_url is not None
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
    other = create_engine(settings.mcp_database_url.get_secret_value().replace("postgresql:", "postgresql+psycopg:"))
    with other.begin() as connection:
        own = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        connection.exec_driver_sql(end, (own,))
    other.dispose()
    with store.db.write() as connection:
        assert connection.execute(accounts.select()).all() == []


async def test_it_is_called_off_the_event_loop(store: Store) -> None:
    def count(database: Database) -> int:
        with database.read() as connection:
            return len(connection.execute(accounts.select()).all())

    assert await store.db.call(count, store.db) == 0
