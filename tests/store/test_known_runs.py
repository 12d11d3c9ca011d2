"""The runs that an account has seen: its own only, the latest first, bounded."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mogplex_mcp.store import known_runs
from mogplex_mcp.store.known_runs import (
    CursorError,
    find_known_runs,
    list_known_runs,
    note_run,
    prune_known_runs,
)
from mogplex_mcp.store.store import Store
from tests.store.clock import DAY, Clock


def run(run_id: str, status: str = "streaming", created: int | None = None, **more: object) -> dict[str, object]:
    at = {} if created is None else {"createdAt": datetime.fromtimestamp(created / 1000, UTC).isoformat()}
    return {"runId": run_id, "status": status, "repoId": "repo-1", **at, **more}


def ids(store: Store, account: str = "ann", **asked: str) -> list[object]:
    """All pages, three runs each."""
    found: list[object] = []
    cursor = None
    while True:
        page = list_known_runs(store, account, limit=3, cursor=cursor, **asked)
        found += [each["runId"] for each in page.runs]
        cursor = page.next_cursor
        if cursor is None:
            return found


def test_runs_come_latest_first_page_by_page_each_once(store: Store, clock: Clock) -> None:
    for number in (4, 1, 7, 3, 6, 2, 5):
        note_run(store, "ann", run(f"run-{number}", created=clock.at - 10_000 + number))
    note_run(store, "ann", run("run-5b", created=clock.at - 10_000 + 5))
    assert ids(store) == ["run-7", "run-6", "run-5b", "run-5", "run-4", "run-3", "run-2", "run-1"]


def test_a_run_is_shown_as_it_came_with_unknown_fields(store: Store) -> None:
    shown = run("run-1", branch={"working": "a"}, somethingNew=[1, None, "\0 \ud83d"])
    note_run(store, "ann", shown)
    assert list_known_runs(store, "ann", limit=1).runs == (shown,)


def test_noting_a_run_tells_whether_it_is_new_or_has_changed(store: Store) -> None:
    assert note_run(store, "ann", run("run-1")) == "new"
    assert note_run(store, "bob", run("run-1")) == "new"
    assert note_run(store, "ann", run("run-1")) == "same"
    assert note_run(store, "ann", run("run-1", "success")) == "changed"
    assert note_run(store, "ann", run("run-1")) == "same"  # older news of one that has ended


def test_another_account_sees_nothing_of_it(store: Store) -> None:
    note_run(store, "ann", run("run-12345678"))
    assert ids(store, "bob") == []
    assert find_known_runs(store, "bob", "run-1234") == []


def test_the_same_run_is_kept_for_each_who_saw_it(store: Store) -> None:
    note_run(store, "ann", run("run-1"))
    note_run(store, "bob", run("run-1", "success"))
    assert ids(store, "ann", status="streaming") == ids(store, "bob", status="success") == ["run-1"]


def test_news_replace_what_was_known_but_never_un_end_a_run(store: Store) -> None:
    for status in ("pending", "streaming", "cancelled", "streaming"):
        note_run(store, "ann", run("run-1", status))
    assert [each["status"] for each in list_known_runs(store, "ann", limit=9).runs] == ["cancelled"]


def test_runs_are_chosen_by_repository_and_status(store: Store) -> None:
    note_run(store, "ann", run("run-1"))
    note_run(store, "ann", run("run-2", "failed"))
    note_run(store, "ann", {**run("run-3"), "repoId": "repo-2"})
    assert ids(store, repo_id="repo-2") == ["run-3"]
    assert ids(store, status="failed", repo_id="repo-1") == ["run-2"]
    assert ids(store, repo_id="\0") == []


def test_a_prefix_finds_runs_and_takes_nothing_for_a_wildcard(store: Store) -> None:
    for run_id in ("abcdefgh-1", "abcdefgh-2", "ABCDEFGH-3", "abcd_fgh-4", "abcd%fgh-5"):
        note_run(store, "ann", run(run_id))
    assert find_known_runs(store, "ann", "abcdefgh") == ["abcdefgh-1", "abcdefgh-2"]
    assert find_known_runs(store, "ann", "abcd_fgh") == ["abcd_fgh-4"]
    assert find_known_runs(store, "ann", "abcd%") == ["abcd%fgh-5"]


def test_only_the_latest_of_an_account_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(known_runs, "MAX_KNOWN_RUNS_PER_ACCOUNT", 3)
    note_run(store, "bob", run("run-0", created=0))
    for number in range(5):
        note_run(store, "ann", run(f"run-{number}", created=clock.at - 10 + number))
    assert ids(store) == ["run-4", "run-3", "run-2"]
    assert ids(store, "bob") == ["run-0"]


def test_a_run_that_nobody_has_seen_for_long_is_forgotten(store: Store, clock: Clock) -> None:
    note_run(store, "ann", run("run-old"))
    clock.advance(89 * DAY)
    note_run(store, "ann", run("run-new"))
    clock.advance(2 * DAY)
    assert prune_known_runs(store) == 1
    assert ids(store) == ["run-new"]


def test_a_run_without_a_usable_time_is_as_old_as_its_first_note(store: Store, clock: Clock) -> None:
    for number, created in enumerate([None, "yesterday", 12, "9999-01-01T00:00:00Z"]):
        note_run(store, "ann", {**run(f"run-{number}"), "createdAt": created})
        clock.advance(1)
    assert ids(store) == ["run-3", "run-2", "run-1", "run-0"]


def test_what_is_too_large_to_keep_is_kept_in_essentials(store: Store) -> None:
    note_run(store, "ann", run("run-1", "failed", error="x" * 100_000))
    assert list_known_runs(store, "ann", limit=1).runs == (run("run-1", "failed"),)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_any_other_cursor_is_refused(store: Store) -> None:
    @given(st.text(max_size=40))
    def refused(cursor: str) -> None:
        with pytest.raises(CursorError):
            list_known_runs(store, "ann", limit=1, cursor=cursor)

    refused()
