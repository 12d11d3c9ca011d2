"""The tasks of an account: its own only, kept for as long as was said, bounded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from mogplex_mcp.settings import Settings
from mogplex_mcp.store import tasks
from mogplex_mcp.store.bounds import TASK_LIFE
from mogplex_mcp.store.errors import StoreError, StoreFullError
from mogplex_mcp.store.store import Store, open_store
from mogplex_mcp.store.tasks import get_task, prune_tasks, put_task
from tests.store.clock import Clock


def test_a_task_is_there_for_its_account_and_for_nobody_else(store: Store) -> None:
    made = put_task(store, "ann", "run-1", replayed=True)
    assert get_task(store, "ann", made.id) == made
    assert (made.run_id, made.replayed, made.expires_at - made.created_at) == ("run-1", True, TASK_LIFE)
    assert get_task(store, "bob", made.id) is None


def test_it_is_there_for_another_process(store: Store, settings: Settings) -> None:
    made = put_task(store, "ann", "run-1", replayed=False)
    with closing(open_store(settings)) as other:
        assert other.clock is not store.clock
        assert tasks.get_task(Store(other.db, other.vault, store.clock), "ann", made.id) == made


def test_no_two_tasks_have_one_name_not_even_of_one_run(store: Store) -> None:
    names = {put_task(store, "ann", "run-1", replayed=False).id for _ in range(20)}
    assert len(names) == 20
    assert {len(name) for name in names} == {32}


@pytest.mark.parametrize("name", ["", "x", "\0", "\ud800", "x" * 5_000, "' OR 1=1 --"])
def test_any_other_name_is_none(store: Store, name: str) -> None:
    put_task(store, "ann", "run-1", replayed=False)
    assert get_task(store, "ann", name) is None


def test_what_a_database_cannot_keep_is_refused(store: Store) -> None:
    with pytest.raises(StoreError):
        put_task(store, "ann", "run-\0", replayed=False)


def test_a_task_is_kept_to_the_millisecond_and_pruned_then(store: Store, clock: Clock) -> None:
    made = put_task(store, "ann", "run-1", replayed=False)
    clock.advance(TASK_LIFE - 1)
    assert prune_tasks(store) == 0
    assert get_task(store, "ann", made.id) == made
    clock.advance(1)
    assert get_task(store, "ann", made.id) is None
    assert prune_tasks(store) == 1


def test_a_full_account_gets_no_new_task_and_loses_none(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MAX_TASKS_PER_ACCOUNT", 3)
    kept = [put_task(store, "ann", f"run-{number}", replayed=False) for number in range(3)]
    with pytest.raises(StoreFullError):
        put_task(store, "ann", "run-4", replayed=False)
    put_task(store, "bob", "run-4", replayed=False)
    assert [get_task(store, "ann", task.id) for task in kept] == kept
    clock.advance(TASK_LIFE)
    put_task(store, "ann", "run-5", replayed=False)


def test_of_many_at_once_only_as_many_as_there_is_room_for_are_made(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MAX_TASKS_PER_ACCOUNT", 3)

    def made(number: int) -> bool:
        try:
            put_task(store, "ann", f"run-{number}", replayed=False)
        except StoreFullError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(made, range(8))) == 3
