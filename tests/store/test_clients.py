"""Clients: kept once they were authorized, pruned and bounded before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mogplex_mcp.store import clients
from mogplex_mcp.store.audit import audit_events
from mogplex_mcp.store.clients import StoredClient, get_client, mark_authorized, prune_clients, put_client
from mogplex_mcp.store.errors import StoreFullError, UnknownClientError
from mogplex_mcp.store.store import Store
from tests.store.clock import DAY, Clock
from tests.store.people import allowed, person

FULL = StoredClient(
    client_id="c",
    kind="registered",
    name="Cursor <b>é</b>",
    redirect_uris=("cursor://x/cb", "http://localhost/cb"),
    auth_method="client_secret_post",
    secret_sha256="5" * 64,
    scope="tools:read",
    metadata={"application_type": "native", "odd": "\0\ud800", "deep": [1, {"a": None}]},
    cached_until=None,
)


def test_a_client_comes_back_as_it_was_put(store: Store, clock: Clock) -> None:
    kept = put_client(store, FULL, address="192.0.2.1")
    assert kept == replace(FULL, created_at=clock.at)
    assert get_client(store, "c") == kept
    assert "555" not in repr(kept)
    assert [(event.event, event.address) for event in audit_events(store)] == [("client_registered", "192.0.2.1")]


def test_what_is_new_of_a_client_replaces_the_old_but_not_since_when_it_is_known(store: Store, clock: Clock) -> None:
    document = replace(FULL, client_id="https://c.example/client", kind="document", cached_until=5)
    put_client(store, document)
    mark_authorized(store, document.client_id)
    clock.advance(DAY)
    kept = put_client(store, replace(document, name="New", cached_until=9))
    assert kept == replace(
        document, name="New", cached_until=9, created_at=clock.at - DAY, authorized_at=clock.at - DAY
    )
    assert audit_events(store) == [], "a document is fetched, not registered"


@pytest.mark.parametrize("unknown", ["", "nobody", "a\0b", "\ud800", "x" * 1_000_000])
def test_an_unknown_client_is_none_whatever_it_is_called(store: Store, unknown: str) -> None:
    assert get_client(store, unknown) is None
    with pytest.raises(UnknownClientError):
        mark_authorized(store, unknown)


def test_a_client_id_that_cannot_be_kept_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        put_client(store, replace(FULL, client_id="a\0"))


def test_clients_never_authorized_are_pruned_the_others_are_kept(store: Store, clock: Clock) -> None:
    for name in ("never", "authorized"):
        put_client(store, replace(FULL, client_id=name))
    put_client(store, replace(FULL, client_id="document", kind="document"))
    put_client(store, replace(FULL, client_id="configured", kind="configured"))
    allowed(store, person(store), client_id="granted")
    mark_authorized(store, "authorized")
    clock.advance(30 * DAY)
    put_client(store, replace(FULL, client_id="fresh"))
    assert prune_clients(store, clock.at - 30 * DAY + 1) == 2
    left = [
        name
        for name in ("never", "document", "authorized", "granted", "configured", "fresh")
        if get_client(store, name)
    ]
    assert left == ["authorized", "granted", "configured", "fresh"]


def test_a_registration_flood_is_bounded_and_touches_nobody_who_was_authorized(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MAX_UNAUTHORIZED_CLIENTS", 3)
    put_client(store, replace(FULL, client_id="authorized"))
    mark_authorized(store, "authorized")
    document = replace(FULL, client_id="https://c.example/client", kind="document", cached_until=clock.at + 5)
    put_client(store, document)
    put_client(store, replace(FULL, client_id="1"))
    put_client(store, replace(FULL, client_id="2"))
    with pytest.raises(StoreFullError, match="never authorized"):
        put_client(store, replace(FULL, client_id="3"))
    put_client(store, replace(FULL, client_id="1", name="known ones can still change"))
    put_client(store, replace(FULL, client_id="configured", kind="configured"))
    mark_authorized(store, "configured")
    clock.advance(10)
    put_client(store, replace(FULL, client_id="3"))
    assert get_client(store, document.client_id) is None, "a lapsed document makes room: it can be fetched again"
    assert get_client(store, "authorized") is not None
