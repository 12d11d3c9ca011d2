"""Accounts: the people who signed in."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from mogplex_mcp.store import audit
from mogplex_mcp.store.database import insert_into
from mogplex_mcp.store.errors import UnknownAccountError
from mogplex_mcp.store.opaque import new_id
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import accounts
from mogplex_mcp.store.texts import is_storable, storable


@dataclass(frozen=True, slots=True)
class Account:
    """A signed-in person. Times in milliseconds since 1970."""

    id: str
    issuer: str
    subject: str | None
    label: str
    created_at: int
    signed_in_at: int


def sign_in_account(
    store: Store, *, issuer: str, subject: str | None, label: str, address: str | None = None
) -> Account:
    """The account of somebody who just signed in, made at the first time.

    Args:
        store: where.
        issuer: who vouches for the person.
        subject: the issuer's unchanging name for the person; None makes a new account at every sign-in.
        label: what pages show; the latest one is kept.
        address: where the person signed in from, for the audit.

    Raises:
        ValueError: issuer or subject is longer than ``MAX_TEXT`` or cannot be stored: names are not to be mixed up.
    """
    if not is_storable(issuer) or (subject is not None and not is_storable(subject)):
        raise ValueError("The issuer's name for this person cannot be kept.")
    now = store.now()
    values = {"issuer": issuer, "subject": subject, "label": storable(label), "created_at": now, "signed_in_at": now}
    with store.db.write() as conn:
        statement = (
            insert_into(conn, accounts)
            .values(id=new_id(), **values)
            .on_conflict_do_update(
                index_elements=["issuer", "subject"], set_={"label": values["label"], "signed_in_at": now}
            )
            .returning(accounts)
        )
        account = Account(**conn.execute(statement).mappings().one())
        audit.record(store, "account_signed_in", conn=conn, account_id=account.id, address=address, issuer=issuer)
    return account


def change_subject(store: Store, account_id: str, subject: str, *, label: str, address: str | None = None) -> bool:
    """Names an account's person anew: who replaced a pasted token stays who he is.

    Returns:
        Whether it was done; not when another account of the same issuer has that subject.

    Raises:
        UnknownAccountError: there is no such account.
        ValueError: the subject cannot be stored.
    """
    if not is_storable(subject):
        raise ValueError("The issuer's name for this person cannot be kept.")
    with store.db.write() as conn:
        lock_account(conn, account_id)
        values = {"subject": subject, "label": storable(label)}
        try:
            with conn.begin_nested():
                conn.execute(update(accounts).where(accounts.c.id == account_id).values(values))
        except IntegrityError:
            return False
        audit.record(store, "credential_replaced", conn=conn, account_id=account_id, address=address)
    return True


def get_account(store: Store, account_id: str) -> Account | None:
    if not is_storable(account_id):
        return None
    with store.db.read() as conn:
        row = conn.execute(select(accounts).where(accounts.c.id == account_id)).mappings().first()
    return None if row is None else Account(**row)


def lock_account(conn: Connection, account_id: str) -> None:
    """Makes changes to one account's credential, grants and tokens one at a time, until this transaction ends.

    Every transaction that changes more than one row of them begins with this lock, so none waits for another in turn.

    Raises:
        UnknownAccountError: there is none.
    """
    statement = select(accounts.c.id).where(accounts.c.id == account_id).with_for_update(key_share=True)
    if not is_storable(account_id) or conn.execute(statement).first() is None:
        raise UnknownAccountError("This account does not exist any more: sign in again.")
