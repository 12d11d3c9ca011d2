"""People who signed in, and agents that they let in."""

from __future__ import annotations

from collections.abc import Iterable

from mogplex_mcp.store.accounts import Account, sign_in_account
from mogplex_mcp.store.clients import StoredClient, put_client
from mogplex_mcp.store.credentials import Credential, put_credential
from mogplex_mcp.store.grants import Grant, SpentCode, create_grant_with_code, spend_code
from mogplex_mcp.store.requests import AuthorizationRequest, put_request, take_request
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tokens import TokenAnswer, issue_tokens

SCOPES = ("tools:read", "agents:run")
CLIENT = "client-1"
RESOURCE = "http://localhost:8747/mcp"
REDIRECT = "http://localhost/callback"


CREDENTIAL = Credential("mogplex", "mog_upstream-of-ann", "refresh-of-ann")


def person(store: Store, subject: str | None = "ann") -> Account:
    """Somebody who signed in and has a credential."""
    account = sign_in_account(store, issuer="https://mogplex.example", subject=subject, label="Ann")
    put_credential(store, account.id, CREDENTIAL)
    return account


def client(store: Store, client_id: str = CLIENT) -> StoredClient:
    return put_client(store, StoredClient(client_id, "registered", "Cursor", (REDIRECT,), "none"))


def pending(store: Store, client_id: str = CLIENT, scopes: tuple[str, ...] = SCOPES) -> str:
    """The id of a request that nobody has answered."""
    return put_request(
        store,
        client_id=client_id,
        redirect_uri=REDIRECT,
        redirect_uri_given=True,
        state="state",
        scopes=scopes,
        code_challenge="challenge",
        resource=RESOURCE,
    )


def request(store: Store, client_id: str = CLIENT, scopes: tuple[str, ...] = SCOPES) -> AuthorizationRequest:
    """A request that was just taken."""
    taken = take_request(store, pending(store, client_id, scopes))
    assert taken is not None
    return taken


def allowed(store: Store, account: Account, scopes: Iterable[str] = SCOPES, client_id: str = CLIENT) -> str:
    """The code of a grant that was just allowed."""
    client(store, client_id)
    return create_grant_with_code(store, account.id, request(store, client_id), scopes)


def redeemed(store: Store, code: str) -> tuple[Grant, TokenAnswer]:
    with store.db.write() as conn:
        spent = spend_code(store, conn, code)
        assert isinstance(spent, SpentCode)
        return spent.grant, issue_tokens(store, conn, spent.grant)


def connected(
    store: Store, account: Account, scopes: Iterable[str] = SCOPES, client_id: str = CLIENT
) -> tuple[Grant, TokenAnswer]:
    """A grant with its first tokens."""
    return redeemed(store, allowed(store, account, scopes, client_id))
