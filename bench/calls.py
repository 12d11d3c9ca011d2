"""The one call that is measured, as each server wants it, and what a right answer to it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum

from bench.upstream import REPOS, TOKEN


class Subject(StrEnum):
    """What is measured: the bare proxy, and this server in both eras, once for an agent that signed in."""

    PROXY = "bare proxy"
    STATELESS = "2026-07-28"
    SESSION = "2025-11-25"
    SIGNED_IN = "2026-07-28, OAuth"


_CLIENT = {"name": "bench", "version": "1"}
_CALL = {"name": "mogplex_list_repos", "arguments": {}}
_META = {
    "io.modelcontextprotocol/protocolVersion": Subject.STATELESS,
    "io.modelcontextprotocol/clientInfo": _CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
_STATELESS_HEADERS = {
    "mcp-protocol-version": Subject.STATELESS,
    "mcp-method": "tools/call",
    "mcp-name": "mogplex_list_repos",
}


@dataclass(frozen=True)
class Answer:
    """One HTTP response.

    Attributes:
        status: HTTP status.
        headers: Header values by lower-case name.
        body: The whole body, as sent.
    """

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def messages(self) -> list[object]:
        """The JSON documents of the body: one, or those of the events of an event stream."""
        if not self.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            return [json.loads(self.body)]
        lines = self.body.splitlines()
        return [json.loads(line[5:]) for line in lines if line.startswith(b"data:") and line[5:].strip()]


@dataclass(frozen=True)
class Target:
    """Where the call goes, and in which way.

    Attributes:
        subject: Who is called.
        port: Its port on 127.0.0.1.
        token: The credential of its calls.
    """

    subject: Subject
    port: int
    token: str = field(default=TOKEN, repr=False)

    def call(self, number: int, session: str) -> bytes:
        """The measured call, with this request id (and in this session, for ``SESSION`` only)."""
        params: dict[str, object] = dict(_CALL)
        headers = _session_headers(session) if self.subject is Subject.SESSION else {}
        if self.subject in {Subject.STATELESS, Subject.SIGNED_IN}:
            params["_meta"] = _META
            headers = _STATELESS_HEADERS
        return self._request({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}, headers)

    def problem(self, number: int, answer: Answer) -> str | None:
        """What is wrong with an answer to the measured call, or None when it is right."""
        try:
            messages = answer.messages()
        except ValueError:
            return f"HTTP {answer.status} with a body that is not JSON: {answer.body[:300]!r}"
        data = messages[-1] if messages else None
        if self.subject is not Subject.PROXY and isinstance(data, dict):
            result = data.get("result", {})
            data = result.get("structuredContent") if data.get("id") == number and not result.get("isError") else None
        if answer.status == 200 and isinstance(data, dict) and data.get("repos") == REPOS:
            return None
        return f"HTTP {answer.status}: {answer.body[:300]!r}"

    def opening(self) -> bytes:
        """The request that opens a 2025-11-25 session."""
        params = {"protocolVersion": Subject.SESSION, "capabilities": {}, "clientInfo": _CLIENT}
        return self._request({"jsonrpc": "2.0", "id": "open", "method": "initialize", "params": params}, {})

    def opened(self, session: str) -> bytes:
        """The notification that follows it."""
        return self._request({"jsonrpc": "2.0", "method": "notifications/initialized"}, _session_headers(session))

    def closing(self, session: str) -> bytes:
        """The request that ends the session."""
        return self._request(None, _session_headers(session), method="DELETE")

    def _request(self, message: object, headers: dict[str, str], *, method: str = "POST") -> bytes:
        """The bytes of one authenticated request to ``/mcp``."""
        body = b"" if message is None else json.dumps(message, separators=(",", ":")).encode()
        fields = {
            "host": f"127.0.0.1:{self.port}",
            "authorization": f"Bearer {self.token}",
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            "content-length": str(len(body)),
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"{method} /mcp HTTP/1.1\r\n{head}\r\n".encode() + body


def _session_headers(session: str) -> dict[str, str]:
    return {"mcp-protocol-version": Subject.SESSION, "mcp-session-id": session}
