"""A disk that refuses is told in one sentence that says what to do; other failures stay what they are."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine
from sqlalchemy.exc import OperationalError

from mogplex_mcp.store.disk import DiskError, disk_refusals_told

DATA = Path("/home/person/.mogplex/mcp")


@pytest.mark.parametrize(
    ("number", "path", "said"),
    [
        (errno.EROFS, DATA / "local.db", f"{DATA}/local.db is on a read-only file system"),
        (errno.EACCES, DATA, f"permission is denied for {DATA}"),
        (errno.EACCES, DATA.parent, f"permission is denied for {DATA.parent}"),
        (errno.ENOSPC, None, f"the disk of {DATA} is full"),
        (errno.EDQUOT, DATA / "daemon.log", f"the disk quota for {DATA}/daemon.log is used up"),
    ],
)
def test_a_refusal_names_the_directory_and_the_option(number: int, path: Path | None, said: str) -> None:
    with pytest.raises(DiskError) as told, disk_refusals_told(DATA):
        raise OSError(number, os.strerror(number), *([] if path is None else [path]))
    assert str(told.value) == (
        f"The data directory {DATA} cannot be used because {said}; choose another one with --data-dir."
    )


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "git"),
        PermissionError(errno.EACCES, "Permission denied", "/etc/mogplex-clients.json"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError("worded by this program"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    ],
    ids=repr,
)
def test_what_is_not_about_the_data_directory_stays_what_it_is(error: OSError) -> None:
    with pytest.raises(OSError) as raised, disk_refusals_told(DATA):  # noqa: PT011 - which one is compared below
        raise error
    assert raised.value is error


def test_a_database_that_finds_no_room_says_so(tmp_path: Path) -> None:
    engine = create_engine(URL.create("sqlite", database=str(tmp_path / "x.db")))
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 2")
        connection.exec_driver_sql("CREATE TABLE t (x)")
        with pytest.raises(DiskError, match="is full; choose another one"), disk_refusals_told(tmp_path):
            connection.exec_driver_sql("INSERT INTO t VALUES (randomblob(1000000))")
        with pytest.raises(OperationalError), disk_refusals_told(tmp_path):
            connection.exec_driver_sql("SELECT * FROM nothing")
    engine.dispose()
