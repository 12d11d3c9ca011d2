"""The routes of the v1 API, each a function from a checked request to the ``data`` of its answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from starlette.requests import Request

from mogplex_mcp.local import events, repos, runs, sandboxes
from mogplex_mcp.local.database import Database
from mogplex_mcp.local.errors import ApiError, bad_request
from mogplex_mcp.local.limits import RateLimiter
from mogplex_mcp.local.mcp_servers import read_mcp_servers
from mogplex_mcp.local.run_request import check_key, parse_json
from mogplex_mcp.local.runner import Runner
from mogplex_mcp.local.runs import Run
from mogplex_mcp.local.start_run import start_run
from mogplex_mcp.local.timestamps import now_ms
from mogplex_mcp.settings import Settings

MAX_BODY = 1024 * 1024
"""Bytes of a request body."""
_BODY_TIMEOUT = 30.0
_HANDOVER = 5
"""Seconds until a server that is stopping has stopped, and another may be asked."""
MAX_WAIT = 25
"""Seconds that a request may wait for news of a run."""
_MAX_LIMIT = 200
_DEFAULT_LIMIT = 100
_MAX_QUERY = 200
_NO_RUN = "No run has this id."

Data = dict[str, object]


@dataclass
class Activity:
    """When the API was last used, for a background daemon that ends when nobody needs it."""

    clock: Callable[[], float] = time.monotonic
    in_flight: int = 0
    last: float = field(init=False)

    def __post_init__(self) -> None:
        self.last = self.clock()

    def idle_for(self) -> float:
        """Seconds since the last request ended."""
        return 0.0 if self.in_flight else self.clock() - self.last


@dataclass(frozen=True)
class Mogplex:
    """What the routes work with."""

    db: Database
    runner: Runner
    settings: Settings
    limiter: RateLimiter
    activity: Activity
    now: Callable[[], int] = now_ms


async def list_repos(mogplex: Mogplex, request: Request) -> Data:
    query, limit = _text(request, "q"), _limit(request)
    found = await mogplex.db.call(repos.list_repos, mogplex.db, query=query, limit=limit)
    return {"repos": [repo.detail() for repo in found]}


async def list_sandboxes(mogplex: Mogplex, request: Request) -> Data:
    repo_id, status, limit = _text(request, "repo_id"), _text(request, "status"), _limit(request)
    if repo_id is not None and not _is_uuid(repo_id):
        raise bad_request("repo_id", "must be a UUID; GET /repos lists the ids")

    def read() -> list[Data]:
        with mogplex.db.read() as connection:
            return sandboxes.listed(connection, repo_id=repo_id, status=status, limit=limit)

    return {"sandboxes": await mogplex.db.call(read)}


async def create_run(mogplex: Mogplex, request: Request) -> Data:
    key = check_key(request.headers.get("idempotency-key"))
    body = parse_json(await _body(request))
    if mogplex.runner.closing():
        raise ApiError("SERVICE_UNAVAILABLE", "The server is stopping.", retry_after=_HANDOVER)
    # A caller that goes away must not leave a recorded run that nobody wakes the queue for.
    with anyio.CancelScope(shield=True):
        run, replayed = await mogplex.db.call(
            start_run, mogplex.db, mogplex.settings, key=key, body=body, now=mogplex.now()
        )
        mogplex.runner.wake()
    return {**run.detail(), "replayed": replayed}


async def get_run(mogplex: Mogplex, request: Request) -> Data:
    return {"run": (await mogplex.db.call(_find, mogplex.db, request.path_params["run_id"])).detail()}


async def list_run_events(mogplex: Mogplex, request: Request) -> Data:
    """A run's events, oldest first.

    Beyond the documentation it takes ``after`` (only later events than this one) and ``wait`` (seconds until it answers
    that there are none yet, unless the run's status changes or is final).
    """
    run_id, limit, after, wait = request.path_params["run_id"], _limit(request), _text(request, "after"), waits(request)
    ends = time.monotonic() + wait
    seen: str | None = None
    while True:
        with mogplex.runner.news.listen(run_id) as listening:
            run, data = await mogplex.db.call(_read_events, mogplex.db, run_id, limit, after)
            seen = seen or run.status
            left = ends - time.monotonic()
            if data["events"] or run.terminal or run.status != seen or left <= 0 or not listening.may_wait:
                return data
            await listening.wait(left)


def _read_events(db: Database, run_id: str, limit: int, after: str | None) -> tuple[Run, Data]:
    with db.read() as connection:
        run = runs.find(connection, run_id)
        if run is None:
            raise ApiError("NOT_FOUND", _NO_RUN)
        sequence = 0 if after is None else events.sequence_of(connection, run_id, after)
        if sequence is None:
            raise bad_request("after", "must be the id of an event of this run")
        return run, {"run": run.detail(), "events": events.listed(connection, run_id, limit, sequence)}


def waits(request: Request) -> float:
    """Seconds that a request is willing to wait for news; such a request costs nothing."""
    text = request.query_params.get("wait")
    if text is None:
        return 0.0
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 3 else -1
    if not 0 <= number <= MAX_WAIT:
        raise bad_request("wait", f"must be a whole number of seconds from 0 to {MAX_WAIT}")
    return float(number)


async def cancel_run(mogplex: Mogplex, request: Request) -> Data:
    with anyio.CancelScope(shield=True):
        outcome = await mogplex.runner.cancel(request.path_params["run_id"])
    if outcome is None:
        raise ApiError("NOT_FOUND", _NO_RUN)
    run, ended_before = outcome
    # `status` is the documentation's wording; the service today says `alreadyTerminal`.
    status = "already_terminal" if ended_before else "cancellation_requested"
    return {"run": run.detail(), "status": status, "alreadyTerminal": ended_before}


async def list_mcp_servers(mogplex: Mogplex, _request: Request) -> Data:
    path = mogplex.settings.data_dir / "mcp-servers.json"
    return {"servers": await mogplex.db.call(_servers, path)}


def _servers(path: Path) -> list[Data]:
    try:
        return read_mcp_servers(path)
    except ValueError as error:
        raise ApiError("INTERNAL_ERROR", str(error)) from error


def _find(db: Database, run_id: str) -> Run:
    with db.read() as connection:
        run = runs.find(connection, run_id)
    if run is None:
        raise ApiError("NOT_FOUND", _NO_RUN)
    return run


async def _body(request: Request) -> bytes:
    body = bytearray()
    with anyio.move_on_after(_BODY_TIMEOUT) as scope:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise ApiError("BAD_REQUEST", f"The body must have at most {MAX_BODY} bytes.")
    if scope.cancelled_caught:
        raise ApiError("BAD_REQUEST", f"The body did not arrive within {_BODY_TIMEOUT:.0f} s.")
    return bytes(body)


def _text(request: Request, name: str) -> str | None:
    value = request.query_params.get(name)
    if value is not None and len(value) > _MAX_QUERY:
        raise bad_request(name, f"must have at most {_MAX_QUERY} characters")
    return value or None


def _limit(request: Request) -> int:
    text = request.query_params.get("limit")
    if text is None:
        return _DEFAULT_LIMIT
    # isascii: int() reads other alphabets' digits too.
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 3 else 0
    if not 1 <= number <= _MAX_LIMIT:
        raise bad_request("limit", f"must be a whole number from 1 to {_MAX_LIMIT}")
    return number


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
