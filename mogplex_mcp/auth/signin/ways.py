"""Which ways to sign in a server offers."""

from __future__ import annotations

from typing import Literal

from mogplex_mcp.api import Route
from mogplex_mcp.settings import Settings

Way = Literal["local", "mogplex", "pat"]


class SignInSettingsError(ValueError):
    """MOGPLEX_MCP_SIGNIN cannot be followed; the message says why."""


def ways_to_sign_in(settings: Settings, route: Route) -> tuple[Way, ...]:
    """What is offered, the best way first.

    Unset: for the embedded Mogplex ``local``, and ``pat`` (with a local token) for requests where that is refused; for
    hosted Mogplex its own sign-in with a token beside it; for a daemon a token, because its database is not ours.

    Args:
        settings: What is wanted.
        route: The way to Mogplex.

    Raises:
        SignInSettingsError: A way is unknown or does not fit the way to Mogplex.
    """
    if not settings.mcp_signin:
        defaults: dict[str, tuple[Way, ...]] = {"embedded": ("local", "pat"), "hosted": ("mogplex", "pat")}
        return defaults.get(route.kind, ("pat",))
    ways: list[Way] = []
    for name in settings.mcp_signin:
        match name:
            case "local" if route.kind != "embedded":
                raise SignInSettingsError("MOGPLEX_MCP_SIGNIN: `local` is for the embedded Mogplex alone.")
            case "mogplex" if route.kind != "hosted":
                raise SignInSettingsError("MOGPLEX_MCP_SIGNIN: `mogplex` is for hosted Mogplex alone.")
            case "local" | "mogplex" | "pat":
                ways.append(name)
            case _:
                raise SignInSettingsError(f"MOGPLEX_MCP_SIGNIN: {name!r} is none of local, mogplex, pat.")
    return tuple(dict.fromkeys(ways))


def offered(settings: Settings, ways: tuple[Way, ...], *, local: bool) -> tuple[Way, ...]:
    """The ways for one request.

    Args:
        settings: Whether the ways were chosen or are the default.
        ways: From ``ways_to_sign_in``.
        local: Whether the request can only have been made on this computer.
    """
    if "local" not in ways:
        return ways
    if not local:
        return tuple(way for way in ways if way != "local")
    return ways if settings.mcp_signin else ("local",)
