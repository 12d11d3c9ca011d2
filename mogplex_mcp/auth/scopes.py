"""The scopes of the documentation, in words, and what each MCP method needs.

Source: Mogplex documentation, /extend/mcp-server, "Auth model". A scope is shown, advertised and challenged only when
something served needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

TOOLS_READ: Final = "tools:read"
TOOLS_EXECUTE: Final = "tools:execute"
AGENTS_RUN: Final = "agents:run"

SCOPES: Final = MappingProxyType(
    {
        TOOLS_READ: "See repositories, sandboxes, runs and what their agents do",
        AGENTS_RUN: "Start agent runs, which change code on branches, and cancel runs",
        TOOLS_EXECUTE: "Change settings and other things in Mogplex",
        "skills:read": "See skills",
        "memories:read": "Read memories",
        "memories:write": "Add and change memories",
        "workspaces:read": "See workspaces",
    }
)
"""Every scope there is, in the words of the consent page."""

SERVED: Final[tuple[str, ...]] = (TOOLS_READ, AGENTS_RUN)
"""The scopes that something served needs, in the order in which they are shown."""

READING: Final = frozenset({TOOLS_READ, "skills:read", "memories:read", "workspaces:read"})
"""Scopes that change nothing: ticked on the consent page; all others are not."""

_SHORTHANDS: Final = MappingProxyType({"read": READING, "write": frozenset(SCOPES) - READING})
"""What hosts ask for that know Mogplex's own API."""

METHOD_SCOPES: Final = MappingProxyType(
    {
        # The catalogue and the connection itself say nothing about the account.
        "initialize": (),
        "ping": (),
        "server/discover": (),
        "tools/list": (),
        "prompts/list": (),
        "prompts/get": (),
        # Without the scope that shows runs, it lists what everybody has.
        "resources/list": (),
        "resources/templates/list": (),
        "notifications/initialized": (),
        "notifications/cancelled": (),
        "notifications/progress": (),
        "notifications/roots/list_changed": (),
        "resources/read": (TOOLS_READ,),
        "resources/subscribe": (TOOLS_READ,),
        "resources/unsubscribe": (TOOLS_READ,),
        "subscriptions/listen": (TOOLS_READ,),
        "completion/complete": (TOOLS_READ,),
        "tasks/get": (TOOLS_READ,),
        "tasks/update": (TOOLS_READ,),
        "tasks/cancel": (AGENTS_RUN,),
    }
)
"""What each method needs besides a valid token; ``tools/call`` needs what its tool states. What is not here and not
stated by a tool is refused."""


def known_scopes(asked: str | None) -> tuple[str, ...]:
    """The scopes that a request asks for, of those that are served.

    Args:
        asked: The request's ``scope`` (RFC 6749, section 3.3). Unknown ones are dropped, ``read`` and ``write`` are
            expanded; none asked for, or none known, means all that are served.
    """
    words = set((asked or "").split())
    wanted = words.union(*(expansion for word, expansion in _SHORTHANDS.items() if word in words))
    return tuple(scope for scope in SERVED if scope in wanted) or SERVED


def needed_scopes(method: str, name: str | None, tool_scopes: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """What a call needs besides a valid token; None when nothing states it.

    Args:
        method: The JSON-RPC method.
        name: The tool of a ``tools/call``.
        tool_scopes: What each tool states. An unknown tool needs nothing: calling it is an error anyway.
    """
    if method == "tools/call":
        return tool_scopes.get(name or "", ())
    return METHOD_SCOPES.get(method)
