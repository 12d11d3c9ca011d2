"""The SQLite database of a data directory: its schema, and where it lies. The engine is ``store/database.py``'s."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, Engine

from mogplex_mcp.settings import Settings
from mogplex_mcp.store import database
from mogplex_mcp.store.database import DatabaseError, make_private_directory

__all__ = ["SCHEMA", "Database", "DatabaseError", "make_private_directory", "open_database"]

SCHEMA = "0001"
"""The newest revision in ``migrations/versions``."""

_SCHEMA = database.Schema(head=SCHEMA, versions=Path(__file__).parent / "migrations" / "versions")


class Database(database.Database):
    """The embedded Mogplex's database."""

    def __init__(self, path: Path, engine: Engine) -> None:
        super().__init__(engine)
        self.path = path


def open_database(settings: Settings) -> Database:
    """Opens the data directory's database, making or migrating it first.

    Raises:
        DatabaseError: it was made by a newer version of this program, it is no database, or another process has been
            migrating it for more than a minute.
    """
    path = settings.data_dir / "local.db"
    return Database(path, database.open_engine(URL.create("sqlite", database=str(path)), _SCHEMA))
