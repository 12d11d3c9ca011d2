"""The token and revocation endpoints (RFC 6749, sections 4.1.3 and 6; RFC 7009; RFC 8707)."""

from __future__ import annotations

import base64
import time
from urllib.parse import quote

from mogplex_mcp_shim.grant import Record, is_bearer, text
from mogplex_mcp_shim.oauth.clients import Client
from mogplex_mcp_shim.oauth.errors import RefusedError, SignInError
from mogplex_mcp_shim.oauth.wire import Wire, json_object

_LONGEST = 400 * 24 * 3600.0  # s: nobody's word about the farther future matters


def redeem(wire: Wire, endpoint: str, client: Client, form: dict[str, str]) -> Record:
    """Send a grant to the token endpoint.

    Args:
        wire: Reaches it.
        endpoint: The token endpoint.
        client: Who asks.
        form: The grant's own parameters, `resource` among them.

    Returns:
        What is stored of the answer: access_token, and where given refresh_token, scope, expires_at; issued_at.

    Raises:
        UnreachableError: There was no answer.
        RefusedError: The grant or the client was refused.
        SignInError: The answer cannot be used.
    """
    headers, form = _authenticated(client, form)
    answer = wire.post_form(endpoint, "the token endpoint", form, headers)
    body = json_object(answer) or {}
    if answer.status != 200:
        code = text(body, "error") or ("invalid_client" if answer.status == 401 else None)
        raise RefusedError("The token request", answer.status, code)
    token = text(body, "access_token")
    if token is None or not is_bearer(token):
        raise SignInError("The token endpoint answered without a usable access_token")
    if (text(body, "token_type") or "bearer").lower() != "bearer":
        raise SignInError("The token endpoint answered with a token that is no bearer token")
    now = time.time()
    kept: Record = {"access_token": token, "issued_at": now}
    if refresh := text(body, "refresh_token"):
        kept["refresh_token"] = refresh
    if scope := text(body, "scope"):
        kept["scope"] = scope
    lifetime = _seconds(body.get("expires_in"))
    if lifetime is not None:
        kept["expires_at"] = now + lifetime
    return kept


def revoke(wire: Wire, endpoint: str, client: Client, token: str, hint: str) -> None:
    """Tell the authorization server that a token is not needed any more (RFC 7009, section 2.1). Raises as `redeem`."""
    headers, form = _authenticated(client, {"token": token, "token_type_hint": hint})
    answer = wire.post_form(endpoint, "the revocation endpoint", form, headers)
    if answer.status != 200:
        raise RefusedError("Revoking the token", answer.status, text(json_object(answer) or {}, "error"))


def _authenticated(client: Client, form: dict[str, str]) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """RFC 6749, section 2.3.1: the secret in the header or in the body, never in both.

    The client_id is always in the body as well: servers made with the MCP SDK look it up there first.
    """
    form = {**form, "client_id": client.client_id}
    if client.client_secret is not None and client.method == "client_secret_post":
        form["client_secret"] = client.client_secret
    if client.client_secret is None or client.method != "client_secret_basic":
        return [], form
    pair = f"{quote(client.client_id, safe='')}:{quote(client.client_secret, safe='')}"
    return [("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")], form


def _seconds(value: object) -> float | None:
    """`expires_in`, which some send as a text."""
    if isinstance(value, str) and value.isdecimal() and value.isascii():
        value = int(value[:12])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return min(max(float(min(value, _LONGEST)), 0.0), _LONGEST)
