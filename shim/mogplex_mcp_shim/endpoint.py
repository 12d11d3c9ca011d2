"""The MCP server's endpoint: one HTTP request to it, with its credential, repeated where that is safe."""

from __future__ import annotations

import threading
import time

from mogplex_mcp_shim import __version__, log
from mogplex_mcp_shim.credentials import Credentials, Failed
from mogplex_mcp_shim.http import Abort, Exchange, HttpError, Pool
from mogplex_mcp_shim.json_rpc import SERVER_ERROR
from mogplex_mcp_shim.urls import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mogplex_mcp_shim.json_rpc import Json
    from mogplex_mcp_shim.options import Options

    Fields = list[tuple[str, str]]

PATIENCE = 20.0
"""Seconds that one request waits in all for a server that is busy; for one that is not there, a third of them."""

HASTE = 6.0
"""The same while the host starts: it gives up after ten."""

FIRST_PAUSE = 0.1
AUTHORIZATIONS = 4
"""Times that one request comes back with another credential: a refresh or a sign-in, and two steps up."""

REDIRECTS = 3
UNSENT = {"dns", "refused", "connect", "timeout"}
ATTACH_HEADER = "Mogplex-Attach-Run"


class Undelivered(Exception):  # noqa: N818 - it says what happened
    """A request got no answer that could be used. The text is for the person.

    Attributes:
        code: The JSON-RPC code to answer with.
        data: What else the host should know.
    """

    def __init__(self, message: str, *, code: int = SERVER_ERROR, data: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class _Attempts:
    """What one request has used up of its patience."""

    __slots__ = ("authorizations", "pause", "redirects", "resets", "target", "unreached_since", "waited")

    def __init__(self) -> None:
        self.authorizations = 0
        self.pause = FIRST_PAUSE
        self.redirects = 0
        self.resets = 0
        self.target: str | None = None
        self.unreached_since: float | None = None
        self.waited = 0.0


class Endpoint:
    """Where the MCP server listens."""

    def __init__(self, options: Options, credentials: Credentials) -> None:
        self._url = options.server
        self._pool = Pool(options.server)
        self._credentials = credentials
        self._attach = options.attach
        self._fixed = [("User-Agent", f"mogplex-mcp-shim/{__version__}"), *options.headers]
        if options.attach is not None:
            self._fixed.append((ATTACH_HEADER, options.attach))
        self._attach_unseen = threading.Lock()
        """Taken by the first answer, and never let go."""

    def exchange(
        self,
        method: str,
        headers: Fields,
        body: bytes,
        abort: Abort,
        *,
        repeatable: bool,
        patience: float,
        on_sent: Callable[[], None] | None = None,
        timeout: float | None = None,
    ) -> Exchange:
        """Send a request; wait, authorize and send it again as far as that helps.

        Args:
            method: The HTTP method.
            headers: Its own header fields.
            body: Its body.
            abort: Ends it from another thread.
            repeatable: Whether it does no harm when it reaches the server twice.
            patience: Seconds to wait in all when the server is busy; with 0 it is sent once, whatever comes of it.
            on_sent: Called when it has gone out.
            timeout: Seconds for each step; None waits as long as the connection lives.

        Returns:
            The answer; its status may be any.

        Raises:
            Undelivered: There is none.
            HttpError: ``aborted`` only.
        """
        attempts = _Attempts()
        while True:
            bearer = self._credentials.bearer()
            fields = [*self._fixed, *headers]
            if bearer is not None:
                fields.append(("Authorization", f"Bearer {bearer}"))
            try:
                target = attempts.target or self._url.target
                answer = self._pool.exchange(method, target, fields, body, abort, timeout=timeout, on_sent=on_sent)
            except HttpError as error:
                if not patience:
                    raise Undelivered(str(error)) from error
                self._await_connection(error, attempts, abort, patience=patience, repeatable=repeatable)
                continue
            if bearer is not None and answer.status != 401:
                self._credentials.on_accepted(bearer)
            if log.is_noting():
                log.note(f"{method} -> {answer.status}")
            if self._is_final(answer, bearer, attempts, abort, patience=patience, repeatable=repeatable):
                self._look_for_attachment(answer)
                return answer

    def _is_final(
        self,
        answer: Exchange,
        bearer: str | None,
        attempts: _Attempts,
        abort: Abort,
        *,
        patience: float,
        repeatable: bool,
    ) -> bool:
        status = answer.status
        if status < 300 or not patience:
            return True
        if status in {401, 403}:
            return not self._reauthorized(answer, bearer, attempts, abort)
        if status in {301, 302, 303, 307, 308}:
            self._redirect(answer, attempts)
            return False
        if status in {429, 503} or (status in {502, 504} and repeatable):
            return not self._await_server(answer, attempts, abort, patience)
        return True

    def _reauthorized(self, answer: Exchange, bearer: str | None, attempts: _Attempts, abort: Abort) -> bool:
        """Whether there is another credential to try."""
        challenge = ", ".join(answer.headers.get_all("www-authenticate"))
        if answer.status == 403 and "insufficient_scope" not in challenge:
            return False
        attempts.authorizations += 1
        if attempts.authorizations > AUTHORIZATIONS:
            _drop(answer)
            raise Undelivered("the server refuses every credential it was given", data={"status": answer.status})
        _drop(answer)
        ask = self._credentials.on_unauthorized if answer.status == 401 else self._credentials.on_insufficient_scope
        outcome = ask(bearer, challenge)
        if isinstance(outcome, Failed):
            data: Json = {"status": answer.status}
            if outcome.link is not None:
                data["link"] = outcome.link
            raise Undelivered(outcome.message, code=outcome.code, data=data)
        if abort.is_set():
            raise HttpError("aborted", "the request was cancelled")
        return True

    def _redirect(self, answer: Exchange, attempts: _Attempts) -> None:
        """Follow a redirect that stays here and keeps the method: no credential goes elsewhere."""
        location = answer.headers.get("location") or ""
        _drop(answer)
        attempts.redirects += 1
        try:
            there = resolve(self._url, location)
        except ValueError as error:
            raise Undelivered("the server redirects to what is no URL", data={"status": answer.status}) from error
        if there.origin != self._url.origin:
            where = f"{there.origin}{there.target.partition('?')[0]}"
            raise Undelivered(
                f"the server redirects to {where}: if that is right, use it as the URL", data={"status": answer.status}
            )
        if answer.status not in {307, 308} or attempts.redirects > REDIRECTS:
            raise Undelivered("the server redirects in a way that cannot be followed", data={"status": answer.status})
        attempts.target = there.target

    def _await_connection(
        self, error: HttpError, attempts: _Attempts, abort: Abort, *, patience: float, repeatable: bool
    ) -> None:
        """Wait before the next attempt.

        Raises:
            Undelivered: There is to be none.
        """
        if error.kind == "aborted":
            raise error
        now = time.monotonic()
        if attempts.unreached_since is None:
            attempts.unreached_since = now
        if error.kind in UNSENT and not error.sent:
            pause, again = attempts.pause, now - attempts.unreached_since < patience / 3
        else:
            attempts.resets += 1
            pause, again = attempts.pause, repeatable and error.kind == "reset" and attempts.resets < 3
        if not again:
            unsure = error.sent and not repeatable and error.kind in {"reset", "timeout"}
            text = f"{error}; whether the request was carried out is unknown" if unsure else str(error)
            raise Undelivered(text, data={"reason": error.kind}) from error
        log.note(f"{error.kind}: again in {pause:g} s")
        if abort.wait(pause):
            raise HttpError("aborted", "the request was cancelled") from error
        attempts.pause = min(pause * 2, 1.0)

    def _await_server(self, answer: Exchange, attempts: _Attempts, abort: Abort, patience: float) -> bool:
        """Whether the server asks to come again, and soon enough; waits until then."""
        asked = _retry_after(answer.headers.get("retry-after"))
        if asked is None and attempts.waited > 2:
            return False
        pause = max(asked if asked is not None else attempts.pause * 5, 0.05)
        if attempts.waited + pause > patience:
            return False
        _drop(answer)
        log.note(f"{answer.status}: again in {pause:g} s")
        attempts.waited += pause
        attempts.pause *= 2
        if abort.wait(pause):
            raise HttpError("aborted", "the request was cancelled")
        return True

    def _look_for_attachment(self, answer: Exchange) -> None:
        if self._attach is None or not self._attach_unseen.acquire(blocking=False):
            return
        if answer.headers.get(ATTACH_HEADER) != self._attach:
            log.say("this server does not attach to runs: --attach has no effect")


def _retry_after(value: str | None) -> float | None:
    """The seconds that ``Retry-After`` names (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    from email.utils import parsedate_to_datetime

    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def _drop(answer: Exchange) -> None:
    """Read a short answer to its end, so that its connection can be kept."""
    try:
        answer.read_all(65_536)
    except HttpError:
        answer.close()
