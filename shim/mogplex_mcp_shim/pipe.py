"""The pipe: reads the host's lines, sends each on its way, and ends with the host."""

from __future__ import annotations

import os
import signal
import threading

from mogplex_mcp_shim import log
from mogplex_mcp_shim.call import Call
from mogplex_mcp_shim.credentials import Credentials
from mogplex_mcp_shim.endpoint import Endpoint
from mogplex_mcp_shim.json_rpc import error_line, read_message
from mogplex_mcp_shim.link import Link
from mogplex_mcp_shim.notice import Notices
from mogplex_mcp_shim.standalone import Standalone
from mogplex_mcp_shim.workers import Workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

    from mogplex_mcp_shim.json_rpc import Message
    from mogplex_mcp_shim.options import Options
    from mogplex_mcp_shim.workers import Job

PIECE = 262_144
LINE_LIMIT = 128 * 2**20
"""Octets of one line of the host's."""

CALLS = 512
"""Calls under way at once; as many again wait before the host does."""

CONTROLS = 32
"""Notifications, answers and cancellations under way at once: they have threads of their own, to get past the calls."""

HELD = 1024
"""Messages that wait for the session to begin before the host does."""

DRAIN = 0.9
"""Seconds that calls under way may take when the host has closed stdin."""

DELETE_TIMEOUT = 0.5
LAST_MOMENT = 1.8
"""Seconds after which the process ends, come what may."""


class _Stop(BaseException):
    """A signal asks the process to end."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


class Pipe:
    """Connects stdin and stdout with the server."""

    def __init__(self, options: Options) -> None:
        self._link = Link(Endpoint(options, Credentials(options)), _own_stdout(), self._host_gone)
        self._standalone = Standalone(self._link)
        self._link.session.on_renewed(self._standalone.open)
        self._calls = Workers(CALLS, CALLS)
        self._controls = Workers(CONTROLS, CALLS)
        self._notices = Notices(self._link, self._controls)
        self._lock = threading.Condition()
        self._held: list[Message] | None = None
        """Messages that wait until the session has begun; None when there is nothing to wait for."""
        self._ending = threading.Lock()

    def run(self) -> NoReturn:
        """Read stdin to its end, then end the process."""
        try:
            for name in ("SIGTERM", "SIGINT", "SIGHUP"):
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), _on_signal)
            self._read()
            self._end(0, drain=True)
        except _Stop as stop:
            self._end(stop.code, drain=False)

    def _read(self) -> None:
        pieces: list[bytes] = []
        size = 0
        while True:
            try:
                data = os.read(0, PIECE)
            except OSError as error:
                log.note(f"stdin failed: {error}")
                return
            if not data:
                break
            first, *others = data.split(b"\n")
            pieces.append(first)
            size += len(first)
            if others:
                self._take(b"".join(pieces) if len(pieces) > 1 else first, size)
                for line in others[:-1]:
                    self._take(line, len(line))
                pieces = [others[-1]]
                size = len(others[-1])
            elif size > LINE_LIMIT:
                pieces = []  # what it says is lost, its length goes on counting
        self._take(b"".join(pieces), size)

    def _take(self, line: bytes, size: int) -> None:
        if size > LINE_LIMIT:
            self._controls.submit(lambda: self._link.write(error_line(None, -32600, "the line is too long")))
            return
        if not line.strip():
            return
        try:
            message = read_message(line)
        except ValueError as error:
            code, text = error.args
            self._controls.submit(lambda: self._link.write(error_line(None, code, text)))
            return
        if message.version is not None:
            self._link.version = message.version
        elif self._holds(message):
            return
        self._route(message)

    def _holds(self, message: Message) -> bool:
        with self._lock:
            self._lock.wait_for(lambda: self._held is None or len(self._held) < HELD)
            if self._held is None:
                return False
            self._held.append(message)
            return True

    def _route(self, message: Message) -> bool:
        """Send a message on its way; True when those after it have to wait for it."""
        if message.ids:
            call = Call(self._link, message)
            self._link.add(call, message.ids)
            if message.method == "initialize":
                self._hold(call.run)
                return True
            self._calls.submit(call.run)
        elif message.method == "notifications/initialized":
            self._hold(lambda: self._initialized(message))
            return True
        else:
            self._notices.send(message)
        return False

    def _initialized(self, message: Message) -> None:
        self._notices.deliver(message)
        if self._link.session.is_open:
            self._standalone.open()

    def _hold(self, job: Job) -> None:
        """Do a job, and let the messages after it wait: servers refuse what comes before the session has begun."""
        with self._lock:
            if self._held is None:
                self._held = []

        def hold() -> None:
            try:
                job()
            finally:
                self._release()

        self._controls.submit(hold)

    def _release(self) -> None:
        while True:
            with self._lock:
                self._lock.notify_all()
                if not self._held:
                    self._held = None
                    return
                message = self._held.pop(0)
            if self._route(message):
                return

    def _host_gone(self) -> None:
        """The host no longer reads: called by the thread that found out."""
        self._end(0, drain=False)

    def _end(self, code: int, *, drain: bool) -> NoReturn:
        """End the session and the process, within ``LAST_MOMENT`` seconds."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait(LAST_MOMENT)
            os._exit(code)
        _signals.hurry = True
        timer = threading.Timer(LAST_MOMENT, os._exit, (code,))
        timer.daemon = True
        timer.start()
        with self._lock:  # a session that is just beginning can only be ended when it has begun
            self._lock.wait_for(lambda: self._held is None, DRAIN)
        if drain:
            self._link.await_calls(DRAIN)
        self._standalone.close()
        self._link.session.end(DELETE_TIMEOUT)
        os._exit(code)


class _Signals:
    hurry = False
    """Whether the process is ending already: another signal then ends it at once."""


_signals = _Signals()


def _on_signal(number: int, _frame: FrameType | None) -> None:
    if _signals.hurry:
        os._exit(128 + number)
    raise _Stop(128 + number)


def _own_stdout() -> int:
    """Keep stdout for JSON-RPC alone: whatever else this process or a child of it prints goes to stderr."""
    for descriptor in (0, 1):
        if hasattr(os, "set_blocking"):
            os.set_blocking(descriptor, True)
    output = os.dup(1)
    os.dup2(2, 1)
    return output
