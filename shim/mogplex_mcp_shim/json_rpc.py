"""JSON-RPC 2.0 messages: what a line is, and the errors the shim answers with itself."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Json = dict[str, Any]
    RequestId = str | int | float

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
SERVER_ERROR = -32000
"""Of the range that JSON-RPC leaves to implementations: the server could not be asked, or gave no answer."""

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
"""In ``params._meta`` since 2026-07-28; a request without it belongs to an earlier revision."""


class Message:
    """What the host wrote on one line.

    Attributes:
        raw: The line, as it came: this is what the server gets.
        bodies: The message; several in a batch (2025-03-26).
        ids: The ids of the requests in it.
    """

    __slots__ = ("bodies", "ids", "is_batch", "raw")

    def __init__(self, raw: bytes, bodies: list[Json], *, is_batch: bool) -> None:
        self.raw = raw
        self.bodies = bodies
        self.is_batch = is_batch
        self.ids: list[RequestId] = [body["id"] for body in bodies if is_request(body)]

    @property
    def method(self) -> str:
        """The method; empty for answers and batches."""
        method = "" if self.is_batch else self.bodies[0].get("method")
        return method if isinstance(method, str) else ""

    @property
    def params(self) -> Json:
        """The parameters; empty when there are none, or they are no object."""
        params = {} if self.is_batch else self.bodies[0].get("params")
        return params if isinstance(params, dict) else {}

    @property
    def version(self) -> str | None:
        """The revision a request of 2026-07-28 or later names; None for the earlier ones."""
        meta = self.params.get("_meta")
        version = meta.get(VERSION_KEY) if isinstance(meta, dict) else None
        return version if isinstance(version, str) else None


def read_message(line: bytes) -> Message:
    """Read a line from the host.

    Raises:
        ValueError: It is no JSON (the first argument is ``PARSE_ERROR``) or no JSON-RPC (``INVALID_REQUEST``).
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(PARSE_ERROR, "the line is not JSON") from error
    bodies = value if isinstance(value, list) else [value]
    if not bodies or not all(_is_message(body) for body in bodies):
        raise ValueError(INVALID_REQUEST, "the line is not a JSON-RPC message")
    return Message(line, bodies, is_batch=isinstance(value, list))


def read_answer(data: bytes) -> list[Json] | None:
    """Read what the server sent: one message, or those of a batch; None when it is no JSON-RPC."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    bodies = value if isinstance(value, list) else [value]
    return bodies if bodies and all(_is_message(body) for body in bodies) else None


def is_request(body: Json) -> bool:
    """Whether a message awaits an answer."""
    return "method" in body and isinstance(body.get("id"), (str, int, float))


def is_answer(body: Json) -> bool:
    """Whether a message answers one."""
    return "method" not in body and ("result" in body or "error" in body)


def id_key(request_id: object) -> tuple[type, object]:
    """The id, so that 1, "1" and true are three."""
    return (type(request_id), request_id)


def line_of(value: Json) -> bytes:
    """A message in one line, with its end."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"


def as_line(data: bytes) -> bytes:
    """A JSON text in one line: line breaks can stand in it only between its values, where a blank does as well."""
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\n", b" ").replace(b"\r", b" ")
    return data.strip() + b"\n"


def error_line(request_id: object, code: int, message: str, data: Json | None = None) -> bytes:
    """An error of the shim's own."""
    error: Json = {"code": code, "message": message}
    if data:
        error["data"] = data
    return line_of({"jsonrpc": "2.0", "id": request_id, "error": error})


def error_of(bodies: Iterable[Json]) -> Json | None:
    """The error of the first message that is one."""
    for body in bodies:
        error = body.get("error")
        if isinstance(error, dict) and isinstance(error.get("code"), int):
            return error
    return None


def _is_message(body: object) -> bool:
    return isinstance(body, dict) and (isinstance(body.get("method"), str) or "result" in body or "error" in body)
