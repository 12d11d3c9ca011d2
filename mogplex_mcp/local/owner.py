"""The process that holds a data directory's lock: it executes the runs and answers for them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import structlog
from starlette.applications import Starlette

from mogplex_mcp.local.app import create_app
from mogplex_mcp.local.database import Database, open_database
from mogplex_mcp.local.listener import Listener, bind_unix
from mogplex_mcp.local.reclaim import reclaim
from mogplex_mcp.local.runner import Runner
from mogplex_mcp.local.runner_lock import RunnerLock
from mogplex_mcp.local.v1 import Activity
from mogplex_mcp.settings import Settings

log = structlog.get_logger()


def socket_of(data_dir: Path) -> Path:
    """Where a data directory's owner listens, whatever ``MOGPLEX_DAEMON_SOCKET`` says.

    Every process of the directory must find it, also one with another environment.
    """
    return data_dir / "daemon.sock"


@dataclass(frozen=True)
class Owner:
    """What the owning process has in hand."""

    db: Database
    runner: Runner
    app: Starlette
    listener: Listener
    activity: Activity


@asynccontextmanager
async def open_owner(settings: Settings, lock: RunnerLock) -> AsyncIterator[Owner]:
    """Owns a data directory until the block ends; then runs are ended within 5 s and the lock is given back.

    Args:
        settings: the data directory and the limits.
        lock: already acquired; released here in any case.

    Raises:
        DatabaseError, ListenError: the directory cannot be used.
    """
    try:
        db = await anyio.to_thread.run_sync(open_database, settings)
        try:
            await db.call(reclaim, db, settings.data_dir)
            runner, activity = Runner(db, settings), Activity()
            app = create_app(db, runner, settings, activity=activity)

            def bind() -> list[socket.socket]:
                return [bind_unix(socket_of(settings.data_dir))]

            listener = Listener(app, bind)
            await listener.start()
            try:
                # The runner ends first, so that its last words can still be read over the socket.
                async with runner.running():
                    yield Owner(db, runner, app, listener, activity)
            finally:
                with anyio.CancelScope(shield=True):
                    await listener.stop()
        finally:
            db.close()
    finally:
        lock.release()
