"""What the host says without awaiting an answer: notifications, its answers to the server, cancellations."""

from __future__ import annotations

import threading
from collections import deque

from mogplex_mcp_shim import log
from mogplex_mcp_shim.endpoint import PATIENCE, Undelivered
from mogplex_mcp_shim.http import Abort, HttpError
from mogplex_mcp_shim.json_rpc import is_answer
from mogplex_mcp_shim.mirrored import standard_headers
from mogplex_mcp_shim.session import POST_FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mogplex_mcp_shim.call import Call
    from mogplex_mcp_shim.json_rpc import Message
    from mogplex_mcp_shim.link import Link
    from mogplex_mcp_shim.session import State
    from mogplex_mcp_shim.workers import Workers

SENT_TIMEOUT = 10.0
"""Seconds that a cancellation waits for its request to have gone out before it."""

STEP_TIMEOUT = 60.0
"""Seconds for the server to take a notification."""


class Notices:
    """Sends them: notifications in their order, answers and cancellations past them."""

    def __init__(self, link: Link, workers: Workers) -> None:
        self._link = link
        self._workers = workers
        self._lock = threading.Lock()
        self._queue: deque[Message] = deque()
        self._is_sending = False

    def send(self, message: Message) -> None:
        """Send a message that awaits no answer."""
        if message.method == "notifications/cancelled":
            self._cancel(message)
        elif is_answer(message.bodies[0]):
            self._workers.submit(lambda: self.deliver(message))
        else:
            with self._lock:
                self._queue.append(message)
                if self._is_sending:
                    return
                self._is_sending = True
            self._workers.submit(self._send_queued)

    def deliver(self, message: Message) -> None:
        """POST a message, and await no more than that the server has taken it."""
        session = self._link.session
        for _ in range(2):
            state = session.state
            abort = Abort()
            try:
                answer = self._link.endpoint.exchange(
                    "POST", POST_FIELDS + self._headers(message, state), message.raw, abort,
                    repeatable=True, patience=PATIENCE, timeout=STEP_TIMEOUT,
                )  # fmt: skip
                answer.read_all(65_536)
                if answer.status == 404 and message.version is None and state.id is not None:
                    session.renew(state.generation, abort)
                    continue
                failure = f"HTTP {answer.status}" if answer.status >= 400 else None
            except (Undelivered, HttpError) as error:
                failure = str(error)
            if failure is not None:
                what = message.method or "an answer of the host's"
                log.say(f"the server did not take {what}: {failure}")
            return

    def _headers(self, message: Message, state: State) -> list[tuple[str, str]]:
        version = message.version or (None if self._link.session.is_open else self._link.version)
        if version is None:
            return state.headers()
        return standard_headers(version, message.method, message.params)

    def _send_queued(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._is_sending = False
                    return
                message = self._queue.popleft()
            self.deliver(message)

    def _cancel(self, message: Message) -> None:
        """Cancel: since 2026-07-28 by closing the answer's stream, before by saying so."""
        call = self._link.pending(message.params.get("requestId"))
        if call is not None and call.is_modern:
            call.cancel()
        elif self._link.session.is_open:
            self._workers.submit(lambda: self._forward_cancel(message, call))

    def _forward_cancel(self, message: Message, call: Call | None) -> None:
        if call is not None:
            call.sent.wait(SENT_TIMEOUT)
            call.cancel()
        self.deliver(message)
