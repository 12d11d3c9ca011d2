"""Two processes, ten threads in each, all at the same moment: of what may happen once, one gets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mogplex_mcp.settings import Settings
from mogplex_mcp.store.credentials import get_credential
from mogplex_mcp.store.grants import get_grant
from mogplex_mcp.store.signin_codes import new_signin_code
from mogplex_mcp.store.store import Store, open_store
from mogplex_mcp.store.tokens import find_access_token
from tests.store.people import CLIENT, allowed, connected, pending, person

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PROCESSES = 2
THREADS = 10


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """With the real clock: other processes share it."""
    with closing(open_store(settings)) as opened:
        yield opened


def at_once(settings: Settings, action: str, **subject: str) -> list[Any]:
    """What twenty threads of two processes got."""
    environment = os.environ | {"MOGPLEX_MCP_DATA_DIR": str(settings.data_dir), "PYTHONPATH": str(ROOT)}
    if settings.mcp_database_url is not None:
        environment["MOGPLEX_MCP_DATABASE_URL"] = settings.mcp_database_url.get_secret_value()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.store.at_once", action, str(THREADS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        for _ in range(PROCESSES)
    ]
    try:
        for number, process in enumerate(processes):
            assert process.stdin is not None
            process.stdin.write(json.dumps(subject | {"process": str(number)}) + "\n")
            process.stdin.flush()
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        results = []
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            output, _ = process.communicate(timeout=90)
            assert process.returncode == 0
            results += json.loads(output)
        return results
    finally:
        for process in processes:
            process.kill()
            process.wait(10)


def test_of_twenty_redemptions_at_once_one_gets_tokens_and_the_others_revoke_them(
    settings: Settings, store: Store
) -> None:
    account = person(store)
    results = at_once(settings, "redeem", code=allowed(store, account))
    assert Counter(result[0] for result in results) == {"tokens": 1, "reused": PROCESSES * THREADS - 1}
    assert sum(result[1] is True for result in results) == 1, "one of them is told to revoke the credential upstream"
    assert get_credential(store, account.id) is None


def test_twenty_refreshes_at_once_all_get_the_one_successor(settings: Settings, store: Store) -> None:
    grant, answer = connected(store, person(store))
    results = at_once(settings, "refresh", refresh_token=answer.refresh_token, client_id=CLIENT)
    assert len(results) == PROCESSES * THREADS
    assert {result[0] for result in results} == {"tokens"}
    assert len({tuple(result) for result in results}) == 1
    record = find_access_token(store, results[0][1])
    assert record is not None
    assert record.grant_id == grant.id
    assert record.is_usable(store.now())


def test_a_request_is_taken_by_one_of_twenty(settings: Settings, store: Store) -> None:
    results = at_once(settings, "take", request_id=pending(store))
    assert Counter(results) == {True: 1, False: PROCESSES * THREADS - 1}


def test_of_twenty_right_sign_in_codes_at_once_one_signs_in(settings: Settings, store: Store) -> None:
    results = at_once(settings, "sign_in", code=new_signin_code(store))
    # The code was spent by the first, so the next five count as wrong tries and the rest are not looked at.
    assert Counter(results) == {"right": 1, "wrong": 5, "too many": PROCESSES * THREADS - 6}


def test_a_credential_is_refreshed_by_one_of_twenty(settings: Settings, store: Store) -> None:
    account = person(store)
    results = at_once(settings, "lease", account_id=account.id)
    assert Counter(results) == {True: 1, False: PROCESSES * THREADS - 1}


def test_everything_at_once_neither_deadlocks_nor_fails(settings: Settings, store: Store) -> None:
    account = person(store)
    grant, answer = connected(store, account)
    results = at_once(
        settings,
        "everything",
        account_id=account.id,
        grant_id=grant.id,
        client_id=CLIENT,
        access_token=answer.access_token,
        refresh_token=answer.refresh_token,
    )
    assert results == ["done"] * PROCESSES * THREADS
    kept = get_grant(store, grant.id)
    assert kept is not None
    assert kept.is_live(store.now()), "repeating a refresh within 30 s revokes nothing"
