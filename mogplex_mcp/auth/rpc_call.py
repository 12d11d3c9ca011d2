"""The one bounded look into a JSON-RPC body before the SDK reads it: which method, which tool.

Everything else about JSON-RPC is the SDK's. What this look does not understand goes on to the SDK, which answers with
the error that the caller's protocol revision prescribes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pydantic_core
from starlette.types import Message, Receive

MAX_BODY_BYTES = 4 * 1024 * 1024
"""A prompt is at most 100,000 characters; this leaves room for every other argument."""


BODY_SECONDS = 30.0
"""How long a caller may take to send a body."""


class BodyTooLargeError(Exception):
    """The request's body is over ``MAX_BODY_BYTES``."""


@dataclass(frozen=True)
class RpcCall:
    """What the look saw.

    Attributes:
        method: JSON-RPC method; None for a response, or for what is no JSON-RPC message.
        name: The tool of a ``tools/call``; None otherwise.
        wellformed: False when the body is JSON but no single JSON-RPC 2.0 message.
    """

    method: str | None = None
    name: str | None = None
    wellformed: bool = True


async def read_body(receive: Receive) -> bytes:
    """Read a request's whole body.

    Raises:
        BodyTooLargeError: Past ``MAX_BODY_BYTES``; the rest is not read.
        TimeoutError: It did not arrive within ``BODY_SECONDS``.
    """
    async with asyncio.timeout(BODY_SECONDS):
        return await _read_bounded(receive)


async def _read_bounded(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLargeError
        return body
    chunks, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY_BYTES:
            raise BodyTooLargeError
    return b"".join(chunks)


def replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives the body once more, then whatever the connection says next."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


def look(body: bytes) -> RpcCall:
    """Look into a body for its method and tool name; never raises."""
    try:
        message = pydantic_core.from_json(body)
    except ValueError:
        return RpcCall()  # no JSON: the SDK answers with a parse error
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return RpcCall(wellformed=False)
    method = message.get("method")
    if method is None:
        return RpcCall(wellformed="id" in message and ("result" in message or "error" in message))
    if not isinstance(method, str) or not isinstance(message.get("id", 0), str | int):
        return RpcCall(wellformed=False)
    params: Any = message.get("params")
    if not isinstance(params, dict):
        return RpcCall(method, wellformed=params is None)
    name = params.get("name") if method == "tools/call" else None
    return RpcCall(method, name if isinstance(name, str) else None)
