"""What ``serve`` tells the person who started it."""

from __future__ import annotations

from urllib.parse import urlsplit

from mogplex_mcp.api import Route
from mogplex_mcp.settings import Settings, is_loopback

WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def base_url(settings: Settings, port: int) -> str:
    """The address at which this computer's browser reaches the server.

    Args:
        settings: Public address and bind address.
        port: The port it listens on.
    """
    if settings.mcp_public_url is not None:
        return settings.mcp_public_url
    host = "127.0.0.1" if settings.mcp_host in WILDCARDS else settings.mcp_host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def welcome(route: Route, base: str, command: str, signin: tuple[str, str] | None) -> str:
    """The lines to print.

    Args:
        route: The way to Mogplex that was taken.
        base: The server's address.
        command: This program as the person typed it.
        signin: Link and one-time code, where people sign in with one.
    """
    lines = [
        f"Mogplex MCP server on {base}/mcp",
        f"Mogplex: {route.address} ({route.reason})",
        "",
        "Connect Claude Code, then sign in there with /mcp:",
        f"  claude mcp add --transport http mogplex {base}/mcp",
        f"Other hosts: {base}/",
        "",
    ]
    if signin is not None:
        link, code = signin
        lines += [
            f"When the browser asks who you are, type this code (10 minutes, once): {code}",
            f"or open {link}",
            f"Another code: {command} local signin{_port_option(base)}",
            f"Your repositories: {command} local repos add PATH",
            "",
        ]
    return "\n".join(lines)


def _port_option(base: str) -> str:
    port = urlsplit(base).port
    return "" if port in {None, Settings.model_fields["mcp_port"].default} else f" --port {port}"


def is_local_address(settings: Settings) -> bool:
    """Whether people reach the server on this computer only, so that a one-time code may sign them in."""
    public = urlsplit(settings.mcp_public_url).hostname if settings.mcp_public_url else None
    return is_loopback(settings.mcp_host) and (public is None or is_loopback(public))
