"""The loopback listener to which the browser brings the answer (RFC 8252, sections 7.3 and 8.3)."""

from __future__ import annotations

import queue
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import BoundedSemaphore, Event, Thread
from urllib.parse import parse_qs

from mogplex_mcp_shim.oauth.authorization import CALLBACK_PATH

_CONNECTIONS = 16
_SLOW = 10.0  # s for one request: browsers open connections ahead and leave them idle
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:18vh auto;
padding:0 1.5rem;color:#1d1d1f;background:#fff}}
@media(prefers-color-scheme:dark){{body{{color:#eee;background:#161618}}}}</style>
<h1>{title}</h1><p>{text}</p></html>
"""


@dataclass(frozen=True)
class Page:
    """What the browser shows at the end, or where it goes on to."""

    status: int
    title: str
    text: str
    location: str | None = None


SIGNED_IN = Page(200, "You are signed in", "You can close this tab and go back to your agent.")
NOT_SIGNED_IN = Page(200, "You are not signed in", "You can close this tab. Your agent says why, and can ask again.")
_NOT_OURS = Page(400, "This is not the answer we wait for", "The sign-in goes on in the tab where you began it.")


@dataclass
class Answer:
    """An answer that has been checked; the browser waits until it is shown something."""

    query: Mapping[str, list[str]]
    _shown: queue.SimpleQueue[Page] = field(default_factory=queue.SimpleQueue)
    _sent: Event = field(default_factory=Event)

    def show(self, page: Page) -> None:
        """Answer the browser and wait a little until it has it; only the first page is shown."""
        self._shown.put(page)
        self._sent.wait(2)

    def page(self) -> Page:
        """What to show (called by the listener)."""
        return self._shown.get()

    def sent(self) -> None:
        """The page is out (called by the listener)."""
        self._sent.set()


class Listener:
    """Listens on 127.0.0.1 alone, on a port that nobody else can listen on at the same time."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self.port: int = server.server_address[1]
        Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()

    @classmethod
    def bind(cls, port: int) -> Listener | None:
        """Listen on this port, 0 for any free one; None if it is taken."""
        try:
            return cls(_Server(port))
        except OSError:
            return None

    def expect(self, is_answer: Callable[[Mapping[str, list[str]]], bool]) -> None:
        """From now on requests for which this is true are answers; every other one gets 400."""
        self._server.is_answer = is_answer

    def wait(self, deadline: float, goes_on: Callable[[], bool]) -> Answer | None:
        """The next answer; None when the deadline (s since 1970) passes or `goes_on`, asked each second, says no."""
        while time.time() < deadline and goes_on():
            try:
                return self._server.answers.get(timeout=1)
            except queue.Empty:
                continue
        return None


class _Server(ThreadingHTTPServer):
    # Linux lets nobody bind a port that is listened on, and without this nobody could take a sign-in over while
    # connections of the process that died are in TIME_WAIT. Elsewhere the same option would let others in.
    allow_reuse_address = sys.platform == "linux"
    daemon_threads = True
    request_queue_size = _CONNECTIONS

    def __init__(self, port: int) -> None:
        self.answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self.is_answer: Callable[[Mapping[str, list[str]]], bool] = lambda _query: False
        self.slots = BoundedSemaphore(_CONNECTIONS)
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        if sys.platform == "win32":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        TCPServer.server_bind(self)  # HTTPServer's own asks the DNS for our name
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke is nobody's concern; there is nowhere to write to."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SLOW
    server_version = "mogplex-mcp-shim"
    sys_version = ""

    def handle(self) -> None:
        if self.server.slots.acquire(blocking=False):
            try:
                super().handle()
            finally:
                self.server.slots.release()

    def do_GET(self) -> None:
        """Only the callback's own path and host are served."""
        path, _, query = self.path.partition("?")
        if self.headers.get_all("Host") != [f"127.0.0.1:{self.server.server_port}"]:
            self._show(Page(400, "Not here", "This address is for one sign-in only."))
        elif path != CALLBACK_PATH:
            self._show(Page(404, "Nothing here", "This address is for one sign-in only."))
        else:
            self._answer(query)

    def _answer(self, query: str) -> None:
        try:
            fields = parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=20)
        except ValueError:
            fields = {}
        if not self.server.is_answer(fields):
            self._show(_NOT_OURS)
            return
        answer = Answer(fields)
        self.server.answers.put(answer)
        self._show(answer.page())
        answer.sent()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Every other method, and what is no HTTP: nothing of the request is repeated."""
        self._show(Page(405 if code == 501 else code, "Not here", "This address is for one sign-in only."))

    def log_message(self, *_args: object) -> None:
        """Requests hold codes: they are not logged."""

    def _show(self, page: Page) -> None:
        body = _PAGE.format(title=page.title, text=page.text).encode()
        self.send_response_only(page.status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if page.location is not None:
            self.send_header("Location", page.location)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True
