"""What Mogplex's authorization server calls us: registered once for each issuer and callback."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import RowMapping, delete, func, select

from mogplex_mcp.store.bounds import MAX_UPSTREAM_CLIENTS
from mogplex_mcp.store.database import insert_into
from mogplex_mcp.store.errors import StoreFullError
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import upstream_clients
from mogplex_mcp.store.texts import is_storable


@dataclass(frozen=True, slots=True)
class UpstreamClient:
    """A registration of ours."""

    issuer: str
    callback: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)


def put_upstream_client(store: Store, client: UpstreamClient) -> UpstreamClient:
    """Keeps what a registration at Mogplex gave, unless another process was faster. Returns what is kept.

    Raises:
        StoreFullError: ``MAX_UPSTREAM_CLIENTS`` registrations are kept.
    """
    secret = None if client.client_secret is None else store.vault.encrypt(client.client_secret)
    row = {
        "issuer": client.issuer,
        "callback": client.callback,
        "client_id": client.client_id,
        "client_secret": secret,
        "created_at": store.now(),
    }
    with store.db.write() as conn:
        if conn.execute(select(func.count()).select_from(upstream_clients)).scalar_one() >= MAX_UPSTREAM_CLIENTS:
            raise StoreFullError("This server has registered at Mogplex under too many addresses.")
        conn.execute(insert_into(conn, upstream_clients).values(row).on_conflict_do_nothing())
    return get_upstream_client(store, client.issuer, client.callback) or client


def get_upstream_client(store: Store, issuer: str, callback: str) -> UpstreamClient | None:
    """The registration that signs people in who come back to this callback."""
    return _find(store, issuer, "callback", callback)


def find_upstream_client(store: Store, issuer: str, client_id: str) -> UpstreamClient | None:
    """The registration of this name, which alone can refresh and revoke what it was given."""
    return _find(store, issuer, "client_id", client_id)


def forget_upstream_client(store: Store, issuer: str, client_id: str) -> None:
    """Forgets a registration that Mogplex does not know any more."""
    if not (is_storable(issuer) and is_storable(client_id)):
        return
    same = (upstream_clients.c.issuer == issuer, upstream_clients.c.client_id == client_id)
    with store.db.write() as conn:
        conn.execute(delete(upstream_clients).where(*same))


def _find(store: Store, issuer: str, column: str, value: str) -> UpstreamClient | None:
    if not (is_storable(issuer) and is_storable(value)):
        return None
    same = (upstream_clients.c.issuer == issuer, upstream_clients.c[column] == value)
    with store.db.read() as conn:
        row: RowMapping | None = conn.execute(select(upstream_clients).where(*same)).mappings().first()
    if row is None:
        return None
    secret = None if row["client_secret"] is None else store.vault.decrypt(row["client_secret"])
    return UpstreamClient(row["issuer"], row["callback"], row["client_id"], secret)
