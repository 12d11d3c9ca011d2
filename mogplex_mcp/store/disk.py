"""What the disk refuses, in one sentence that says what to do about it."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

_REFUSALS = {
    errno.EROFS: "{path} is on a read-only file system",
    errno.EACCES: "permission is denied for {path}",
    errno.EPERM: "permission is denied for {path}",
    errno.ENOSPC: "the disk of {path} is full",
    errno.EDQUOT: "the disk quota for {path} is used up",
    errno.ENOTDIR: "{path} is a file, not a directory, or lies below one",
    errno.EEXIST: "{path} is a file, not a directory, or lies below one",
    errno.ENOENT: "{path} cannot be made",
    errno.ENAMETOOLONG: "{path} is too long",
    errno.ELOOP: "{path} has links that go round in a circle",
    errno.EIO: "the disk of {path} has an error",
}
_SQLITE_REFUSALS = {
    sqlite3.SQLITE_CANTOPEN: "the database {path} cannot be opened",
    sqlite3.SQLITE_READONLY: "the database {path} cannot be written",
    sqlite3.SQLITE_PERM: "permission is denied for the database {path}",
    sqlite3.SQLITE_FULL: "the disk of the database {path} is full",
    sqlite3.SQLITE_IOERR: "the disk of the database {path} has an error",
}
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""What need not name a file to be about the data directory: nothing else is written."""
_PRIMARY = 0xFF
"""SQLite's extended result codes carry the plain one in their lowest byte (sqlite.org/rescode.html)."""


class DiskError(Exception):
    """The data directory cannot be used; the message says why, and what to do."""


def disk_refusal(error: OSError | sqlite3.Error, directory: Path, path: Path | None = None) -> str | None:
    """The sentence for a failure of the disk; None for another failure.

    Args:
        error: what was raised.
        directory: the data directory.
        path: what it was raised for, where the error itself does not tell.
    """
    if isinstance(error, OSError):
        path = _named(error) or path
        if path is not None and not (path.is_relative_to(directory) or directory.is_relative_to(path)):
            return None
        refusal = _REFUSALS.get(error.errno or 0) if path is not None or error.errno in _OF_THE_DISK else None
    else:
        refusal = _SQLITE_REFUSALS.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY)
    if refusal is None:
        return None
    reason = refusal.format(path=path or directory)
    return f"The data directory {directory} cannot be used because {reason}; choose another one with --data-dir."


def _named(error: OSError) -> Path | None:
    named: object = error.filename
    return Path(named) if isinstance(named, str | os.PathLike) else None


@contextmanager
def disk_refusals_told(directory: Path) -> Iterator[None]:
    """Turns failures of the disk that a person can mend into words.

    Raises:
        DiskError: instead of such an `OSError` or SQLite error. One that this program has worded itself (it has no
            ``errno``) stays what it is.
    """
    try:
        yield
    except OSError as error:
        if (said := disk_refusal(error, directory)) is None:
            raise
        raise DiskError(said) from error
    except DBAPIError as error:
        if not isinstance(error.orig, sqlite3.Error) or (said := disk_refusal(error.orig, directory)) is None:
            raise
        raise DiskError(said) from error
