"""`auth.json`: changing our key of it while the Mogplex CLI, which does not know our lock, may write the rest."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable

from .auth_file import KEY, auth_path, read_whole, stamp_of
from .file_lock import FileLock
from .grant import Grant, Record

_WAIT = 10.0  # s for the other shims' writing


def state_path(home: str, name: str) -> str:
    """A file of our own beside auth.json, in a folder that only we can enter."""
    folder = os.path.join(home, "mcp-shim")
    for path in (home, folder):
        os.makedirs(path, 0o700, exist_ok=True)
        found = os.stat(path)
        if os.name == "posix" and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
            os.chmod(path, 0o700)
    return os.path.join(folder, name)


def write_private(path: str, content: bytes) -> None:
    """Write a whole file with mode 0600 under a name that must be new, and wait until the disk has it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_private(path: str, content: bytes, may: Callable[[], bool] = lambda: True) -> bool:
    """Put a file of mode 0600 in place of another at once; False, leaving all as it was, when `may` then says no."""
    beside = f"{path}.{os.urandom(6).hex()}.tmp"
    try:
        write_private(beside, content)
        if not may():
            return False
        os.replace(beside, path)
    finally:
        if os.path.lexists(beside):
            os.unlink(beside)
    _sync_folder(os.path.dirname(path))
    return True


def _sync_folder(folder: str) -> None:
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def update(home: str, change: Callable[[Record], None]) -> None:
    """Apply `change` to our section of the file as it is at the moment of writing.

    `change` may be called several times, each time on what was read last.
    Raises OSError when the file cannot be written, TimeoutError when the other shims do not let us.
    """
    lock = FileLock(state_path(home, "auth.lock"))
    if not lock.acquire(_WAIT):
        raise TimeoutError("another process keeps auth.json locked")
    try:
        path = auth_path(home)
        written = False
        while not written:
            stamp = stamp_of(path)
            whole = read_whole(path)
            held = whole.get(KEY)
            section: Record = held if isinstance(held, dict) else {}
            change(section)
            whole[KEY] = section
            content = json.dumps(whole, indent=2).encode() + b"\n"
            # The moment between this look and the rename is all that is left to a writer who knows no lock.
            written = replace_private(path, content, lambda seen=stamp: stamp_of(path) == seen)  # type: ignore[misc]
    finally:
        lock.release()


def inner(record: Record, *names: str) -> Record:
    """The object at this path of names, made on the way where there is none."""
    for name in names:
        value = record.get(name)
        if not isinstance(value, dict):
            value = record[name] = {}
        record = value
    return record


def keep_grant(home: str, grant: Grant) -> None:
    """Store a grant in place of every other one for the same MCP server URL."""

    def change(section: Record) -> None:
        forget(section, str(grant.record.get("url")))
        inner(section, "grants", grant.issuer)[grant.resource] = grant.record

    update(home, change)


def forget(section: Record, url: str) -> None:
    """Drop the tokens for one MCP server URL; the registrations stay."""
    grants = inner(section, "grants")
    for issuer in list(grants):
        resources = inner(grants, issuer)
        for resource in [name for name in resources if inner(resources, name).get("url") == url]:
            del resources[resource]
        if not resources:
            del grants[issuer]
