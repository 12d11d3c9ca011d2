"""Which database is meant by a URL, and how to speak of it without its password."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVER = "postgresql+psycopg"
_FORMS = "postgresql://user:password@host:5432/database, or sqlite:////directory/file.db"


class DatabaseUrlError(ValueError):
    """The URL names no database that can be used; the message carries nothing of it that may be secret."""


def parse_database_url(text: str) -> URL:
    """The database a URL names: PostgreSQL by psycopg whatever driver was written, or an SQLite file.

    Args:
        text: ``postgresql://…``, ``postgres://…`` (as many hosts print it), or ``sqlite:///path``.

    Raises:
        DatabaseUrlError: it is neither, or cannot be read.
    """
    try:
        url = make_url(text.strip())
        # An unescaped @ or / in a password moves its rest into the host, the port or the path.
        readable = "@" not in (url.host or "") and urlsplit(text).netloc.count("@") <= 1
    except (ArgumentError, ValueError):
        readable = False
    if not readable:
        # Without the cause: what could not be read may be a piece of the password.
        raise DatabaseUrlError(
            f"The database URL cannot be read; it looks like {_FORMS}, with special characters of the password "
            "percent-encoded (@ is %40, / is %2F, : is %3A)."
        ) from None
    kind = url.drivername.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        return url.set(drivername=_DRIVER)
    if kind == "sqlite" and url.database and url.database != ":memory:":
        return sqlite_url(Path(url.database))
    raise DatabaseUrlError(f"This database cannot be used; the database URL looks like {_FORMS}.")


def sqlite_url(path: Path) -> URL:
    """The URL of an SQLite file."""
    return URL.create("sqlite", database=str(path.absolute()))


def described(url: URL) -> str:
    """A database as messages and logs may name it: no password, no parameters."""
    if url.drivername == "sqlite":
        return url.database or ""
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{url.host or ''}{port}/{url.database or ''}"


def without_secrets(message: str, url: URL) -> str:
    """A driver's message with the URL's password taken out, should it stand there."""
    password = url.password if url.password is None else str(url.password)
    asked = url.query.get("password")
    for secret in (password, *((asked,) if isinstance(asked, str) else asked or ())):
        for form in {secret, unquote(secret)} if secret else ():
            message = message.replace(form, "…")
    return " ".join(message.split())
