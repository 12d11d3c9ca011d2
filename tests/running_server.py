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

    def create_token(self) -> str:
        """A new token that may read and write, with a rate limit of its own."""
        created = subprocess.run(
            [*COMMAND, "local", "tokens", "create", "--name", "tests"],
            env=clean_environment({"MOGPLEX_HOME": str(self.home)}),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        token = re.search(r"mog_[0-9A-Za-z]{32,}", created.stdout)
        assert token is not None, "`local tokens create` printed no token"
        return token[0]


@contextmanager
def running_server() -> Iterator[RunningServer]:
    """Run the server on a free port, with a home of its own, until the block is left."""
    # Not pytest's tmp_path: the path of a Unix socket below it may be too long.
    with tempfile.TemporaryDirectory(prefix="mm-") as name:
        home = Path(name)
        environment = {"MOGPLEX_HOME": name}
        with running([*COMMAND, "serve", "--port", "0"], home / "server.log", environment) as server:
            yield RunningServer(server.port, home)
