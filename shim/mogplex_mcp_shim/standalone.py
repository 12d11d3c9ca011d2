"""The standalone stream of the earlier revisions: what the server says without being asked (MCP 2025-11-25, GET)."""

from __future__ import annotations

import threading

from mogplex_mcp_shim import log
from mogplex_mcp_shim.answers import EVENT_STREAM
from mogplex_mcp_shim.call import RETRY_DEFAULT, RETRY_LIMIT
from mogplex_mcp_shim.endpoint import HASTE, Undelivered
from mogplex_mcp_shim.http import Abort, Exchange, HttpError
from mogplex_mcp_shim.json_rpc import as_line, is_answer, line_of, read_answer
from mogplex_mcp_shim.sse import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mogplex_mcp_shim.link import Link
    from mogplex_mcp_shim.session import State


class Standalone:
    """The stream of one session; opened again whenever it ends."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._abort: Abort | None = None

    def open(self) -> None:
        """Listen to the session that has just begun, and no longer to the one before."""
        abort = Abort()
        with self._lock:
            previous, self._abort = self._abort, abort
        if previous is not None:
            previous.set()
        threading.Thread(target=self._listen, args=(abort,), daemon=True).start()

    def close(self) -> None:
        """Listen no longer."""
        with self._lock:
            if self._abort is not None:
                self._abort.set()

    def _listen(self, abort: Abort) -> None:
        last_id: str | None = None
        pause, backoff = RETRY_DEFAULT, RETRY_DEFAULT
        while not abort.is_set():
            session = self._link.session.state
            try:
                answer = self._get(session, last_id, abort)
                if answer.status != 200 or answer.headers.media_type() != EVENT_STREAM:
                    answer.close()
                    if answer.status == 404 and session.id is not None:
                        self._link.session.renew(session.generation, abort)  # which opens a stream of its own
                    return
                for event in events(answer.read):
                    backoff = RETRY_DEFAULT
                    last_id = event.id if event.id is not None else last_id
                    pause = min(event.retry / 1000, RETRY_LIMIT) if event.retry is not None else pause
                    if event.data and event.name in {"", "message"}:
                        self._take(event.data)
            except HttpError as error:
                log.note(f"the standalone stream broke off: {error}")
            except Undelivered as error:
                log.note(f"the standalone stream cannot be opened: {error}")
                backoff = min(backoff * 2, RETRY_LIMIT)
            except ValueError as error:
                log.say(f"the standalone stream is given up: {error}")
                return
            abort.wait(max(pause, backoff))

    def _get(self, session: State, last_id: str | None, abort: Abort) -> Exchange:
        headers = [("Accept", EVENT_STREAM), *session.headers()]
        if last_id:
            headers.append(("Last-Event-ID", last_id))
        return self._link.endpoint.exchange("GET", headers, b"", abort, repeatable=True, patience=HASTE)

    def _take(self, data: bytes) -> None:
        bodies = read_answer(data)
        if bodies is None:
            log.note("the server sent what is not JSON-RPC")
            return
        raw = data if not data.lstrip().startswith(b"[") else None
        for body in bodies:
            line = as_line(raw) if raw is not None else line_of(body)
            if not is_answer(body):
                self._link.write(line)
            elif not self._link.take_answer(body, line):
                log.note("the server answered what nobody asked")
