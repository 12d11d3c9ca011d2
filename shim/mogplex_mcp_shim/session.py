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


class State:
    """A session, as it was at one moment.

    Attributes:
        generation: How often a session was begun until then.
        id: Its id, when the server gave one, and can so forget it.
        version: The revision that was agreed on.
    """

    __slots__ = ("generation", "id", "version")

    def __init__(self, generation: int, session_id: str | None, version: str | None) -> None:
        self.generation = generation
        self.id = session_id
        self.version = version

    def headers(self) -> list[tuple[str, str]]:
        """The headers that name it."""
        headers = []
        if self.version is not None:
            headers.append(("MCP-Protocol-Version", self.version))
        if self.id is not None:
            headers.append(("Mcp-Session-Id", self.id))
        return headers


class Session:
    """What ``initialize`` has agreed on."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._initialize = b""
        self._state = State(0, None, None)
        self._remembered: dict[str, bytes] = {}
        self._on_open: Callable[[], None] = lambda: None

    def on_renewed(self, call: Callable[[], None]) -> None:
        """Name what to call when a lost session has begun again."""
        self._on_open = call

    @property
    def state(self) -> State:
        """The session as it is now."""
        return self._state

    @property
    def is_open(self) -> bool:
        """Whether ``initialize`` has succeeded: the host speaks a revision before 2026-07-28."""
        return self._state.generation > 0

    def begin(self, initialize: bytes, answer: Json, headers: Headers) -> None:
        """Take over what the answer to the host's ``initialize`` agrees on."""
        self._initialize = initialize
        self._state = self._agreed(answer, headers)

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
            before = self._state
            if before.generation != generation:
                return
            log.note("the server has forgotten the session: beginning again")
            answer = self._post(self._initialize, State(0, None, None), abort)
            state = self._agreed(own_answer(answer), answer.headers)
            if state.version != before.version:
                log.say(
                    f"the server has restarted and speaks {state.version}, no longer {before.version}: reconnect it"
                )
            self._post(INITIALIZED, state, abort).close()
            for raw in list(self._remembered.values()):
                self._post(raw, state, abort).close()
            self._state = state  # only now: a call must not overtake notifications/initialized
        self._on_open()

    def end(self, seconds: float) -> None:
        """Tell the server that the session is over (DELETE)."""
        headers = self._state.headers()
        if self._state.id is None:
            return
        abort = Abort()
        try:
            self._endpoint.exchange(
                "DELETE", headers, b"", abort, repeatable=False, patience=0.0, timeout=seconds
            ).close()
        except (Undelivered, HttpError) as error:
            log.note(f"the session could not be ended: {error}")

    def _post(self, body: bytes, state: State, abort: Abort) -> Exchange:
        return self._endpoint.exchange(
            "POST",
            POST_FIELDS + state.headers(),
            body,
            abort,
            repeatable=True,
            patience=HASTE,
            timeout=OWN_TIMEOUT,
        )

    def _agreed(self, answer: Json, headers: Headers) -> State:
        result = answer.get("result")
        version = result.get("protocolVersion") if isinstance(result, dict) else None
        session = headers.get("mcp-session-id")
        return State(
            self._state.generation + 1,
            session if session is not None and _is_plain(session) else None,
            version if isinstance(version, str) and _is_plain(version) else None,
        )


def _is_plain(value: str) -> bool:
    """Whether a value is visible ASCII: only then it goes back to the server."""
    return all("!" <= each <= "~" for each in value)
