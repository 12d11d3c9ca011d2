"""The authorization request and the rules for its answer (RFC 6749, section 4.1; RFC 7636; RFC 8707; RFC 9207)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from urllib.parse import urlencode

from mogplex_mcp_shim.oauth.clients import Client
from mogplex_mcp_shim.oauth.discovery import AuthorizationServer
from mogplex_mcp_shim.oauth.pending import LIFETIME, Pending
from mogplex_mcp_shim.oauth.scopes import union

CALLBACK_PATH = "/callback"


def redirect_uri(port: int) -> str:
    """Where the browser brings the answer (RFC 8252, section 7.3)."""
    return f"http://127.0.0.1:{port}{CALLBACK_PATH}"


def scope_to_ask(server: AuthorizationServer, challenged: str | None) -> str | None:
    """What to ask for: what the challenge names, else what the resource's metadata names, else nothing.

    `offline_access` comes with it where the authorization server knows it, as that is how some give refresh tokens.
    """
    scope = union(challenged) or server.resource_scopes
    if scope is not None and "offline_access" in (server.listed("scopes_supported") or []):
        scope = union(scope, "offline_access")
    return scope


def authorization_request(url: str, server: AuthorizationServer, client: Client, port: int, scope: str | None,
                          *, stored_client: bool) -> Pending:  # fmt: skip
    """A new request, with a state and a verifier of its own.

    Args:
        url: The MCP server's URL.
        server: Whom to ask.
        client: Who asks.
        port: Where the answer is awaited.
        scope: What to ask for, or None to leave it to the server.
        stored_client: Whether the client had registered before this sign-in.
    """
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": redirect_uri(port),
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "resource": server.resource,
    }
    if scope is not None:
        query["scope"] = scope
    endpoint = server.authorization_endpoint
    return Pending(
        url=url,
        link=f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}",
        issuer=server.issuer,
        issuer_required=server.flag("authorization_response_iss_parameter_supported"),
        resource=server.resource,
        scope=scope,
        client=client.record(),
        stored_client=stored_client,
        endpoints={
            "token_endpoint": server.token_endpoint,
            "revocation_endpoint": server.metadata.get("revocation_endpoint"),
        },
        redirect_uri=query["redirect_uri"],
        state=state,
        verifier=verifier,
        expires_at=time.time() + LIFETIME,
    )


def answers(pending: Pending, query: Mapping[str, list[str]]) -> bool:
    """Whether a request to the callback is the answer we wait for: one state and it is ours, and the right issuer.

    This holds for errors as well: without it nothing of them is believed (RFC 9207, section 2.4).
    """
    if any(len(values) != 1 for values in query.values()) or ("code" in query) == ("error" in query):
        return False
    state, issuer = query.get("state", [""])[0], query.get("iss", [None])[0]
    if not hmac.compare_digest(state.encode("utf-8", "replace"), pending.state.encode()):
        return False
    return not pending.issuer_required if issuer is None else issuer == pending.issuer
