"""docs/storage.md says what the tables are, and the tables keep what it says."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import LargeBinary, select

from mogplex_mcp.store import bounds
from mogplex_mcp.store.sessions import new_session
from mogplex_mcp.store.signin_codes import new_signin_code
from mogplex_mcp.store.storage_page import storage_tables
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import metadata
from mogplex_mcp.store.tokens import TokenAnswer, rotate_refresh
from mogplex_mcp.store.upstream_clients import UpstreamClient, put_upstream_client
from mogplex_mcp.store.upstream_signins import put_upstream_signin
from tests.store.people import CLIENT, CREDENTIAL, allowed, pending, person, redeemed

PAGE = (Path(__file__).parent.parent.parent / "docs" / "storage.md").read_text()


def test_the_page_shows_the_tables() -> None:
    found = re.search(r"<!-- tables: begin -->\n(.*)\n<!-- tables: end -->", PAGE, re.DOTALL)
    assert found is not None
    assert found[1] == storage_tables(), "record it with: make tables"


def test_every_table_has_a_lifetime_and_every_field_a_meaning() -> None:
    for table in metadata.tables.values():
        assert table.info.get("lifetime"), table.name
        assert [column.name for column in table.columns if not column.doc] == [], table.name


def test_what_is_named_a_hash_says_how_and_what_is_binary_is_encrypted() -> None:
    for table in metadata.tables.values():
        for column in table.columns:
            kept = column.info.get("kept", "")
            if column.name.endswith(("_hash", "_sha256")):
                assert kept in {"SHA-256", "keyed hash (HMAC-SHA-256)"}, column
            assert (kept == "encrypted") == isinstance(column.type, LargeBinary), column


def test_the_bounds_on_the_page_are_the_bounds_of_the_code() -> None:
    text = " ".join(PAGE.split())
    for words in (
        f"sign-ins at Mogplex: {bounds.MAX_REQUESTS:,} each",
        f"never authorized: {bounds.MAX_UNAUTHORIZED_CLIENTS:,}.",
        f"nobody signed in: {bounds.MAX_VISITS:,}.",
        f"Sessions of one account: {bounds.MAX_SESSIONS_PER_ACCOUNT}.",
        f"Live grants of one account: {bounds.MAX_GRANTS_PER_ACCOUNT}.",
        f"Tasks of one account: {bounds.MAX_TASKS_PER_ACCOUNT:,}",
        f"Audit: {bounds.MAX_AUDIT_ROWS:,} rows",
    ):
        assert words in text
    assert bounds.MAX_UPSTREAM_SIGNINS == bounds.MAX_REQUESTS
    lifetimes = " ".join(table.info["lifetime"] for table in metadata.tables.values())
    assert f"{bounds.MAX_AUDIT_ROWS:,} rows" in lifetimes


def test_no_secret_stands_anywhere_in_the_database(store: Store) -> None:
    account = person(store)
    code = allowed(store, account)
    _, answer = redeemed(store, code)
    successor = rotate_refresh(store, answer.refresh_token, CLIENT)
    assert isinstance(successor, TokenAnswer)
    session_id, _ = new_session(store, account.id)
    signin_code = new_signin_code(store)
    state = put_upstream_signin(store, browser="b", request_id=None, verifier="the-verifier", callback="c")
    put_upstream_client(store, UpstreamClient("i", "c", "id", "the-upstream-secret"))
    secrets = {
        code,
        answer.access_token,
        answer.refresh_token,
        successor.access_token,
        successor.refresh_token,
        session_id,
        signin_code,
        signin_code.replace("-", ""),
        state,
        "the-verifier",
        "the-upstream-secret",
        CREDENTIAL.token,
        CREDENTIAL.refresh_token or "",
        pending(store),
    }
    with store.db.read() as conn:
        everything = "\n".join(repr(conn.execute(select(table)).all()) for table in metadata.tables.values())
    assert [secret for secret in secrets if secret in everything] == []
