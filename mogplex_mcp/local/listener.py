"""Sockets that the API is served on: the data directory's Unix socket, another one, a TCP port."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from mogplex_mcp.local.database import make_private_directory

MAX_SOCKET_PATH = 107 if sys.platform == "linux" else 103
"""Bytes of a Unix socket's path that the system takes (sun_path, unix(7))."""
_KEEP_ALIVE = 75
_GRACEFUL = 1
_BACKLOG = 128


class ListenError(OSError):
    """A socket cannot be listened on; the message says what to do."""


class _Server(uvicorn.Server):
    """uvicorn as a task among others: signals are the composition's affair."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Listener:
    """Serves an application on sockets that it makes anew at every start.

    Args:
        app: the application.
        bind: makes the sockets, bound and not yet listening.
    """

    def __init__(self, app: ASGIApp, bind: Callable[[], list[socket.socket]]) -> None:
        self._app = app
        self._bind = bind
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._files: list[tuple[str, int]] = []
        self.ports: list[int] = []

    async def start(self) -> None:
        """Listens.

        Raises:
            ListenError: a socket cannot be had.
        """
        sockets = self._bind()
        unix = [name for s in sockets if s.family == socket.AF_UNIX and (name := s.getsockname())]
        self._files = [(name, os.stat(name).st_ino) for name in unix]  # noqa: PTH116 - a name, as the kernel has it
        self.ports = [s.getsockname()[1] for s in sockets if s.family != socket.AF_UNIX]
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_GRACEFUL,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.002)
        if self._task.done():
            await self._task
            raise ListenError("The server ended while it started.")

    async def stop(self, *, patience: int = _GRACEFUL) -> None:
        """Ends: no more connections, the requests that are here get their answer.

        Args:
            patience: seconds that a request may still take; after that it is cut off.
        """
        if self._server is None or self._task is None:
            return
        self._server.config.timeout_graceful_shutdown = patience
        self._remove_files()
        self._server.should_exit = True
        await self._task
        self._server = self._task = None

    def _remove_files(self) -> None:
        for name, inode in self._files:
            # Only our own file: somebody may have put another in its place.
            if Path(name).exists() and Path(name).stat().st_ino == inode:
                Path(name).unlink()


def bind_unix(path: Path) -> socket.socket:
    """A socket at ``path``, 0600 in a directory of its owner. A file that nobody listens on is replaced.

    Raises:
        ListenError: the path is too long, no socket, or somebody listens there.
    """
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH:
        raise ListenError(
            f"The socket path {path} has {size} bytes; this system takes {MAX_SOCKET_PATH}. "
            "Choose a shorter --data-dir."
        )
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        make_private_directory(path.parent)
        if os.path.lexists(path):
            _remove_stale(path)
        # Nobody can connect before it listens, and by then the mode is right.
        bound.bind(str(path))
        path.chmod(0o600)
        bound.setblocking(False)
    except ListenError:
        bound.close()
        raise
    except OSError as error:
        bound.close()
        raise ListenError(f"Cannot listen on {path}: {error.strerror}. Choose another directory for it.") from error
    return bound


def _remove_stale(path: Path) -> None:
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise ListenError(f"{path} is there and is no socket.")
    if answers(path):
        raise ListenError(f"Another program listens on {path}.")
    path.unlink(missing_ok=True)


def answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True  # its queue is full: somebody listens
        except OSError:
            return False
    return True


def bind_tcp(host: str, port: int) -> socket.socket:
    """A TCP socket; port 0 takes a free one.

    Raises:
        ListenError: the address is not ours, or the port is in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise ListenError(f"Cannot listen on {host} port {port}: {error.strerror}. Choose another --port.") from error
    return bound
