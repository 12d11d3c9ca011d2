"""One attempt at one request: sent, redirected within its origin, its answer read; every way this can fail."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from functools import lru_cache

import httpx2

from mogplex_mcp.api.answer import (
    MAX_BYTES,
    TooLargeError,
    answer_error,
    describe,
    envelope_data,
    envelope_error,
    not_an_envelope,
    parse,
    read_body,
)
from mogplex_mcp.api.errors import MogplexError
from mogplex_mcp.api.retry import FailedAttempt, Fate
from mogplex_mcp.api.transport import Upstream

MAX_REDIRECTS = 3

_NO_BODY = httpx2.ByteStream(b"")


@dataclass(frozen=True)
class Exchange:
    """A request, ready to be made as often as it takes.

    Attributes:
        upstream: Where to.
        credential: The bearer token; kept only to be struck out of what is shown.
        method: GET or POST.
        url: Address with query.
        headers: All headers as sent.
        body: The bytes to send, the same at every attempt.
    """

    upstream: Upstream
    credential: str
    method: str
    url: str
    headers: httpx2.Headers
    body: bytes = b""

    def __repr__(self) -> str:
        return f"<Exchange {self.method} {self.url}>"

    async def attempt(self) -> dict[str, object]:
        """Make the request once and give the ``data`` of the answer's envelope.

        Raises:
            FailedAttempt: With what to say about it, and whether the request had been sent.
        """
        url = _address(self.url)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._send(url)
            if response.status_code not in {301, 302, 303, 307, 308}:
                return await self._data(response)
            await response.aclose()
            url = self._redirected(url, response)
        raise self._refused(response, "HTTP_ERROR", f"Mogplex redirected more than {MAX_REDIRECTS} times.")

    async def _send(self, url: httpx2.URL) -> httpx2.Response:
        stream = httpx2.ByteStream(self.body) if self.body else _NO_BODY
        timeouts = self.upstream.timeouts
        request = httpx2.Request(self.method, url, headers=self.headers, stream=stream, extensions=timeouts)
        try:
            return await self.upstream.transport.handle_async_request(request)
        except (httpx2.HTTPError, OSError) as error:
            raise self._unanswered(error) from None

    def _unanswered(self, error: Exception) -> FailedAttempt:
        """What it means that no answer came."""
        who = self.upstream.route.address
        match error:
            case httpx2.ConnectTimeout():
                message = f"No connection to {who} within {self.upstream.connect_timeout:g} s."
                return FailedAttempt(MogplexError("TIMEOUT", message), "unsent")
            case httpx2.PoolTimeout():
                message = f"All connections to {who} have been busy for {self.upstream.read_timeout:g} s."
                return FailedAttempt(MogplexError("TIMEOUT", message), "unsent")
            case httpx2.TimeoutException():
                message = f"No answer from {who} within {self.upstream.read_timeout:g} s."
                return FailedAttempt(MogplexError("TIMEOUT", message), "lost")
            case httpx2.ConnectError() | httpx2.ProxyError() | httpx2.UnsupportedProtocol():
                return FailedAttempt(self._unreachable(error), "unsent")
            case _:
                message = f"The connection to {who} broke before an answer came."
                return FailedAttempt(MogplexError("UNREACHABLE", message), "lost")

    def _unreachable(self, error: Exception) -> MogplexError:
        route = self.upstream.route
        message = f"Cannot reach {route.address}: {_reason(error)}."
        if route.start_command is None:
            return MogplexError("UNREACHABLE", message)
        return MogplexError(
            "UNREACHABLE",
            message,
            suggestion=f"Ask the user to start the daemon (`{route.start_command}`), or to unset MOGPLEX_TRANSPORT.",
        )

    async def _data(self, response: httpx2.Response) -> dict[str, object]:
        body = await self._body(response)
        try:
            value = parse(body)
        except ValueError:
            value = None
        data = envelope_data(response.status_code, value)
        if data is not None:
            return data
        error = envelope_error(response, value, self.credential)
        if error is None:
            what = "JSON that is not its envelope" if value is not None else describe(response, body)
            error = not_an_envelope(response, what, self.credential)
        raise FailedAttempt(error, "refused")

    async def _body(self, response: httpx2.Response) -> bytes:
        fate: Fate = "lost"
        try:
            return await read_body(response)
        except TooLargeError:
            what, fate = f"more than {MAX_BYTES // 1024**2} MB", "refused"
        except httpx2.TimeoutException:
            what = f"only a part within {self.upstream.read_timeout:g} s"
        except httpx2.DecodingError:
            what, fate = "broken compression", "refused"
        except (httpx2.HTTPError, OSError):
            what = "only a part (the connection broke)"
        finally:
            await response.aclose()
        raise FailedAttempt(not_an_envelope(response, what, self.credential), fate)

    def _redirected(self, url: httpx2.URL, response: httpx2.Response) -> httpx2.URL:
        """Where to go instead: the same origin only, and with the same method only."""
        location = response.headers.get("location", "")
        try:
            target = url.join(location) if location else httpx2.URL()
        except (httpx2.InvalidURL, ValueError):
            target = httpx2.URL()
        status = response.status_code
        if not target.host:
            raise self._refused(response, "HTTP_ERROR", f"HTTP {status} redirects to no usable address.")
        if _origin(target) != _origin(url):
            raise self._elsewhere(response, target)
        if status == 303 or (status in {301, 302} and self.method != "GET"):
            raise self._refused(
                response, "HTTP_ERROR", f"HTTP {status} redirects a {self.method}, which is not followed."
            )
        return target

    def _elsewhere(self, response: httpx2.Response, target: httpx2.URL) -> FailedAttempt:
        here, there = self.upstream.route.address, _shown_origin(target)
        return self._refused(
            response,
            "HTTP_ERROR",
            f"{here} redirects to {there}. A token never follows a redirect to another origin.",
            suggestion=f"Ask the user to set MOGPLEX_URL to {there} if that is the Mogplex they mean.",
        )

    def _refused(
        self, response: httpx2.Response, code: str, message: str, suggestion: str | None = None
    ) -> FailedAttempt:
        return FailedAttempt(answer_error(response, code, message, self.credential, suggestion), "refused")


@lru_cache(maxsize=256)
def _address(url: str) -> httpx2.URL:
    # Reading a URL costs as much as a fifth of a call, and a run that is watched is asked for again and again.
    return httpx2.URL(url)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _shown_origin(url: httpx2.URL) -> str:
    port = f":{url.port}" if url.port else ""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme[:16]}://{host[:253]}{port}"


def _reason(error: BaseException) -> str:
    """Why a connection failed, in the operating system's words where it has some."""
    pending: list[BaseException | None] = [error]
    for _ in range(32):
        cause = pending.pop(0) if pending else None
        if cause is None:
            continue
        if isinstance(cause, (ssl.SSLError, socket.gaierror)) and cause.strerror:
            return cause.strerror
        if isinstance(cause, OSError) and cause.errno:
            # By number: asyncio puts other words in the place of the system's.
            return os.strerror(cause.errno)
        if isinstance(cause, BaseExceptionGroup):
            pending.extend(cause.exceptions)
        pending += [cause.__cause__, cause.__context__]
    return str(error)[:200] or type(error).__name__
