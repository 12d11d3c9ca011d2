"""The database: made once, migrated under a lock, private, and with promises that no code path can break."""

from __future__ import annotations

import stat
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import IntegrityError, SAWarning

from mogplex_mcp.local import events as event_log
from mogplex_mcp.local import migrations, runs
from mogplex_mcp.local.database import SCHEMA, Database, DatabaseError, make_private_directory, open_database
from mogplex_mcp.local.events import NewEvent
from mogplex_mcp.local.repos import add_repo
from mogplex_mcp.local.runs import NewRun, Run
from mogplex_mcp.local.tables import metadata
from tests.local.hosting import make_repository, settings_for


def recorded(db: Database, data_dir: Path, key: str = "k", branch: str = "b") -> Run:
    repo = add_repo(db, make_repository(data_dir / f"repo-{key}"), f"o/{key}")
    new = NewRun(
        repo_id=repo.id,
        idempotency_key=key,
        body_sha256="x",
        harness="codex",
        prompt="a prompt that stays here",
        base_branch="main",
        working_branch=branch,
        create_branch=True,
        branch_note=None,
        root_directory=None,
        conversation_id=None,
        workspace_session_id=None,
        mode=None,
    )
    with db.write() as connection:
        return runs.record(connection, new, 1_000)


def test_the_migrations_make_the_tables_that_the_code_uses(db: Database) -> None:
    with db.read() as connection, warnings.catch_warnings():
        # It cannot compare the index on lower(full_name); the names' uniqueness has its own test.
        warnings.simplefilter("ignore", SAWarning)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_newest_migration_is_the_one_the_code_knows() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA


def test_everything_is_private(db: Database, data_dir: Path) -> None:
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    for file in data_dir.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_directories_are_made_private_and_existing_ones_left(data_dir: Path) -> None:
    existing = data_dir / "existing"
    existing.mkdir(mode=0o755)
    make_private_directory(existing / "a" / "b")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (existing, existing / "a", existing / "a" / "b")] == [
        0o755,
        0o700,
        0o700,
    ]


def test_processes_that_open_a_new_directory_at_once_all_succeed(data_dir: Path) -> None:
    source = (
        "import sys; from pathlib import Path; from mogplex_mcp.settings import Settings;"
        "from mogplex_mcp.local.database import open_database;"
        "from mogplex_mcp.local.tokens import create_token;"
        "create_token(open_database(Settings(mcp_data_dir=Path(sys.argv[1]))), 'x')"
    )
    processes = [subprocess.Popen([sys.executable, "-c", source, str(data_dir)]) for _ in range(5)]
    assert [process.wait(60) for process in processes] == [0] * 5
    db = open_database(settings_for(data_dir))
    with db.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM tokens").scalar() == 5
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
    db.close()


def test_a_newer_schema_is_refused_with_what_to_do(db: Database, data_dir: Path) -> None:
    with db.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match=r"newer mogplex-mcp \(schema 9999; .*Upgrade"):
        open_database(settings_for(data_dir))


def test_a_file_that_is_no_database_is_refused(data_dir: Path) -> None:
    (data_dir / "local.db").write_text("this is no database, whatever its name says" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        open_database(settings_for(data_dir))


@pytest.mark.parametrize("status", ["success", "failed", "cancelled"])
def test_a_terminal_status_is_final_whatever_the_code_does(db: Database, data_dir: Path, status: str) -> None:
    run = recorded(db, data_dir)
    with db.write() as connection:
        ended = runs.finish(connection, run, status=status, error="why", payload={}, now=2_000)
        assert runs.finish(connection, run, status="failed", error="again", payload={}, now=3_000) == ended
    for other in ("pending", "streaming", "success" if status != "success" else "failed"):
        with pytest.raises(IntegrityError, match="does not change its status"), db.write() as connection:
            connection.exec_driver_sql("UPDATE runs SET status = ?", (other,))


@pytest.mark.parametrize("statement", ["UPDATE events SET message = 'other'", "DELETE FROM events"])
def test_events_can_only_be_appended(db: Database, data_dir: Path, statement: str) -> None:
    run = recorded(db, data_dir)
    with db.write() as connection:
        event_log.append(connection, run.id, [NewEvent("log", "first")], 1_000)
    with pytest.raises(IntegrityError, match="append-only"), db.write() as connection:
        connection.exec_driver_sql(statement)


def test_two_unfinished_runs_cannot_share_a_branch(db: Database, data_dir: Path) -> None:
    run = recorded(db, data_dir)
    new = NewRun(run.repo_id, "k2", "x", "codex", "p", "main", run.working_branch, True, *[None] * 5)
    with pytest.raises(IntegrityError), db.write() as connection:
        runs.record(connection, new, 2_000)
    with db.write() as connection:
        runs.finish(connection, run, status="success", error=None, payload={}, now=2_000)
        runs.record(connection, new, 3_000)


def test_a_database_error_shows_no_values(db: Database, data_dir: Path) -> None:
    run = recorded(db, data_dir)
    new = NewRun(run.repo_id, "k", "x", "codex", "a prompt that stays here", "main", "c", True, *[None] * 5)
    with pytest.raises(IntegrityError) as caught, db.write() as connection:
        runs.record(connection, new, 2_000)
    assert "a prompt that stays here" not in str(caught.value)


def test_a_run_is_claimed_once_and_in_order(db: Database, data_dir: Path) -> None:
    first, second = recorded(db, data_dir, "k1"), recorded(db, data_dir, "k2")
    claimed = []
    for _ in range(3):
        with db.write() as connection:
            claimed.append(runs.claim_next(connection, 5_000))
    assert [run and run.id for run in claimed] == [first.id, second.id, None]
