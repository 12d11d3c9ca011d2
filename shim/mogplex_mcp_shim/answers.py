"""One answer to a request of the shim's own."""

from __future__ import annotations

from mogplex_mcp_shim.endpoint import Undelivered
from mogplex_mcp_shim.http import Exchange, HttpError
from mogplex_mcp_shim.json_rpc import error_of, is_answer, read_answer
from mogplex_mcp_shim.sse import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mogplex_mcp_shim.json_rpc import Json

OWN_LIMIT = 32 * 2**20
"""Octets of an answer to the shim itself."""

EVENT_STREAM = "text/event-stream"


def own_answer(answer: Exchange) -> Json:
    """The JSON-RPC message that answers a request of the shim's own.

    Raises:
        Undelivered: There is none, or it is an error.
    """
    try:
        bodies = _bodies(answer)
    except (HttpError, ValueError) as error:
        raise Undelivered(f"the server's answer could not be read: {error}") from error
    finally:
        answer.close()
    error_found = error_of(bodies)
    if error_found is not None:
        raise Undelivered(f"the server answered with an error: {error_found.get('message')}")
    for body in bodies:
        if isinstance(body.get("result"), dict):
            return body
    raise Undelivered(f"the server gave no answer (HTTP {answer.status})", data={"status": answer.status})


def _bodies(answer: Exchange) -> list[Json]:
    if answer.headers.media_type() != EVENT_STREAM:
        return read_answer(answer.read_all(OWN_LIMIT)) or []
    for event in events(answer.read):
        bodies = read_answer(event.data) if event.data else None
        if bodies and is_answer(bodies[0]):
            answer.finish(0.02)
            return bodies
    return []
