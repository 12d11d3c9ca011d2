"""Refreshing a token: once for all the shims of a person, however many were refused at the same time."""

from __future__ import annotations

from mogplex_mcp_shim.auth_file import AuthFile
from mogplex_mcp_shim.auth_update import inner, update
from mogplex_mcp_shim.file_lock import FileLock
from mogplex_mcp_shim.grant import Grant, Record, table, text
from mogplex_mcp_shim.oauth.clients import Client
from mogplex_mcp_shim.oauth.errors import RefusedError, UnreachableError
from mogplex_mcp_shim.oauth.pending import signin_path
from mogplex_mcp_shim.oauth.tokens import redeem
from mogplex_mcp_shim.oauth.wire import Wire

_WAIT = 40.0  # s for another shim's refresh, which gives up earlier


def refresh(file: AuthFile, used: str, *, allow_http: bool) -> str | None:
    """A token in place of the one that was refused.

    Args:
        file: auth.json, for the MCP server.
        used: The access token that was refused.
        allow_http: Whether http is allowed beyond this machine.

    Returns:
        The token, also if another process got it; None if only signing in again helps.

    Raises:
        UnreachableError: The authorization server does not answer; the refresh token may still be good.
        SignInError: Its answer cannot be used.
        OSError: auth.json cannot be written.
    """
    lock = FileLock(signin_path(file.home, file.url, "refresh"))
    if not lock.acquire(_WAIT):
        raise UnreachableError("Another process has been refreshing the token for too long", sent=False)
    try:
        grant = file.grant()
        if grant is None:
            return None
        if grant.access_token != used:
            return grant.access_token
        client = Client.from_record(table(grant.record, "client"))
        endpoint = text(grant.record, "token_endpoint")
        if grant.refresh_token is None or client is None or endpoint is None:
            return None
        form = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token, "resource": grant.resource}
        try:
            tokens = _redeemed(Wire(file.url, allow_http=allow_http), endpoint, client, form)
        except RefusedError as error:
            _give_up(file.home, grant, client if error.code == "invalid_client" else None)
            return None
        return _keep(file.home, grant, tokens)
    finally:
        lock.release()


def _redeemed(wire: Wire, endpoint: str, client: Client, form: dict[str, str]) -> Record:
    try:
        return redeem(wire, endpoint, client, form)
    except UnreachableError:
        # The answer may have been lost after the token was used up: a server with a grace gives it again.
        return redeem(wire, endpoint, client, form)


def _keep(home: str, grant: Grant, tokens: Record) -> str | None:
    """Store what came, unless the person has signed out or in again meanwhile."""
    kept: list[str] = []

    def change(section: Record) -> None:
        kept.clear()
        record = _same(section, grant)
        if record is not None:
            record.pop("expires_at", None)
            record.update(tokens)
            kept.append(str(tokens["access_token"]))

    update(home, change)
    return kept[0] if kept else None


def _give_up(home: str, grant: Grant, client: Client | None) -> None:
    """Remember that this refresh token is of no use, and that this client is not known any more."""

    def change(section: Record) -> None:
        record = _same(section, grant)
        if record is not None:
            record.pop("refresh_token", None)
        clients = inner(section, "clients")
        if client is not None and inner(clients, grant.issuer).get("client_id") == client.client_id:
            del clients[grant.issuer]

    update(home, change)


def _same(section: Record, grant: Grant) -> Record | None:
    """The entry as it stands, if it is still the one that was refreshed."""
    record = table(table(table(section, "grants"), grant.issuer), grant.resource)
    same = record.get("access_token") == grant.access_token and record.get("grant_id") == grant.grant_id
    return record if same else None
