"""One line of the host's that awaits an answer, from its POST to that answer. It gets exactly one."""

from __future__ import annotations

import threading

from mogplex_mcp_shim import log
from mogplex_mcp_shim.answers import EVENT_STREAM, own_answer
from mogplex_mcp_shim.endpoint import HASTE, PATIENCE, Undelivered
from mogplex_mcp_shim.http import Abort, Exchange, HttpError
from mogplex_mcp_shim.json_rpc import (
    VERSION_KEY,
    as_line,
    error_line,
    error_of,
    id_key,
    is_answer,
    line_of,
    read_answer,
)
from mogplex_mcp_shim.mirrored import standard_headers
from mogplex_mcp_shim.session import POST_FIELDS
from mogplex_mcp_shim.sse import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mogplex_mcp_shim.json_rpc import Json, Message
    from mogplex_mcp_shim.link import Link
    from mogplex_mcp_shim.session import State

ANSWER_LIMIT = 128 * 2**20
"""Octets of one answer."""

ERROR_LIMIT = 2**20
"""Octets of an answer with an error status."""

HEADER_MISMATCH = -32020
LISTED_PAGES = 50
RETRY_DEFAULT, RETRY_LIMIT = 1.0, 30.0
"""Seconds before a broken stream is resumed, when the server does not say, and at most."""

RESUMPTIONS = 5
"""Times that a stream is resumed in vain."""

ANSWER_AFTER_CANCEL = 30.0
"""Seconds that a cancelled request of the earlier revisions may still be answered: closing it would not cancel it."""

START_METHODS = {"initialize", "server/discover", "tools/list", "ping"}


class Call:
    """A request, or a batch of them.

    Attributes:
        is_modern: Whether it is of 2026-07-28 or later.
        is_lasting: Whether its answer is a stream of notifications without an end.
        sent: Set when it has gone out, or never will.
    """

    def __init__(self, link: Link, message: Message) -> None:
        self._link = link
        self._message = message
        self._version = message.version
        self._remaining: dict[Any, Any] = {id_key(each): each for each in message.ids}
        self._lock = threading.Lock()
        self._has_listed = False
        self._is_cancelled = False
        self.abort = Abort()
        self.sent = threading.Event()
        self.is_modern = self._version is not None
        self.is_lasting = message.method == "subscriptions/listen"

    def run(self) -> None:
        """Send it, and write its answer."""
        try:
            self._converse()
            self._fail("the server gave no answer")
        except Undelivered as error:
            self._fail(str(error), error.code, error.data)
        except HttpError as error:
            if not self.abort.is_set():
                self._fail(str(error), data={"reason": error.kind})
        except Exception as error:  # the last resort: whatever happens, the host gets its answer
            log.note(f"unexpected: {error!r}")
            self._fail(f"the shim failed: {type(error).__name__}")
        finally:
            self.sent.set()
            self._link.forget(self, self._message.ids)

    def cancel(self) -> None:
        """The host no longer wants the answer."""
        self._is_cancelled = True
        if self.is_modern:
            with self._lock:
                self._remaining.clear()
            self.abort.set()
        else:
            timer = threading.Timer(ANSWER_AFTER_CANCEL, self.abort.set)
            timer.daemon = True
            timer.start()

    def take_answer(self, body: Json, raw: bytes) -> bool:
        """Pass on an answer that came on another stream; False when it is not to this call."""
        if id_key(body.get("id")) not in self._remaining:
            return False
        self._answer(body, raw, None)
        return True

    def _converse(self) -> None:
        renewals = 0
        while True:
            session = self._link.session.state
            answer = self._post(session)
            may_renew = renewals < 2 and session.id is not None and self._message.method != "initialize"
            if may_renew and answer.status == 404 and not self.is_modern:
                # The server no longer knows the session (MCP 2025-11-25, "Session Management", 4).
                renewals += 1
                answer.close()
                self._link.session.renew(session.generation, self.abort)
                continue
            if answer.status >= 400:
                if self._refused(answer, session.generation if may_renew else None):
                    renewals += 1
                    continue
            elif answer.headers.media_type() == EVENT_STREAM:
                self._stream(answer)
            elif answer.status in {202, 204}:
                answer.close()
                raise Undelivered("the server took the request and gave no answer", data={"status": answer.status})
            else:
                self._take(answer.read_all(ANSWER_LIMIT), answer)
            return

    def _post(self, session: State) -> Exchange:
        method, params = self._message.method, self._message.params
        if self._version is not None:
            headers = standard_headers(self._version, method, params)
            if method == "tools/call":
                headers += self._link.tools.headers(params)
        elif method == "initialize":
            headers = []
        else:
            headers = session.headers()
        return self._link.endpoint.exchange(
            "POST",
            POST_FIELDS + headers,
            self._message.raw,
            self.abort,
            repeatable=all(
                self._link.tools.may_repeat(str(body.get("method")), _params(body)) for body in self._message.bodies
            ),
            patience=HASTE if method in START_METHODS else PATIENCE,
            on_sent=self.sent.set,
        )

    def _refused(self, answer: Exchange, generation: int | None) -> bool:
        """Pass on an error status as an error; True when there is reason to send the request again."""
        asked = answer.headers.get("retry-after")
        try:
            body = answer.read_all(ERROR_LIMIT)
        except HttpError:
            body = b""
        bodies = read_answer(body) if answer.headers.media_type() == "application/json" else None
        error = error_of(bodies or [])
        if error is None:
            raise Undelivered(_explained(answer.status, asked), data=_facts(answer.status, asked))
        if error["code"] == HEADER_MISMATCH and self.is_modern and self._relist():
            return True
        if answer.status == 400 and generation is not None and not self.is_modern and _names_session(bodies):
            self._link.session.renew(generation, self.abort)  # servers made after a common example say it this way
            return True
        for known in list(self._remaining.values()):
            self._answer({"jsonrpc": "2.0", "id": known, "error": error}, None, answer)
        return False

    def _stream(self, answer: Exchange) -> None:
        """Read a stream to the answer; resume it where the revision allows."""
        last_id: str | None = None
        pause, failures = RETRY_DEFAULT, 0
        while True:
            progressed = False
            try:
                for event in events(answer.read):
                    progressed = True
                    last_id = event.id if event.id is not None else last_id
                    pause = min(event.retry / 1000, RETRY_LIMIT) if event.retry is not None else pause
                    if event.data and event.name in {"", "message"}:
                        self._take(event.data, answer)
                    if not self._remaining:
                        answer.finish(0.02)
                        return
            except ValueError as error:
                raise Undelivered(str(error)) from error
            except HttpError as error:
                log.note(f"a stream broke off: {error}")
            answer.close()
            if self.abort.is_set():
                raise HttpError("aborted", "the request was cancelled")
            failures = 0 if progressed else failures + 1
            if self.is_modern or not last_id or failures > RESUMPTIONS:
                end = "the stream has ended" if self.is_lasting else "whether the request was carried out is unknown"
                raise Undelivered(f"the server's answer broke off; {end}", data={"reason": "reset"})
            answer = self._resume(last_id, pause)

    def _resume(self, last_id: str, pause: float) -> Exchange:
        """Ask for the rest of a stream (MCP 2025-11-25, "Resumability and Redelivery")."""
        log.note(f"resuming a stream in {pause:g} s")
        if self.abort.wait(pause):
            raise HttpError("aborted", "the request was cancelled")
        headers = [("Accept", EVENT_STREAM), ("Last-Event-ID", last_id), *self._link.session.state.headers()]
        answer = self._link.endpoint.exchange("GET", headers, b"", self.abort, repeatable=True, patience=PATIENCE)
        if answer.status != 200 or answer.headers.media_type() != EVENT_STREAM:
            answer.close()
            raise Undelivered(
                "the server's answer broke off and cannot be resumed; whether the request was carried out is unknown",
                data={"status": answer.status},
            )
        return answer

    def _take(self, data: bytes, answer: Exchange) -> None:
        """Pass on what the server sent: an answer of this call's, or whatever else it says meanwhile."""
        bodies = read_answer(data)
        if bodies is None:
            raise Undelivered("the server's answer is not JSON-RPC")
        raw = data if len(bodies) == 1 and not data.lstrip().startswith(b"[") else None
        for body in bodies:
            if is_answer(body):
                self._answer(body, raw, answer)
            else:
                self._link.write(as_line(raw) if raw is not None else line_of(body))

    def _answer(self, body: Json, raw: bytes | None, answer: Exchange | None) -> None:
        """Write the answer, if it is still awaited."""
        key = id_key(body.get("id"))
        if key not in self._remaining:
            if len(self._message.ids) != 1 or self._link.is_pending(body.get("id")):
                return
            # The server did not read the id, or changed its type: this POST's answer it is all the same.
            body, raw, key = {**body, "id": self._message.ids[0]}, None, id_key(self._message.ids[0])
        if self._learn(body, answer):
            raw = None
        with self._lock:
            if self._remaining.pop(key, None) is None:
                return
        self._link.write(as_line(raw) if raw is not None else line_of(body))

    def _learn(self, body: Json, answer: Exchange | None) -> bool:
        """Take from an answer what the transport needs to know; True when it was changed."""
        method = self._message.method
        if not isinstance(body.get("result"), dict):
            return False
        if method == "tools/list":
            return self._link.tools.learn(body, mirrored=self.is_modern)
        if self.is_modern:
            return False
        if method == "initialize" and answer is not None:
            self._link.session.begin(self._message.raw, body, answer.headers)
        else:
            self._link.session.remember(method, self._message.params, self._message.raw)
        return False

    def _relist(self) -> bool:
        """After -32020: list the tools, to learn the headers; True when the call now has others than before."""
        if self._has_listed or self._message.method != "tools/call":
            return False
        self._has_listed = True
        before = self._link.tools.headers(self._message.params)
        meta = self._message.params.get("_meta")
        cursor = None
        for page in range(LISTED_PAGES):
            params: Json = {"_meta": {key: value for key, value in _object(meta).items() if key != "progressToken"}}
            if cursor is not None:
                params["cursor"] = cursor
            body = line_of({"jsonrpc": "2.0", "id": f"shim-tools-{page}", "method": "tools/list", "params": params})
            headers = POST_FIELDS + standard_headers(str(params["_meta"][VERSION_KEY]), "tools/list", {})
            listed = own_answer(
                self._link.endpoint.exchange("POST", headers, body, self.abort, repeatable=True, patience=HASTE)
            )
            self._link.tools.learn(listed, mirrored=True)
            cursor = listed["result"].get("nextCursor")
            if not isinstance(cursor, str):
                break
        return self._link.tools.headers(self._message.params) != before

    def _fail(self, message: str, code: int = -32000, data: Json | None = None) -> None:
        """Answer what is not answered yet with an error."""
        with self._lock:
            unanswered = [] if self._is_cancelled else list(self._remaining.values())
            self._remaining.clear()
        for request_id in unanswered:
            self._link.write(error_line(request_id, code, message, data))


def _params(body: Json) -> Json:
    return _object(body.get("params"))


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _names_session(bodies: list[Json] | None) -> bool:
    error = error_of(bodies or [])
    return (
        error is not None
        and bodies is not None
        and bodies[0].get("id") is None
        and "session" in str(error.get("message")).lower()
    )


def _facts(status: int, asked: str | None) -> Json:
    return {"status": status} if asked is None else {"status": status, "retryAfter": asked}


def _explained(status: int, asked: str | None) -> str:
    """What an error status without a JSON-RPC error means to the person."""
    if status in {429, 503}:
        when = f"; it asks to come again after {asked}" + (" s" if asked.isdecimal() else "") if asked else ""
        return f"the server is busy (HTTP {status}){when}"
    if status in {401, 403}:
        return f"the server refuses the credential (HTTP {status})"
    if status in {404, 405}:
        return f"there is no MCP server at this URL (HTTP {status})"
    return f"the server answered with HTTP {status}"
