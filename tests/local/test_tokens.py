"""Tokens: shown once, kept as a hash, bounded, revocable."""

from __future__ import annotations

import hashlib
import re

import pytest

from mogplex_mcp.local.database import Database
from mogplex_mcp.local.tokens import (
    TokenError,
    authenticate,
    create_token,
    list_tokens,
    mint_session_token,
    revoke_token,
)


def age(db: Database, token_id: str) -> None:
    with db.write() as connection:
        connection.exec_driver_sql("UPDATE tokens SET expires_at = 1 WHERE id = ?", (token_id,))


def test_at_rest_there_is_a_hash_and_a_prefix(db: Database) -> None:
    token, record = create_token(db, "laptop")
    assert re.fullmatch(r"mog_[0-9A-Za-z]{32}", token)
    assert record.prefix == token[:12]
    with db.read() as connection:
        row = connection.exec_driver_sql("SELECT * FROM tokens").mappings().one()
    assert row["sha256"] == hashlib.sha256(token.encode()).hexdigest()
    assert token not in str(dict(row))
    assert token[12:] not in db.path.with_name("local.db-wal").read_bytes().decode("latin-1")


def test_a_token_is_recognised_with_its_scopes(db: Database) -> None:
    token, record = create_token(db, "reader", ["read"])
    assert authenticate(db, token) == record
    assert record.scopes == ("read",)
    assert create_token(db, "both", ["write", "read"])[1].scopes == ("read", "write")


@pytest.mark.parametrize("bearer", ["", "mog_", "mog_" + "a" * 32, "x" * 40, "mog_" + "é" * 32, "mog_" + "a" * 10_000])
def test_what_was_never_issued_is_nobody(db: Database, bearer: str) -> None:
    create_token(db, "x")
    assert authenticate(db, bearer) is None


def test_revoked_and_expired_tokens_are_nobody(db: Database) -> None:
    revoked, first = create_token(db, "first")
    expired, second = create_token(db, "second", expires_in_days=1)
    assert authenticate(db, expired) is not None
    revoke_token(db, first.id)
    age(db, second.id)
    assert authenticate(db, revoked) is None
    assert authenticate(db, expired) is None
    assert [token.usable(2) for token in list_tokens(db)] == [False, False]


def test_a_token_is_revoked_by_id_prefix_or_name_and_only_once(db: Database) -> None:
    records = [create_token(db, name)[1] for name in ("a", "b", "c")]
    assert revoke_token(db, records[0].id).name == "a"
    assert revoke_token(db, records[1].prefix).name == "b"
    assert revoke_token(db, "c").name == "c"
    with pytest.raises(TokenError, match="No token"):
        revoke_token(db, "c")


def test_a_name_that_several_tokens_have_revokes_none(db: Database) -> None:
    for _ in range(2):
        create_token(db, "same")
    with pytest.raises(TokenError, match="by its id"):
        revoke_token(db, "same")
    assert all(token.revoked_at is None for token in list_tokens(db))


@pytest.mark.parametrize(
    ("name", "scopes", "days"),
    [
        *(("", ["read"], None), ("x" * 101, ["read"], None), ("a\nb", ["read"], None)),
        *(("a", [], None), ("a", ["admin"], None), ("a", ["read"], 0), ("a", ["read"], 3651)),
    ],
)
def test_a_token_out_of_bounds_is_not_made(db: Database, name: str, scopes: list[str], days: int | None) -> None:
    with pytest.raises(TokenError):
        create_token(db, name, scopes, days)
    assert list_tokens(db) == []


def test_a_session_token_expires_anyway_and_spent_ones_do_not_pile_up(db: Database) -> None:
    kept, _ = create_token(db, "personal")
    token, record = mint_session_token(db, "stdio 1")
    assert record.expires_at is not None
    assert authenticate(db, token) == record
    revoke_token(db, record.id)
    _, crashed = mint_session_token(db, "stdio 2")
    age(db, crashed.id)
    mint_session_token(db, "stdio 3")
    assert [token.name for token in list_tokens(db)] == ["personal", "stdio 3"]
    assert authenticate(db, kept) is not None
