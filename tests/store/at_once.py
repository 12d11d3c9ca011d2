"""One of several processes that do the same thing at the same moment, many threads in each.

``python at_once.py ACTION THREADS``: the settings are in the environment, what to act on is a line of JSON on standard
input. It says ``ready`` when every thread waits, begins at the next line, and prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mogplex_mcp.settings import Settings
from mogplex_mcp.store import grants, tokens
from mogplex_mcp.store.credentials import Credential, lease_refresh, put_credential
from mogplex_mcp.store.errors import TooManyTriesError
from mogplex_mcp.store.pruning import prune
from mogplex_mcp.store.requests import take_request
from mogplex_mcp.store.signin_codes import redeem_signin_code
from mogplex_mcp.store.store import Store, open_store

Subject = dict[str, str]


def redeem(store: Store, subject: Subject, number: int) -> object:
    with store.db.write() as conn:
        spent = grants.spend_code(store, conn, subject["code"])
        if isinstance(spent, grants.SpentCode):
            return ["tokens", tokens.issue_tokens(store, conn, spent.grant).refresh_token]
        return ["reused", spent is not None and spent.credential is not None]


def refresh(store: Store, subject: Subject, number: int) -> object:
    answer = tokens.rotate_refresh(store, subject["refresh_token"], subject["client_id"])
    if isinstance(answer, tokens.TokenAnswer):
        return ["tokens", answer.access_token, answer.refresh_token]
    return ["refused", answer.reason, answer.credential is not None]


def take(store: Store, subject: Subject, number: int) -> object:
    return take_request(store, subject["request_id"]) is not None


def sign_in(store: Store, subject: Subject, number: int) -> object:
    try:
        return "right" if redeem_signin_code(store, subject["code"]) else "wrong"
    except TooManyTriesError:
        return "too many"


def lease(store: Store, subject: Subject, number: int) -> object:
    return lease_refresh(store, subject["account_id"], f"{subject['process']}-{number}", 60)


def everything(store: Store, subject: Subject, number: int) -> object:
    """Ten rounds of all that changes one account, each thread beginning elsewhere."""
    account_id, grant_id, client_id = subject["account_id"], subject["grant_id"], subject["client_id"]
    access = tokens.find_access_token(store, subject["access_token"])
    assert access is not None
    steps: list[Callable[[], object]] = [
        lambda: tokens.rotate_refresh(store, subject["refresh_token"], client_id),
        lambda: tokens.note_use(store, grant_id, access.token_hash, store.now() + number * 60_000, "192.0.2.1"),
        lambda: grants.set_scopes(store, grant_id, ("tools:read", f"scope:{number}")),
        lambda: put_credential(store, account_id, Credential("mogplex", f"token-{number}")),
        lambda: tokens.prune_tokens(store),
        lambda: prune(store),
        lambda: grants.grants_of(store, account_id),
        lambda: lease_refresh(store, account_id, str(number), 1),
        lambda: grants.revoke_grant(store, "another", "test"),
    ]
    for turn in range(10):
        steps[(turn + number) % len(steps)]()
    return "done"


ACTIONS = {action.__name__: action for action in (redeem, refresh, take, sign_in, lease, everything)}


def main() -> None:
    action, threads = ACTIONS[sys.argv[1]], int(sys.argv[2])
    store = open_store(Settings())
    subject: Subject = json.loads(sys.stdin.readline())
    gate = threading.Barrier(threads + 1)

    def one(number: int) -> object:
        gate.wait(30)
        return action(store, subject, number)

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(one, number) for number in range(threads)]
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        gate.wait(30)
        results = [future.result(60) for future in futures]
    sys.stdout.write(json.dumps(results) + "\n")
    store.close()


if __name__ == "__main__":
    main()
