"""An agent that was connected in the browser: its access token for a running server, made in that server's database."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from bench.upstream import TOKEN
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.accounts import sign_in_account
from mogplex_mcp.store.clients import StoredClient, put_client
from mogplex_mcp.store.credentials import Credential, put_credential
from mogplex_mcp.store.grants import SpentCode, create_grant_with_code, spend_code
from mogplex_mcp.store.requests import AuthorizationRequest
from mogplex_mcp.store.store import open_store
from mogplex_mcp.store.tokens import issue_tokens

_REDIRECT = "http://localhost/callback"
_SCOPES = ("tools:read", "agents:run")


def access_token(home: Path, port: int) -> str:
    """A token that is good for an hour, of an account whose Mogplex credential is the benchmark's.

    Args:
        home: The server's ``MOGPLEX_HOME``.
        port: The server's port on 127.0.0.1.
    """
    with closing(open_store(Settings(mcp_data_dir=home / "mcp"))) as store:
        account = sign_in_account(store, issuer="bench", subject="bench", label="bench")
        put_credential(store, account.id, Credential("pat", TOKEN))
        client = put_client(store, StoredClient("bench", "registered", "bench", (_REDIRECT,), "none"))
        request = AuthorizationRequest(
            id="bench",
            client_id=client.client_id,
            redirect_uri=_REDIRECT,
            redirect_uri_given=True,
            state=None,
            scopes=_SCOPES,
            code_challenge="bench",
            resource=f"http://127.0.0.1:{port}/mcp",
            created_at=store.now(),
        )
        code = create_grant_with_code(store, account.id, request, _SCOPES)
        with store.db.write() as conn:
            spent = spend_code(store, conn, code)
            if not isinstance(spent, SpentCode):
                raise RuntimeError("A code that was just made cannot be spent.")
            return issue_tokens(store, conn, spent.grant).access_token
