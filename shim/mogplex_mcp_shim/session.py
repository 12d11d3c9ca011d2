"""The session of the revisions before 2026-07-28: begun by ``initialize``, begun again when the server restarts."""

from __future__ import annotations

import threading

from mogplex_mcp_shim import log
from mogplex_mcp_shim.answers import own_answer
from mogplex_mcp_shim.endpoint import HASTE, Endpoint, Undelivered
from mogplex_mcp_shim.http import Abort, Exchange, HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mogplex_mcp_shim.http import Headers
    from mogplex_mcp_shim.json_rpc import Json

POST_FIELDS = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
REMEMBERED_LIMIT = 1000
"""Subscriptions asked for anew after a restart."""

OWN_TIMEOUT = 8.0
"""Seconds for one step of beginning again."""


class Session:
    """What ``initialize`` has agreed on.

    Attributes:
        generation: How often the server has begun a session.
        is_open: Whether ``initialize`` has succeeded: the host speaks a revision before 2026-07-28.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._initialize = b""
        self._id: str | None = None
        self._version: str | None = None
        self._remembered: dict[str, bytes] = {}
        self._on_open: Callable[[], None] = lambda: None
        self.generation = 0
        self.is_open = False

    def on_renewed(self, call: Callable[[], None]) -> None:
        """Name what to call when a lost session has begun again."""
        self._on_open = call

    def headers(self) -> list[tuple[str, str]]:
        """The headers that name the session and its revision."""
        headers = []
        if self._version is not None:
            headers.append(("MCP-Protocol-Version", self._version))
        if self._id is not None:
            headers.append(("Mcp-Session-Id", self._id))
        return headers

    @property
    def has_id(self) -> bool:
        """Whether the server has given the session an id, and can so forget it."""
        return self._id is not None

    def begin(self, initialize: bytes, answer: Json, headers: Headers) -> None:
        """Take over what the answer to the host's ``initialize`` agrees on."""
        self._initialize = initialize
        self._adopt(answer, headers)
        self.is_open = True

    def remember(self, method: str, params: Json, raw: bytes) -> None:
        """Keep a request whose effect the server forgets with the session: subscriptions and the log level."""
        if method == "logging/setLevel":
            self._remembered[method] = raw
        elif method == "resources/subscribe" and len(self._remembered) < REMEMBERED_LIMIT:
            self._remembered[f"uri {params.get('uri')}"] = raw
        elif method == "resources/unsubscribe":
            self._remembered.pop(f"uri {params.get('uri')}", None)

    def renew(self, generation: int, abort: Abort) -> None:
        """Begin again a session that the server no longer knows, with the host's own parameters.

        Args:
            generation: Of the session that was refused; if another thread has begun a new one since, nothing is done.
            abort: Ends it from another thread.

        Raises:
            Undelivered: The server refuses.
            HttpError: ``aborted``.
        """
        with self._lock:
            if self.generation != generation:
                return
            log.note("the server has forgotten the session: beginning again")
            self._id = None
            version, self._version = self._version, None
            try:
                answer = self._post(self._initialize, abort)
                self._adopt(own_answer(answer), answer.headers)
            except (Undelivered, HttpError):
                self._version = version
                raise
            if self._version != version:
                log.say(f"the server has restarted and speaks {self._version} now, no longer {version}: reconnect it")
            self._post(INITIALIZED, abort).close()
            for raw in list(self._remembered.values()):
                self._post(raw, abort).close()
        self._on_open()

    def end(self, seconds: float) -> None:
        """Tell the server that the session is over (DELETE)."""
        if self._id is None:
            return
        headers, self._id = self.headers(), None
        abort = Abort()
        try:
            self._endpoint.exchange(
                "DELETE", headers, b"", abort, repeatable=False, patience=0.0, timeout=seconds
            ).close()
        except (Undelivered, HttpError) as error:
            log.note(f"the session could not be ended: {error}")

    def _post(self, body: bytes, abort: Abort) -> Exchange:
        return self._endpoint.exchange(
            "POST", POST_FIELDS + self.headers(), body, abort, repeatable=True, patience=HASTE, timeout=OWN_TIMEOUT
        )

    def _adopt(self, answer: Json, headers: Headers) -> None:
        result = answer.get("result")
        version = result.get("protocolVersion") if isinstance(result, dict) else None
        session = headers.get("mcp-session-id")
        plain = session is not None and session.isascii() and session.isprintable() and " " not in session
        self._id = session if plain else None
        self._version = version if isinstance(version, str) and version.isascii() and version.isprintable() else None
        self.generation += 1
