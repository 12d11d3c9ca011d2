"""What the calls of one process share: the server, its session and tools, the requests under way, and stdout."""

from __future__ import annotations

import os
import threading

from mogplex_mcp_shim.endpoint import Endpoint
from mogplex_mcp_shim.json_rpc import id_key
from mogplex_mcp_shim.session import Session
from mogplex_mcp_shim.tools import Tools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mogplex_mcp_shim.call import Call
    from mogplex_mcp_shim.json_rpc import Json


class Link:
    """The connection of this host with this server.

    Attributes:
        endpoint: The server.
        session: The session of the earlier revisions.
        tools: What is known of the server's tools.
        version: The revision that the host's latest request of 2026-07-28 or later named.
    """

    def __init__(self, endpoint: Endpoint, output: int, on_closed: Callable[[], None]) -> None:
        """Begin with nothing under way.

        Args:
            endpoint: The server.
            output: The file descriptor of stdout.
            on_closed: Called when the host no longer reads it.
        """
        self.endpoint = endpoint
        self.session = Session(endpoint)
        self.tools = Tools()
        self.version: str | None = None
        self._output = output
        self._output_lock = threading.Lock()
        self._on_closed = on_closed
        self._pending: dict[Any, Call] = {}
        self._lock = threading.Condition()

    def write(self, line: bytes) -> None:
        """Write a line to stdout; waits while the host does not read, and so lets the server wait."""
        try:
            with self._output_lock:
                view = memoryview(line)
                while view:
                    view = view[os.write(self._output, view) :]
        except OSError:
            self._on_closed()

    def add(self, call: Call, ids: list[Any]) -> None:
        """Note a call that is under way."""
        with self._lock:
            for each in ids:
                self._pending[id_key(each)] = call

    def forget(self, call: Call, ids: list[Any]) -> None:
        """The call is over."""
        with self._lock:
            for each in ids:
                if self._pending.get(id_key(each)) is call:
                    del self._pending[id_key(each)]
            self._lock.notify_all()

    def pending(self, request_id: object) -> Call | None:
        """The call under way that has this id."""
        return self._pending.get(id_key(request_id))

    def is_pending(self, request_id: object) -> bool:
        """Whether a call under way has this id."""
        return id_key(request_id) in self._pending

    def take_answer(self, body: Json, line: bytes) -> bool:
        """Give an answer to the call it is for; False when there is none."""
        call = self.pending(body.get("id"))
        return call is not None and call.take_answer(body, line)

    def await_calls(self, seconds: float) -> None:
        """Wait until every call is answered but those that last."""
        with self._lock:
            self._lock.wait_for(lambda: all(call.is_lasting for call in self._pending.values()), seconds)
