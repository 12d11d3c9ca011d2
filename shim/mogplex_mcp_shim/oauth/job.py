"""What a shim hands the sign-in process on its standard input: nothing of it is an argument that others could read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Job:
    """A sign-in to be done.

    Attributes:
        url: The MCP server's URL.
        home: The folder of auth.json.
        challenge: The `WWW-Authenticate` that made it necessary; may be empty.
        held_scope: Scopes held already, to be asked for again together with the challenge's.
        lock_fd: The descriptor through which the sign-in's lock is held; None where it cannot be passed on.
        reopen: Whether to open the browser although the sign-in was begun by somebody else.
    """

    url: str
    home: str
    challenge: str
    held_scope: str | None
    allow_http: bool
    no_browser: bool
    lock_fd: int | None
    reopen: bool

    def dump(self) -> bytes:
        """The job as it is handed over."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def load(cls, raw: bytes) -> Job:
        """The job as it was handed over."""
        return cls(**json.loads(raw))
