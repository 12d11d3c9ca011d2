"""The way from this process to the one that executes runs: in-process if that is this one, else over its socket."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import httpx2
import structlog

from mogplex_mcp.local.daemon import last_words, log_of, start_in_background
from mogplex_mcp.local.database import DatabaseError, open_database
from mogplex_mcp.local.git import GitError
from mogplex_mcp.local.listener import answers
from mogplex_mcp.local.owner import open_owner, socket_of
from mogplex_mcp.local.repos import RepoError, ensure_demo
from mogplex_mcp.local.runner_lock import RunnerLock
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.disk import DiskError, disk_refusals_told

log = structlog.get_logger()

DECISION_TIMEOUT = 15.0
"""Seconds within which an owner is found, started or become."""
_POLL = 0.05
_MAX_STARTS = 3
_MAX_NEW_OWNERS = 3
"""How often one request is sent anew to another owner."""
_MAX_CONNECTIONS = 200

_OWNER_GONE = (httpx2.ConnectError, httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)


class EmbeddedUnavailable(httpx2.ConnectError):
    """The embedded Mogplex cannot be had; the message says why, in words for a person."""


@asynccontextmanager
async def embedded_transport(settings: Settings, *, may_own: bool) -> AsyncIterator[httpx2.AsyncBaseTransport]:
    """A transport to the embedded Mogplex of a data directory.

    Args:
        settings: the data directory and the limits.
        may_own: take the lock and execute runs here when nobody else does, and make ``demo/hello`` when there is no
            repository (``serve``). Otherwise a daemon is started in the background, so that closing this process ends
            no run (``stdio``, the CLI).

    Raises:
        EmbeddedUnavailable: no owner answers within 15 s, or this process was to be it and cannot. A request over the
            transport raises the same when the owner has gone and no other can be had; the next one tries again.
    """
    transport = EmbeddedTransport(settings, may_own=may_own)
    try:
        await transport.connect()
        if may_own:
            await anyio.to_thread.run_sync(_make_demo, settings)
        yield transport
    finally:
        with anyio.CancelScope(shield=True):
            await transport.close()


def _make_demo(settings: Settings) -> None:
    db = open_database(settings)
    try:
        if (repo := ensure_demo(db, settings.data_dir)) is not None:
            log.info("demo_made", full_name=repo.full_name, path=str(repo.path))
    except (RepoError, GitError, OSError) as error:
        # Without git, say: the server can still say so when a repository is added.
        log.warning("demo_not_made", reason=str(error))
    finally:
        db.close()


class EmbeddedTransport(httpx2.AsyncBaseTransport):
    """Sends a request to the owner; when the owner is gone, decides anew who that is, and sends it again.

    Sending it again is harmless for every route of the v1 API: reads change nothing, a start carries its
    ``Idempotency-Key``, a cancellation is idempotent (Mogplex documentation, /web/api/runs).
    """

    def __init__(self, settings: Settings, *, may_own: bool) -> None:
        self._settings = settings
        self._may_own = may_own
        self._inner: httpx2.AsyncBaseTransport | None = None
        self._deciding: anyio.Event | None = None
        self._decision: asyncio.Task[None] | None = None
        self._failure = "The embedded Mogplex has been closed."
        self._closed = anyio.Event()

    @property
    def owns(self) -> bool:
        """Whether runs are executed in this process."""
        return isinstance(self._inner, httpx2.ASGITransport)

    async def connect(self) -> None:
        """Finds, starts or becomes the owner."""
        await self._decided(None)

    def begin_close(self) -> None:
        """Starts the end of the owner, if this process is it. For a server that has other things to end meanwhile."""
        self._closed.set()

    async def close(self) -> None:
        """Ends the owner, if this process is it, and with it its runs: within 5 s. A request after that is refused."""
        self.begin_close()
        if self._decision is not None:
            await self._decision
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections. The owner stays: a client that is closed does not end runs."""
        if self._inner is not None:
            await self._inner.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        inner = self._inner or await self._decided(None)
        for _ in range(_MAX_NEW_OWNERS):
            try:
                return await inner.handle_async_request(request)
            except _OWNER_GONE as error:
                log.warning("owner_gone", reason=type(error).__name__)
            inner = await self._decided(inner)
        return await inner.handle_async_request(request)

    async def _decided(self, failed: httpx2.AsyncBaseTransport | None) -> httpx2.AsyncBaseTransport:
        """The transport in use, after a new decision if it is the one that failed. Callers at once share one."""
        if self._inner is not None and self._inner is not failed:
            return self._inner
        if self._closed.is_set():
            raise EmbeddedUnavailable("The embedded Mogplex has been closed.")
        if self._deciding is None:
            self._deciding = anyio.Event()
            # A task of its own: who asked may be cancelled, and an owner outlives the request that made it one.
            self._decision = asyncio.create_task(self._decide(self._deciding))
        await self._deciding.wait()
        if self._inner is None:
            raise EmbeddedUnavailable(self._failure)
        return self._inner

    async def _decide(self, done: anyio.Event) -> None:
        previous, self._inner = self._inner, None
        try:
            if previous is not None:
                await previous.aclose()
            with disk_refusals_told(self._settings.data_dir):
                lock = await self._find_owner()
                if lock is None:
                    self._use(self._over_socket(), done)
                    return
                async with open_owner(self._settings, lock) as owner:
                    self._use(httpx2.ASGITransport(owner.app), done)
                    await self._closed.wait()
            self._inner = None
        except (EmbeddedUnavailable, DatabaseError, DiskError, OSError) as error:
            self._inner, self._failure = None, str(error)
            if previous is not None or done.is_set():
                # At the first decision whoever started this process is told, once.
                log.error("embedded_unavailable", reason=self._failure)  # noqa: TRY400 - the reason is the whole story
        except Exception:
            # Whoever waits for the decision is told; an owner that broke later is replaced by the next request.
            self._inner, self._failure = None, "The embedded Mogplex has failed; the log says why."
            log.exception("embedded_failed")
        finally:
            if self._deciding is done:
                self._deciding = None
            done.set()

    def _use(self, inner: httpx2.AsyncBaseTransport, done: anyio.Event) -> None:
        self._inner, self._deciding = inner, None
        log.info("embedded", way="in-process" if self.owns else "socket", data_dir=str(self._settings.data_dir))
        done.set()

    def _over_socket(self) -> httpx2.AsyncBaseTransport:
        path = str(socket_of(self._settings.data_dir))
        limits = httpx2.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=_MAX_CONNECTIONS)
        # No TLS here, so no certificates to load.
        no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return httpx2.AsyncHTTPTransport(uds=path, limits=limits, verify=no_tls, trust_env=False)

    async def _find_owner(self) -> RunnerLock | None:
        """The lock, if this process is to own; None once somebody else answers.

        Raises:
            EmbeddedUnavailable: neither within 15 s.
        """
        data_dir = self._settings.data_dir
        daemon: subprocess.Popen[bytes] | None = None
        starts = 0
        with anyio.move_on_after(DECISION_TIMEOUT):
            while True:
                if await anyio.to_thread.run_sync(answers, socket_of(data_dir)):
                    return None
                lock = RunnerLock(data_dir)
                if (daemon is None or daemon.poll() is not None) and lock.acquire():
                    if self._may_own:
                        return lock
                    lock.release()
                    if starts == _MAX_STARTS:
                        break
                    starts += 1
                    daemon = await anyio.to_thread.run_sync(start_in_background, self._settings)
                await anyio.sleep(_POLL)
        raise EmbeddedUnavailable(self._why(starts))

    def _why(self, starts: int) -> str:
        if starts == 0:
            return (
                f"Another process holds {self._settings.data_dir} and does not answer on its socket. "
                "End it, or choose another --data-dir."
            )
        data_dir = self._settings.data_dir
        return f"The background daemon did not start: {last_words(data_dir) or f'see {log_of(data_dir)}'}"
