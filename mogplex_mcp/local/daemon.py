"""The owner as a process of its own: in the foreground for a person, in the background for `stdio` and the CLI."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import structlog

from mogplex_mcp.local.database import make_private_directory
from mogplex_mcp.local.listener import Listener, ListenError, bind_tcp, bind_unix
from mogplex_mcp.local.owner import Owner, open_owner, socket_of
from mogplex_mcp.local.runner_lock import RunnerLock
from mogplex_mcp.settings import Settings

log = structlog.get_logger()

IDLE_EXIT = 600.0
"""Seconds without a run and without a request after which a background daemon ends by itself."""
BACKGROUND = ("daemon", "--background")
_IDLE_CHECKS = 60
IDLE_PATIENCE = 60
"""Seconds that a request may take which came while a daemon was about to end: nobody waits for that end."""
_LOCK_PATIENCE = 2.0
_LOCK_POLL = 0.02
MAX_LOG = 1024 * 1024
_TAIL = 2_000


class AlreadyOwned(Exception):  # noqa: N818 - a state, and for a background daemon a fine one
    """Another process holds the data directory's lock."""


@dataclass(frozen=True, slots=True)
class Extras:
    """Where a daemon listens besides its data directory's socket."""

    socket: Path | None = None
    host: str = "127.0.0.1"
    port: int | None = None


async def run_daemon(
    settings: Settings,
    extras: Extras,
    *,
    idle_exit: float | None = None,
    ready: Callable[[Listener], None] = lambda _listener: None,
) -> None:
    """Owns the data directory until SIGINT or SIGTERM; then everything is over within 5 s.

    Args:
        settings: the data directory and the limits.
        extras: more sockets.
        idle_exit: seconds of idleness after which it ends by itself, or None.
        ready: called once it listens, with the listener of the extra sockets.

    Raises:
        AlreadyOwned: another process holds the lock.
        DatabaseError, ListenError: the directory or a socket cannot be used.
    """
    lock = RunnerLock(settings.data_dir)
    # Somebody who only looks whether the lock is free holds it for a moment.
    with anyio.move_on_after(_LOCK_PATIENCE):
        while not lock.acquire():  # noqa: ASYNC110 - a kernel lock has no event
            await anyio.sleep(_LOCK_POLL)
    if not lock.held:
        raise AlreadyOwned(f"Another process serves {settings.data_dir} already, on {socket_of(settings.data_dir)}.")
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with _owner_with(settings, extras, lock) as (owner, sockets):
            listener = Listener(owner.app, lambda: sockets)
            await listener.start()
            try:
                ready(listener)
                async with anyio.create_task_group() as tasks:
                    if idle_exit is not None:
                        tasks.start_soon(_cancel_when_idle, owner, idle_exit, tasks.cancel_scope)
                    async for number in signals:
                        log.info("daemon_stopping", signal=signal.Signals(number).name)
                        break
                    tasks.cancel_scope.cancel()
            finally:
                with anyio.CancelScope(shield=True):
                    await listener.stop()


@asynccontextmanager
async def _owner_with(
    settings: Settings, extras: Extras, lock: RunnerLock
) -> AsyncIterator[tuple[Owner, list[socket.socket]]]:
    """The owner, once it is certain that the extra sockets can be had."""
    try:
        sockets = _bind(settings, extras)
    except ListenError:
        lock.release()
        raise
    async with open_owner(settings, lock) as owner:
        yield owner, sockets


def _bind(settings: Settings, extras: Extras) -> list[socket.socket]:
    bound = []
    if extras.socket is not None and extras.socket != socket_of(settings.data_dir):
        bound.append(bind_unix(extras.socket))
    if extras.port is not None:
        bound.append(bind_tcp(extras.host, extras.port))
    return bound


async def _cancel_when_idle(owner: Owner, idle_exit: float, daemon: anyio.CancelScope) -> None:
    while True:
        await anyio.sleep(idle_exit / _IDLE_CHECKS)
        if owner.activity.idle_for() < idle_exit or not await owner.runner.idle():
            continue
        with anyio.CancelScope(shield=True):
            # Whoever comes now finds no socket and decides anew; whoever came just before is answered, and heard.
            await owner.listener.stop(patience=IDLE_PATIENCE)
            if owner.activity.idle_for() >= idle_exit and await owner.runner.idle():
                log.info("daemon_idle", seconds=idle_exit)
                daemon.cancel()
                return
            await owner.listener.start()


def start_in_background(settings: Settings) -> subprocess.Popen[bytes]:
    """Starts a daemon that outlives this process; its output goes to ``daemon.log`` in the data directory (0600).

    If another daemon is faster it ends at once with exit code 0.
    """
    make_private_directory(settings.data_dir)
    log_file = log_of(settings.data_dir)
    if log_file.exists() and log_file.stat().st_size > MAX_LOG:
        log_file.replace(log_file.with_suffix(".log.1"))
    out = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            # -P: nothing that lies in the working directory is imported.
            [sys.executable, "-P", "-m", "mogplex_mcp.local", *BACKGROUND, "--data-dir", str(settings.data_dir)],
            cwd=settings.data_dir,
            env=_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    finally:
        os.close(out)
    # It may end long before this process does, and must not stay as a zombie.
    threading.Thread(target=process.wait, name="daemon-reaper", daemon=True).start()
    return process


def log_of(data_dir: Path) -> Path:
    return data_dir / "daemon.log"


def last_words(data_dir: Path) -> str:
    """The last line of the background daemon's log: why it did not start."""
    try:
        text = log_of(data_dir).read_bytes()[-_TAIL:].decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return text.rstrip().rpartition("\n")[2].removeprefix("Error: ")


def _environment(settings: Settings) -> dict[str, str]:
    """This process's environment; what its command line or its caller set about local runs holds there too."""
    environment = {name: value for name, value in os.environ.items() if name != "MOGPLEX_API_KEY"}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if name.startswith("local_") and value is not None:
            environment[f"MOGPLEX_{name.upper()}"] = str(value)
    return environment
