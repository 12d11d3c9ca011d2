"""Tasks: names under which an account asks how a call of its own goes on; each stands for a run."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select

from mogplex_mcp.store.bounds import MAX_TASKS_PER_ACCOUNT, TASK_LIFE
from mogplex_mcp.store.database import serialize
from mogplex_mcp.store.errors import StoreError, StoreFullError
from mogplex_mcp.store.opaque import new_id
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import tasks
from mogplex_mcp.store.texts import is_storable

_KEY = 0x7461736B73


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task as it is kept. Its state is its run's, so nothing here changes.

    Attributes:
        id: Random, 128 bits.
        account: Who may ask for it.
        run_id: Mogplex's name for the run.
        replayed: Whether an earlier start had made the run.
        created_at: In milliseconds since 1970.
        expires_at: Until when it can be asked for, in milliseconds since 1970.
    """

    id: str
    account: str
    run_id: str
    replayed: bool
    created_at: int
    expires_at: int


def put_task(store: Store, account: str, run_id: str, *, replayed: bool) -> StoredTask:
    """Makes a task. None is ever dropped before its time: rather, there is no new one.

    Args:
        store: where.
        account: who may ask for it.
        run_id: Mogplex's name for the run.
        replayed: whether an earlier start had made it.

    Raises:
        StoreFullError: the account has ``MAX_TASKS_PER_ACCOUNT`` tasks.
        StoreError: a database cannot keep these names.
    """
    if not is_storable(run_id) or not is_storable(account):
        raise StoreError("The run's name cannot be kept.")
    now = store.now()
    made = StoredTask(new_id(), account, run_id, replayed, now, now + TASK_LIFE)
    with store.db.write() as conn:
        # One at a time, so that no two take the last place.
        serialize(conn, _KEY)
        mine = select(func.count()).select_from(tasks).where(tasks.c.account == account, tasks.c.expires_at > now)
        if conn.execute(mine).scalar_one() >= MAX_TASKS_PER_ACCOUNT:
            raise StoreFullError(f"This account has {MAX_TASKS_PER_ACCOUNT} tasks; the oldest lapses first.")
        conn.execute(
            insert(tasks).values(
                id=made.id,
                account=account,
                run_id=run_id,
                replayed=replayed,
                created_at=made.created_at,
                expires_at=made.expires_at,
            )
        )
    return made


def get_task(store: Store, account: str, task_id: str) -> StoredTask | None:
    """The account's task of this id; None when there is none, it lapsed, or it is another's."""
    if not is_storable(task_id) or not is_storable(account):
        return None
    mine = (tasks.c.id == task_id, tasks.c.account == account, tasks.c.expires_at > store.now())
    with store.db.read() as conn:
        row = conn.execute(select(tasks).where(*mine)).mappings().first()
    return StoredTask(**row) if row is not None else None


def prune_tasks(store: Store) -> int:
    """Deletes those that lapsed. Returns how many."""
    with store.db.write() as conn:
        return conn.execute(delete(tasks).where(tasks.c.expires_at <= store.now())).rowcount
