"""`auth.json`: reading it. The file is the Mogplex CLI's too; ours is one top-level key.

Source: Mogplex documentation, /cli/guides/authentication.
"""

from __future__ import annotations

import json
import os
import threading
import time

from .grant import Grant, Record, grant_for, is_bearer, table
from .log import say

KEY = "mogplex-mcp-shim"
_BROKEN_AFTER = 1.0  # s: the CLI may be writing it in place
_MAX_BYTES = 16 * 1024 * 1024
# The names under which command lines keep a token; the CLI documents only that there is a `mogplex` credential.
_CLI_TOKEN_FIELDS = ("access_token", "accessToken", "access", "token", "api_key", "apiKey", "key")

Stamp = tuple[int, int, int]


def auth_path(home: str) -> str:
    """Where the file is: the target, if it is a symbolic link."""
    return os.path.realpath(os.path.join(home, "auth.json"))


def stamp_of(path: str) -> Stamp | None:
    """What changes whenever the file does, or None if there is no file."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def parse(raw: bytes) -> Record | None:
    """The file's object, or None when this is not one."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_whole(path: str) -> Record:
    """Read the file, waiting while somebody writes it; a file that stays broken is moved aside and named.

    Raises OSError when it cannot be read.
    """
    deadline = time.monotonic() + _BROKEN_AFTER
    while True:
        stamp = stamp_of(path)
        if stamp is None:
            return {}
        try:
            with open(path, "rb") as file:
                found = parse(file.read(_MAX_BYTES))
        except FileNotFoundError:
            return {}
        if found is not None:
            return found
        if time.monotonic() >= deadline:
            _move_aside(path, stamp)
            return {}
        time.sleep(0.05)


def _move_aside(path: str, stamp: Stamp) -> None:
    """Rename a broken file so that nothing in it is lost, unless somebody has mended it meanwhile."""
    if stamp_of(path) != stamp:
        return
    aside = f"{path}.broken-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    try:
        os.rename(path, aside)
        os.chmod(aside, 0o600)
    except FileNotFoundError:  # another shim was quicker
        return
    say(f"{path} was not readable as JSON; it is now {aside}")


class AuthFile:
    """The file as one MCP server URL sees it, read again only when it has changed. Safe to use from several threads."""

    __slots__ = ("_cli_token", "_grant", "_lock", "_stamp", "home", "path", "url")

    def __init__(self, home: str, url: str) -> None:
        self.home = home
        self.url = url
        self.path = auth_path(home)
        self._lock = threading.Lock()
        self._stamp: Stamp | None = None
        self._grant: Grant | None = None
        self._cli_token: str | None = None

    def grant(self) -> Grant | None:
        """Our own entry for exactly this URL."""
        self._refresh()
        return self._grant

    def cli_token(self) -> str | None:
        """The Mogplex CLI's own credential."""
        self._refresh()
        return self._cli_token

    def _refresh(self) -> None:
        stamp = stamp_of(self.path)
        if stamp == self._stamp:
            return
        with self._lock:
            try:
                whole = read_whole(self.path)
            except OSError as error:  # without it, the person is asked to sign in
                say(f"{self.path} cannot be read: {error.strerror}")
                whole = {}
            self._grant = grant_for(table(whole, KEY), self.url)
            self._cli_token = _cli_token(whole.get("mogplex"))
            self._stamp = stamp  # taken before reading: what is written meanwhile is read next time


def _cli_token(credential: object) -> str | None:
    if isinstance(credential, dict):
        credential = next((value for name in _CLI_TOKEN_FIELDS if (value := credential.get(name))), None)
    return credential if isinstance(credential, str) and is_bearer(credential) else None
