"""What a sign-in that waits for the person has on disk, and how the last one that failed ended.

The record outlives the process that wrote it: another one can listen on the same port and finish the same sign-in.
"""

from __future__ import annotations

import json
import os
import stat
import time
from dataclasses import asdict, dataclass, field
from hashlib import sha256

from mogplex_mcp_shim.auth_update import replace_private, state_path
from mogplex_mcp_shim.grant import Record, table, text

LIFETIME = 600.0
"""Seconds that a person has to sign in."""

_MAX_BYTES = 65_536


def signin_path(home: str, url: str, suffix: str) -> str:
    """The file of this kind (`lock`, `refresh`, `pending`, `failed`) for one MCP server URL."""
    return state_path(home, f"{sha256(url.encode()).hexdigest()[:32]}.{suffix}")


@dataclass(frozen=True)
class Pending:
    """One authorization request that was made and not yet answered.

    Attributes:
        url: The MCP server's URL.
        link: The authorization request, to be opened in the browser.
        issuer: The issuer that must answer (RFC 9207), and whether it must name itself.
        client: The client's record.
        stored_client: Whether the client had registered before this sign-in.
        endpoints: The token and revocation endpoints.
        expires_at: When it ends, in s since 1970.
    """

    url: str
    link: str
    issuer: str
    issuer_required: bool
    resource: str
    scope: str | None
    client: Record
    stored_client: bool
    endpoints: Record
    redirect_uri: str
    state: str
    verifier: str = field(repr=False)
    expires_at: float

    @property
    def port(self) -> int:
        """The port on which the answer is awaited."""
        return int(self.redirect_uri.split(":")[2].partition("/")[0])

    def save(self, home: str) -> None:
        """Put the record on disk, mode 0600."""
        replace_private(signin_path(home, self.url, "pending"), json.dumps(asdict(self)).encode())


def load(home: str, url: str) -> Pending | None:
    """The record, if there is one that is ours and has not expired."""
    raw = _read_own(signin_path(home, url, "pending"))
    if raw is None:
        return None
    try:
        pending = Pending(**json.loads(raw))
        usable = pending.url == url and 0 < pending.expires_at - time.time() <= LIFETIME and 0 < pending.port < 65536
    except (ValueError, TypeError, IndexError, AttributeError):
        return None
    return pending if usable else None


def claim(home: str, url: str) -> bool:
    """Remove the record: who removes it may redeem the code, and nobody else. False if it is not there."""
    try:
        os.unlink(signin_path(home, url, "pending"))
    except FileNotFoundError:
        return False
    return True


def exists(home: str, url: str) -> bool:
    """Whether there is a record: a sign-in whose record is gone was given up by somebody."""
    return os.path.lexists(signin_path(home, url, "pending"))


@dataclass(frozen=True)
class Failure:
    """How the last sign-in ended that did not succeed; `stamp` differs from every other's."""

    message: str
    stamp: float

    def is_recent(self) -> bool:
        """Whether those who asked at the same time may take it for their own."""
        return 0 <= time.time() - self.stamp < 5


def save_failure(home: str, url: str, message: str) -> None:
    """Leave word for the shims that wait."""
    content = json.dumps({"message": message, "stamp": time.time()}).encode()
    replace_private(signin_path(home, url, "failed"), content)


def load_failure(home: str, url: str) -> Failure | None:
    """The word that was left, if any."""
    raw = _read_own(signin_path(home, url, "failed"))
    if raw is None:
        return None
    try:
        record = table({"word": json.loads(raw)}, "word")
    except ValueError:
        return None
    message, stamp = text(record, "message"), record.get("stamp")
    return Failure(message, stamp) if message is not None and isinstance(stamp, float) else None


def _read_own(path: str) -> bytes | None:
    """A small file's content, if it is a plain file that only we can have written; links are not followed."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        fd = os.open(path, flags)
    except OSError:  # none, or a link
        return None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return None
        if os.name == "posix" and (found.st_uid != os.geteuid() or found.st_mode & 0o077 or found.st_nlink != 1):
            return None
        return file.read(_MAX_BYTES)
