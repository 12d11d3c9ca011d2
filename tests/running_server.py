"""The real server as its user starts it: over its embedded Mogplex, with tokens made on the command line."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import COMMAND, clean_environment, running


@dataclass(frozen=True)
class RunningServer:
    """A running ``mogplex-mcp serve``.

    Attributes:
        port: Its port on 127.0.0.1.
        home: Its ``MOGPLEX_HOME``.
    """

    port: int
    home: Path

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def base(self) -> str:
        """The address of its pages, and its issuer."""
        return f"http://127.0.0.1:{self.port}"

    def create_token(self) -> str:
        """A new token that may read and write, with a rate limit of its own."""
        token = re.search(r"mog_[0-9A-Za-z]{32,}", self._command("tokens", "create", "--name", "tests"))
        assert token is not None, "`local tokens create` printed no token"
        return token[0]

    def signin_code(self) -> str:
        """A new one-time code that signs a browser in as the owner."""
        return self._command("signin", "--port", str(self.port)).splitlines()[0]

    def end_sign_ins(self) -> None:
        """Have Mogplex refuse, from now on, what every sign-in so far gave this server."""
        listed = [line.split("\t") for line in self._command("tokens", "list").splitlines()]
        for identifier in (each[0] for each in listed if each[2] == "signed in" and each[-1] == "valid"):
            self._command("tokens", "revoke", identifier)

    def _command(self, *arguments: str) -> str:
        """What ``mogplex-mcp local`` with these arguments prints."""
        return subprocess.run(
            [*COMMAND, "local", *arguments],
            env=clean_environment({"MOGPLEX_HOME": str(self.home)}),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout


@contextmanager
def running_server(**variables: str) -> Iterator[RunningServer]:
    """Run the server on a free port, with a home of its own, until the block is left.

    Args:
        variables: Further ``MOGPLEX_*`` variables, and others that it reads.
    """
    # Not pytest's tmp_path: the path of a Unix socket below it may be too long.
    with tempfile.TemporaryDirectory(prefix="mm-") as name:
        home = Path(name)
        environment = {**variables, "MOGPLEX_HOME": name}
        with running([*COMMAND, "serve", "--port", "0"], home / "server.log", environment) as server:
            yield RunningServer(server.port, home)
