"""The load generator: keep-alive connections that call one after the other and check every answer.

Run as ``python -m bench.load`` with a job as JSON on standard input; prints a measurement as JSON. It is a process of
its own so that it shares no event loop with what it measures.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Final, cast

import click
import httptools
import uvloop

from bench.calls import Answer, Subject, Target

WARM_UP_CALLS: Final = 20
"""Calls of each connection before the clock starts: the first ones check the credential and fill pools."""

ANSWER_TIMEOUT: Final = 30.0
"""Seconds to wait for one answer."""


@dataclass(frozen=True)
class Job:
    """What to measure.

    Attributes:
        target: Who is measured.
        connections: How many call at once, each on its own connection (and in its own session).
        seconds: How long.
    """

    target: Target
    connections: int
    seconds: float


@dataclass(frozen=True)
class Measurement:
    """What one job gave; wrong answers count as errors and not as requests."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    errors: int
    first_error: str | None


@dataclass
class Tally:
    """What the connections of one job have seen so far; durations in seconds."""

    durations: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One connection, with one request on its way at a time."""

    def __init__(self) -> None:
        self.answered = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection to write to."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another base class

    def data_received(self, data: bytes) -> None:
        """Parse what came; the ``on_`` methods are httptools's callbacks."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request on its way, and every later one."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError(f"connection closed ({exc})"))

    def on_message_begin(self) -> None:
        """Forget the answer before."""
        self._headers, self._body = {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header."""
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        """Keep one piece of the body, without the framing of chunks."""
        self._body += body

    def on_message_complete(self) -> None:
        """Hand over the answer."""
        self.answered = perf_counter()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(self._parser.get_status_code(), self._headers, self._body))

    async def exchange(self, request: bytes) -> Answer:
        """Send one request and wait for its answer.

        Raises:
            ConnectionError: The connection is, or was meanwhile, closed.
            TimeoutError: No answer within ``ANSWER_TIMEOUT``.
        """
        if self._transport is None:
            raise ConnectionResetError("connection closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        async with asyncio.timeout(ANSWER_TIMEOUT):
            return await self._answer

    @property
    def is_open(self) -> bool:
        """Whether requests can still be sent."""
        return self._transport is not None

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


class Caller:
    """One connection, its session when the subject wants one, and the calls made on it."""

    def __init__(self, target: Target, connection: Connection) -> None:
        self.target = target
        self.connection = connection
        self.session = ""
        self.calls = 0

    @classmethod
    async def connect(cls, target: Target) -> Caller:
        """Connect, and open a session where the subject has sessions.

        Raises:
            OSError: Nothing listens.
            RuntimeError: The session was refused.
        """
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", target.port)
        caller = cls(target, connection)
        if target.subject is Subject.SESSION:
            answer = await connection.exchange(target.opening())
            caller.session = answer.headers.get(b"mcp-session-id", b"").decode()
            accepted = await connection.exchange(target.opened(caller.session))
            if answer.status != 200 or accepted.status != 202:
                raise RuntimeError(f"no session: HTTP {answer.status}, then {accepted.status}: {answer.body[:300]!r}")
        return caller

    async def call(self, tally: Tally) -> None:
        """Make the measured call once and note how it went."""
        self.calls += 1
        request = self.target.call(self.calls, self.session)
        started = perf_counter()
        answer = await self.connection.exchange(request)
        wrong = self.target.problem(self.calls, answer)
        if wrong is None:
            tally.durations.append(self.connection.answered - started)
        else:
            tally.errors.append(wrong)

    async def call_until(self, deadline: float, tally: Tally) -> None:
        """Call again and again until ``perf_counter()`` has passed the deadline or the connection is gone."""
        try:
            while perf_counter() < deadline:
                await self.call(tally)
        except (OSError, httptools.HttpParserError) as error:
            tally.errors.append(f"{type(error).__name__}: {error}")

    async def close(self) -> None:
        """End the session and the connection."""
        if self.session and self.connection.is_open:
            await self.connection.exchange(self.target.closing(self.session))
        self.connection.close()


async def measure(job: Job) -> Measurement:
    """Do one job."""
    callers = [await Caller.connect(job.target) for _ in range(job.connections)]
    warm_up, tally = Tally(), Tally()
    for caller in callers:
        for _ in range(WARM_UP_CALLS):
            await caller.call(warm_up)
    started = perf_counter()
    await asyncio.gather(*(caller.call_until(started + job.seconds, tally) for caller in callers))
    elapsed = perf_counter() - started
    for caller in callers:
        await caller.close()
    errors = warm_up.errors + tally.errors
    durations = sorted(tally.durations)
    return Measurement(
        requests_per_second=len(durations) / elapsed,
        p50_ms=percentile(durations, 0.50) * 1000,
        p99_ms=percentile(durations, 0.99) * 1000,
        requests=len(durations),
        errors=len(errors),
        first_error=errors[0] if errors else None,
    )


def percentile(ordered: list[float], share: float) -> float:
    """The value that ``share`` of the ordered values do not exceed; 0 of none."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


if __name__ == "__main__":
    order = json.load(sys.stdin)
    target = Target(Subject(order["subject"]), order["port"], order["token"])
    job = Job(target, order["connections"], order["seconds"])
    click.echo(json.dumps(asdict(uvloop.run(measure(job)))))
