"""The v1 client: every documented route, typed (Mogplex documentation, /web/api/*)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode
from uuid import uuid4

import anyio
import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError

from mogplex_mcp.api.budget import Budget, Kind
from mogplex_mcp.api.errors import MogplexError
from mogplex_mcp.api.exchange import Exchange
from mogplex_mcp.api.models import (
    CamelRecord,
    CancelResult,
    McpServer,
    Repo,
    Run,
    RunEvents,
    Sandbox,
    StartedRun,
    StartRun,
)
from mogplex_mcp.api.retry import MAX_SECONDS, FailedAttempt, repeat
from mogplex_mcp.api.start_budget import StartBudget
from mogplex_mcp.api.transport import Upstream

PREFIX = "/api/v1/mogplex"
DEFAULT_DEADLINE = 30.0
MAX_SEGMENT = 512
MAX_FILTER = 1000
MAX_IDEMPOTENCY_KEY = 200
MAX_WAIT = 25
"""Seconds that one request may wait for news."""
WAITING_PART = 0.8
"""The part of a call's deadline that it may wait for its turn; the rest is for the call itself."""

M = TypeVar("M", bound=BaseModel)


def new_idempotency_key() -> str:
    """A key for one logical start (documentation, /web/api/authentication, "Idempotency-Key")."""
    return f"mcp:{uuid4()}"


class MogplexApi:
    """Calls to Mogplex with one credential. Light: make one per request; the upstream holds the connections.

    Every method raises MogplexError and nothing else, apart from the caller's own cancellation.

    Args:
        upstream: The way to Mogplex.
        credential: The bearer token. One that cannot be a token gives UNAUTHORIZED at the first call.
        deadline_seconds: Within which each call ends, repeats included; then it fails with TIMEOUT.
        kind: What the requests are for. Polls go when no call wants to, however long that takes, and are not
            repeated: who polls comes again.
    """

    def __init__(
        self,
        upstream: Upstream,
        credential: str,
        *,
        deadline_seconds: float = DEFAULT_DEADLINE,
        kind: Kind = "call",
    ) -> None:
        self._upstream = upstream
        self._credential = credential
        self._deadline = deadline_seconds
        self._kind = kind

    def polling(self) -> MogplexApi:
        """The same, for reads that go among the polls, before those of runs that are followed, and are made once."""
        return MogplexApi(self._upstream, self._credential, deadline_seconds=self._deadline, kind="nudge")

    def poll_interval(self, runs: int) -> float:
        """Seconds between two reads of one run that this credential can afford, when so many runs are read so."""
        return self._upstream.budgets.of(self._credential).poll_interval(runs)

    async def list_repos(self, *, query: str | None = None, limit: int | None = None) -> list[Repo]:
        """GET /repos.

        Args:
            query: Part of the full name, in either case; at most 1,000 characters.
            limit: How many, 1 to 200; Mogplex gives 100 unless told.
        """
        data = await self._get("/repos", {"q": query, "limit": limit})
        return _read(_Repos, data).repos

    async def list_sandboxes(
        self, *, repo_id: str | None = None, status: str | None = None, limit: int | None = None
    ) -> list[Sandbox]:
        """GET /sandboxes, the last active first.

        Args:
            repo_id: Only those of this repository.
            status: Only those with this status.
            limit: How many, 1 to 200; Mogplex gives 100 unless told.
        """
        data = await self._get("/sandboxes", {"repo_id": repo_id, "status": status, "limit": limit})
        return _read(_Sandboxes, data).sandboxes

    async def start_run(self, request: StartRun, *, idempotency_key: str | None = None) -> StartedRun:
        """POST /runs. However often the request is repeated on the way, at most one run starts.

        Args:
            request: What to start.
            idempotency_key: The key of an earlier start whose fate is unknown; unset, a new one. At most 200
                characters.

        Raises:
            MogplexError: With ``outcome_unknown`` and ``idempotency_key`` when the run may have been started.
        """
        key = new_idempotency_key() if idempotency_key is None else _checked_key(idempotency_key)
        try:
            body = request.body()
        except ValueError:
            body = None
        if body is None:
            raise MogplexError("BAD_REQUEST", "The run to start holds text that cannot be written as UTF-8.")
        starts = self._upstream.budgets.of(self._credential).starts
        # A start of before, asked about again, makes no run and so costs none.
        counted = starts.admit() if idempotency_key is None else None
        data = await self._start(key, body, starts, counted)
        try:
            run = _read(StartedRun, data)
        except MogplexError as error:
            error.leave_start_open(key)
            raise
        if counted is not None and run.replayed is True:
            starts.forget(counted)
        return run

    async def get_run(self, run_id: str) -> Run:
        """GET /runs/{runId}."""
        return _read(_OneRun, await self._get(f"/runs/{_segment(run_id)}")).run

    async def list_run_events(
        self, run_id: str, *, limit: int = 200, after: str | None = None, wait: int | None = None
    ) -> RunEvents:
        """GET /runs/{runId}/events: the run and its first events, oldest first.

        The embedded Mogplex alone knows ``after`` and ``wait``; there, a request that waits costs nothing. Others give
        the first events at once, whatever these say.

        Args:
            run_id: The run.
            limit: How many events, 1 to 200.
            after: Only events after the one with this id.
            wait: Seconds to wait for an event or a change of the run, 1 to 25.
        """
        query = {"limit": limit, "after": after, "wait": wait}
        free = wait is not None and self._upstream.route.kind != "hosted"
        return _read(RunEvents, await self._get(f"/runs/{_segment(run_id)}/events", query, free=free))

    async def cancel_run(self, run_id: str) -> CancelResult:
        """POST /runs/{runId}/cancel. Idempotent: a run that has ended stays as it is."""
        data = await self._call("POST", f"/runs/{_segment(run_id)}/cancel")
        return _cancelled(_read(_Cancelled, data))

    async def list_mcp_servers(self) -> list[McpServer]:
        """GET /mcp/servers, disabled ones too. The answer carries decrypted secrets."""
        return _read(_McpServers, await self._get("/mcp/servers")).servers

    async def _start(self, key: str, body: bytes, starts: StartBudget, counted: float | None) -> dict[str, object]:
        try:
            return await self._call("POST", "/runs", body=body, start_key=key)
        except MogplexError as error:
            if counted is not None and not error.outcome_unknown:
                starts.forget(counted)
            if error.code == "RATE_LIMITED" and error.status is not None:
                starts.learn(error.retry_after)
            raise

    async def _get(
        self, path: str, query: Mapping[str, str | int | None] | None = None, *, free: bool = False
    ) -> dict[str, object]:
        if query and (given := {name: value for name, value in query.items() if value is not None}):
            path = f"{path}?{_query(given)}"
        if self._kind != "call":
            return await self._poll(path, free=free)
        return await self._call("GET", path, free=free)

    async def _poll(self, path: str, *, free: bool) -> dict[str, object]:
        """Make one request when no call wants to make one."""
        exchange = self._exchange("GET", path, b"", None)
        budget = None if free else self._upstream.budgets.of(self._credential)
        if budget is not None:
            await budget.admit(self._kind)
        try:
            async with asyncio.timeout(self._deadline):
                return await _spend(exchange, budget, self._kind)
        except FailedAttempt as failure:
            error = failure.error
        except TimeoutError:
            error = _out_of_time(self._upstream, self._deadline)
        raise error  # outside the ``except``, as in ``_call``

    async def _call(
        self, method: str, path: str, *, body: bytes = b"", start_key: str | None = None, free: bool = False
    ) -> dict[str, object]:
        """Make one call: first directly, then, if that failed and it is of use, again.

        Every call of this client may be made twice without harm: reads change nothing, a start carries its key, and
        cancelling is idempotent.
        """
        exchange = self._exchange(method, path, body, start_key)
        budget = None if free else self._upstream.budgets.of(self._credential)
        may_have_started = False
        error: MogplexError | None = None
        loop = asyncio.get_running_loop()
        started = loop.time()

        async def attempt() -> dict[str, object]:
            nonlocal may_have_started
            try:
                if budget is not None and not budget.call_at_once():
                    await _admit(budget, started + WAITING_PART * self._deadline)
                return await _spend(exchange, budget, "call")
            except FailedAttempt as failure:
                may_have_started = may_have_started or failure.may_have_acted
                raise

        try:
            async with asyncio.timeout(self._deadline) as limit:
                try:
                    return await attempt()
                except FailedAttempt as failure:
                    first = failure
                ends = min(started + MAX_SECONDS, started + self._deadline)
                if ends > loop.time():
                    limit.reschedule(ends)
                return await repeat(first, attempt, harmless=True, seconds_left=ends - loop.time())
        except FailedAttempt as failure:
            error = failure.error
        except TimeoutError:
            error = _out_of_time(self._upstream, loop.time() - started)
            may_have_started = True
        if start_key is not None and may_have_started:
            error.leave_start_open(start_key)
        # Raised here, outside every ``except``: the HTTP library's exceptions hold the request, and with it the token,
        # and must not hang on to ours as its context.
        raise error

    def _exchange(self, method: str, path: str, body: bytes, start_key: str | None) -> Exchange:
        if not _is_token(self._credential):
            raise MogplexError("UNAUTHORIZED", "The token is empty or holds characters that no Mogplex token has.")
        headers = [*self._upstream.headers, (b"authorization", f"Bearer {self._credential}".encode())]
        if method == "POST":
            headers.append((b"content-length", str(len(body)).encode()))
        if body:
            headers.append((b"content-type", b"application/json"))
        if start_key is not None:
            headers.append((b"idempotency-key", start_key.encode()))
        url = f"{self._upstream.route.base_url}{PREFIX}{path}"
        return Exchange(self._upstream, self._credential, method, url, httpx2.Headers(headers), body)


async def _admit(budget: Budget, deadline: float) -> None:
    """Wait for a call's turn.

    Raises:
        FailedAttempt: It does not come before the deadline.
    """
    try:
        await budget.admit("call", deadline=deadline)
    except MogplexError as error:
        failure = FailedAttempt(error, "refused")
    else:
        return
    raise failure


async def _spend(exchange: Exchange, budget: Budget | None, kind: Kind) -> dict[str, object]:
    """Make one admitted attempt."""
    sent = True
    is_start = "idempotency-key" in exchange.headers
    try:
        # Who asks for a start and leaves does not stop it once it is on its way: its answer tells that there is a run.
        with anyio.CancelScope(shield=is_start):
            answer = await exchange.attempt()
    except FailedAttempt as failure:
        sent = failure.fate != "unsent"
        # Run starts have limits of their own, which the same code tells of.
        if budget is not None and failure.error.code == "RATE_LIMITED" and not is_start:
            budget.learn(failure.error.retry_after)
        raise
    finally:
        if budget is not None:
            budget.release(kind, sent=sent)
    return answer


class _Repos(BaseModel):
    repos: list[Repo]


class _Sandboxes(BaseModel):
    sandboxes: list[Sandbox]


class _OneRun(BaseModel):
    run: Run


class _McpServers(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    servers: list[McpServer]


class _Cancelled(CamelRecord):
    run: Run
    status: object = None
    already_terminal: object = None


def _read(model: type[M], data: dict[str, object]) -> M:
    """What the answer holds.

    Raises:
        MogplexError: INVALID_RESPONSE: something certain is missing.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_input=False, include_url=False)[0]["loc"])[:100]
    raise MogplexError("INVALID_RESPONSE", f"Mogplex's answer has no usable `{where}`.")


def _cancelled(answer: _Cancelled) -> CancelResult:
    """Both wordings of a cancellation in one shape.

    The documentation says ``status`` cancellation_requested or already_terminal; today's service gives the run's status
    there and says ``alreadyTerminal`` besides.
    """
    if isinstance(answer.already_terminal, bool):
        already = answer.already_terminal
    else:
        # A run that has just been asked to stop has neither succeeded nor failed.
        already = answer.status == "already_terminal" or answer.run.status in {"success", "failed"}
    word = "already_terminal" if already else "cancellation_requested"
    return CancelResult(run=answer.run, status=word, already_terminal=already)


def _out_of_time(upstream: Upstream, seconds: float) -> MogplexError:
    return MogplexError("TIMEOUT", f"No answer from {upstream.route.address} within {seconds:.0f} s.")


def _is_token(credential: str) -> bool:
    """Whether it can stand in a header by itself (RFC 6750, section 2.1, is stricter; Mogplex decides)."""
    return credential.isascii() and credential.isprintable() and " " not in credential and credential != ""


def _checked_key(key: str) -> str:
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY or not key.isascii() or not key.isprintable() or key != key.strip():
        raise MogplexError(
            "BAD_REQUEST", f"idempotencyKey: must be 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters."
        )
    return key


def _segment(identifier: str) -> str:
    """An id as one segment of a path, from which it cannot get out."""
    if not 0 < len(identifier) <= MAX_SEGMENT or identifier in {".", ".."} or not identifier.isprintable():
        raise MogplexError("BAD_REQUEST", "runId: is empty, too long, or holds characters that no id has.")
    return quote(identifier, safe="")


def _query(given: Mapping[str, str | int]) -> str:
    for name, value in given.items():
        if isinstance(value, str) and (len(value) > MAX_FILTER or not _is_text(value)):
            raise MogplexError("BAD_REQUEST", f"`{name}` is longer than {MAX_FILTER} characters, or not text.")
    return urlencode(given)


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: half a surrogate pair cannot."""
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)
