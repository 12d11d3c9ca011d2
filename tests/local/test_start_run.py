"""POST /runs: what is refused and how it is named, which branch a run gets, and that a key starts one run."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mogplex_mcp.local.embedded import embedded_transport
from mogplex_mcp.local.repos import add_repo, remove_repo
from mogplex_mcp.local.tables import runs
from mogplex_mcp.local.tokens import create_token
from tests.local.hosting import API, Answering, Host, caller, eventually, hosting, make_repository, run_git
from tests.local.test_contract import refused

LONG_RUN = "import time\ntime.sleep(600)"


async def post(api: Answering, content: bytes, **headers: str) -> httpx2.Response:
    headers = {"idempotency-key": str(uuid.uuid4()), "content-type": "application/json"} | headers
    return await api.client.post(f"{API}/runs", content=content, headers=headers)


def stored(api: Answering) -> int:
    with api.db.read() as connection:
        return len(connection.execute(runs.select()).all())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("repoId", None),
        ("repoId", 7),
        ("repoId", " "),
        ("prompt", None),
        ("prompt", ""),
        ("prompt", " \n"),
        ("prompt", ["a"]),
        ("prompt", "x" * 100_001),
        ("harness", "gemini"),
        ("harness", "demo"),
        ("harness", 1),
        ("baseBranch", "no/such"),
        ("baseBranch", "-x"),
        ("baseBranch", "a..b"),
        ("baseBranch", ""),
        ("workingBranch", "bad name"),
        ("workingBranch", "x" * 201),
        ("workingBranch", "not-there"),
        ("createBranch", "yes"),
        ("createBranch", 1),
        ("rootDirectory", "../x"),
        ("rootDirectory", "/etc"),
        ("rootDirectory", "a/../../b"),
        ("rootDirectory", "missing"),
        ("rootDirectory", "file.txt"),
        ("rootDirectory", ".git"),
        ("rootDirectory", 5),
        ("conversationId", 5),
        ("workspaceSessionId", "x" * 201),
        ("mode", {"a": 1}),
    ],
)
async def test_what_is_wrong_is_named(api: Answering, field: str, value: object) -> None:
    body = {"repoId": api.repo.id, "prompt": "pass", field: value}
    message = refused(await post(api, json.dumps(body).encode()), 400, "BAD_REQUEST")
    assert message.startswith(f"{field}: "), message
    assert stored(api) == 0


@pytest.mark.parametrize("field", ["repoId", "prompt"])
async def test_a_field_that_is_required_and_missing_is_named(api: Answering, field: str) -> None:
    body = {"repoId": api.repo.id, "prompt": "pass"}
    del body[field]
    message = refused(await post(api, json.dumps(body).encode()), 400, "BAD_REQUEST")
    assert message == f"{field}: is required"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b'{"prompt": NaN}', b"[" * 200_000, b" " * (1024 * 1024 + 1)],
    ids=lambda content: repr(content[:12]),
)
async def test_a_body_that_is_no_json_object_is_refused(api: Answering, content: bytes) -> None:
    refused(await post(api, content), 400, "BAD_REQUEST")


async def test_half_a_character_in_a_prompt_is_named(api: Answering) -> None:
    content = b'{"repoId": "%s", "prompt": "\\ud800"}' % api.repo.id.encode()
    assert refused(await post(api, content), 400, "BAD_REQUEST").startswith("prompt: ")


@pytest.mark.parametrize(("key", "said"), [("", "Idempotency-Key is required"), ("k" * 201, "Idempotency-Key: must")])
async def test_a_key_is_required_and_bounded(api: Answering, key: str, said: str) -> None:
    answer = await post(api, b"{}", **{"idempotency-key": key})
    assert refused(answer, 400, "BAD_REQUEST").startswith(said)


async def test_a_repository_that_is_not_there_is_not_found(host: Host) -> None:
    refused(await host.post_run(prompt="x", repoId=str(uuid.uuid4())), 404, "NOT_FOUND")
    remove_repo(host.db, host.repo.id)
    refused(await host.post_run(prompt="x"), 404, "NOT_FOUND")


async def test_a_missing_harness_says_what_to_install(api: Answering) -> None:
    message = refused(await api.post_run(prompt="x", harness="claude-code"), 400, "BAD_REQUEST")
    assert message.startswith("harness: ")
    assert "npm install" in message


async def test_a_repository_without_commits_is_told_apart(host: Host, data_dir: Path) -> None:
    empty = add_repo(host.db, make_repository(data_dir / "empty", commits=0), "e/e")
    message = refused(await host.post_run(prompt="x", repoId=empty.id), 400, "BAD_REQUEST")
    assert message == "repoId: this repository has no commits yet; make a first commit, then call again"


async def test_the_longest_prompt_arrives_whole(host: Host) -> None:
    script = "message(str(len(PROMPT)))\n#"
    prompt = "PROMPT = 'x' * 3\n" + script + "é" * (100_000 - len("PROMPT = 'x' * 3\n" + script))
    run = await host.start(prompt, createBranch=True)
    assert "3" in [event["message"] for event in await _events_at_end(host, run)]


async def _events_at_end(host: Host, run: dict[str, Any]) -> list[dict[str, Any]]:
    await host.ended(run["runId"])
    return await host.events(run["runId"])


async def test_the_base_that_is_checked_out_gives_a_new_branch_and_says_so(host: Host) -> None:
    run = await host.start("commit('a.txt', 'A')")
    working = run["branch"]["working"]
    assert working.startswith("mogplex/run/")
    assert run["branch"]["createBranch"] is True
    assert working in run["branch"]["note"]
    events = await _events_at_end(host, run)
    assert (events[0]["type"], events[0]["message"]) == ("log", run["branch"]["note"])
    assert run_git(host.repo.path, "log", "--format=%s", "-1", "main") == "Commit 1"


async def test_the_base_that_is_free_is_worked_on(host: Host) -> None:
    run_git(host.repo.path, "checkout", "--quiet", "-b", "elsewhere")
    run = await host.start("commit('a.txt', 'A')", baseBranch="main")
    assert run["branch"] == {"base": "main", "working": "main", "createBranch": False}
    await host.ended(run["runId"])
    assert run_git(host.repo.path, "log", "--format=%s", "-1", "main") == "A"


async def test_a_named_branch_that_is_checked_out_is_a_conflict(host: Host) -> None:
    message = refused(await host.post_run(prompt="x", workingBranch="main"), 409, "CONFLICT")
    assert "call again with createBranch: true" in message
    assert str(host.repo.path) in message


async def test_a_named_branch_is_created_from_the_base_when_asked(host: Host) -> None:
    run = await host.start("commit('a.txt', 'A')", workingBranch="feat/x", createBranch=True)
    assert run["branch"] == {"base": "main", "working": "feat/x", "createBranch": True}
    assert (await host.ended(run["runId"]))["status"] == "success"
    again = await host.start("commit('b.txt', 'B')", workingBranch="feat/x", createBranch=True)
    await host.ended(again["runId"])
    assert run_git(host.repo.path, "log", "--format=%s", "-2", "feat/x").splitlines() == ["B", "A"]


async def test_an_existing_branch_is_used_without_creating(host: Host) -> None:
    run_git(host.repo.path, "branch", "feat/y")
    run = await host.start("commit('a.txt', 'A')", workingBranch="feat/y")
    await host.ended(run["runId"])
    assert run_git(host.repo.path, "log", "--format=%s", "-1", "feat/y") == "A"


async def test_two_runs_do_not_share_a_branch_also_while_the_first_waits(data_dir: Path) -> None:
    async with hosting(data_dir, local_max_concurrent_runs=1) as host:
        for name in ("one", "two"):
            run_git(host.repo.path, "branch", name)
        working = await host.start(LONG_RUN, workingBranch="one")
        waiting = await host.start(LONG_RUN, workingBranch="two")
        await host.until(working["runId"], "streaming")
        for name in ("one", "two"):
            refused(await host.post_run(prompt="x", workingBranch=name), 409, "CONFLICT")
        await host.cancel(waiting["runId"])
        assert (await host.post_run(prompt="pass", workingBranch="two")).status_code == 202


async def test_a_branch_that_cannot_exist_beside_another_is_named(host: Host) -> None:
    run_git(host.repo.path, "branch", "a/b")
    for name, other in (("main/deep", "main"), ("a", "a/b"), ("a/b/c", "a/b")):
        for create in (True, False):
            answer = await host.post_run(prompt="x", workingBranch=name, createBranch=create)
            message = refused(answer, 400, "BAD_REQUEST")
            assert message == f"workingBranch: {name} cannot exist beside the branch {other}; choose another name"


async def test_a_branch_that_a_waiting_run_will_make_is_room_taken(data_dir: Path) -> None:
    async with hosting(data_dir, local_max_concurrent_runs=1) as host:
        await host.start(LONG_RUN, createBranch=True)
        waiting = await host.start(LONG_RUN, workingBranch="later/x", createBranch=True)
        for name in ("later", "later/x/y"):
            answer = await host.post_run(prompt="x", workingBranch=name, createBranch=True)
            assert "beside the branch later/x" in refused(answer, 400, "BAD_REQUEST")
        await host.cancel(waiting["runId"])
        assert (await host.post_run(prompt="pass", workingBranch="later", createBranch=True)).status_code == 202


async def test_generated_branches_find_room_beside_others(host: Host) -> None:
    run_git(host.repo.path, "branch", "mogplex/run")
    run = await host.start("commit('a.txt', 'A')", createBranch=True)
    assert run["branch"]["working"].startswith("mogplex-run/")
    assert (await host.ended(run["runId"]))["status"] == "success"


async def test_a_base_that_only_origin_has_and_that_cannot_be_made_here_gives_a_new_branch(host: Host) -> None:
    head = run_git(host.repo.path, "rev-parse", "main")
    run_git(host.repo.path, "update-ref", "refs/remotes/origin/release", head)
    run_git(host.repo.path, "branch", "release/1")
    run = await host.start("commit('a.txt', 'A')", baseBranch="release")
    assert "cannot exist here beside the branch release/1" in run["branch"]["note"]
    assert (await host.ended(run["runId"]))["status"] == "success"


async def test_generated_branches_are_unique(host: Host) -> None:
    answers = await asyncio.gather(*[host.post_run(prompt="pass", createBranch=True) for _ in range(6)])
    assert {answer.status_code for answer in answers} == {202}
    names = {answer.json()["data"]["branch"]["working"] for answer in answers}
    assert len(names) == 6
    assert all(name.startswith("mogplex/run/") for name in names)


async def test_a_link_inside_the_repository_is_a_root_directory_and_one_out_of_it_is_not(host: Host) -> None:
    (host.repo.path / "real").mkdir()
    (host.repo.path / "real" / "x").touch()
    (host.repo.path / "inside").symlink_to("real")
    (host.repo.path / "outside").symlink_to(host.settings.data_dir)
    run_git(host.repo.path, "add", ".")
    run_git(host.repo.path, "commit", "--quiet", "-m", "Links")
    run = await host.start("import os\nmessage(os.getcwd())", rootDirectory="inside", createBranch=True)
    assert any((event["message"] or "").endswith("/real") for event in await _events_at_end(host, run))
    refused(await host.post_run(prompt="x", rootDirectory="outside"), 400, "BAD_REQUEST")


async def test_the_same_key_and_body_replay_and_another_body_conflicts(host: Host) -> None:
    key = "Key-1"
    first = (await host.post_run(key, prompt="pass", createBranch=True)).json()["data"]
    ended = await host.ended(first["runId"])
    replay = await host.post_run(key, createBranch=True, prompt="pass")
    assert replay.status_code == 202
    assert replay.json()["data"] == ended | {"replayed": True}
    refused(await host.post_run(key, prompt="other"), 409, "IDEMPOTENCY_CONFLICT")
    assert (await host.post_run("KEY-1", prompt="pass", createBranch=True)).json()["data"]["replayed"] is False


async def test_the_body_is_compared_as_json_not_as_text(host: Host) -> None:
    key = {"idempotency-key": "k"}
    first = await post(host, json.dumps({"repoId": host.repo.id, "prompt": "pass"}).encode(), **key)
    written_otherwise = b'{ "prompt":"\\u0070ass",\n"repoId":"%s"}' % host.repo.id.encode()
    replay = await post(host, written_otherwise, **key)
    assert replay.json()["data"]["runId"] == first.json()["data"]["runId"]


async def test_a_key_replays_although_its_request_would_be_refused_now(host: Host) -> None:
    first = await host.post_run("k", prompt="pass", createBranch=True)
    await host.ended(first.json()["data"]["runId"])
    remove_repo(host.db, host.repo.id)
    replay = await host.post_run("k", prompt="pass", createBranch=True)
    assert replay.json()["data"]["replayed"] is True


async def test_a_refused_request_does_not_use_its_key_up(host: Host) -> None:
    refused(await host.post_run("k", prompt=""), 400, "BAD_REQUEST")
    assert (await host.post_run("k", prompt="pass")).status_code == 202


async def test_requests_with_one_key_at_once_start_one_run(host: Host) -> None:
    answers = await asyncio.gather(*[host.post_run("same", prompt="pass", createBranch=True) for _ in range(12)])
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["data"]["runId"] for answer in answers}) == 1
    assert sorted(answer.json()["data"]["replayed"] for answer in answers) == [False] + [True] * 11
    assert stored(host) == 1


async def test_a_caller_who_goes_away_leaves_a_run_that_is_executed(host: Host) -> None:
    posting = asyncio.create_task(host.post_run("k", prompt="commit('a.txt', 'A')", createBranch=True))
    await eventually(lambda: posting.done() or stored(host) == 1)
    posting.cancel()
    await asyncio.gather(posting, return_exceptions=True)
    replay = (await host.post_run("k", prompt="commit('a.txt', 'A')", createBranch=True)).json()["data"]
    assert (await host.ended(replay["runId"]))["status"] == "success"


async def test_the_demonstration_repairs_its_repository(data_dir: Path) -> None:
    async with hosting(data_dir) as host:
        remove_repo(host.db, host.repo.id)
        settings = host.settings
    async with embedded_transport(settings, may_own=True) as transport:
        user = caller(transport, create_token(host.db, "demo")[0], host.repo)
        async with user.client:
            (repo,) = (await user.data("/repos"))["repos"]
            assert repo["full_name"] == "demo/hello"
            run = await user.start("Repair the failing test", repoId=repo["id"])
            assert run["harness"] == "demo"
            assert (await user.ended(run["runId"]))["status"] == "success"
            commits = (await user.events(run["runId"]))[-1]["payload"]["commits"]
            assert len(commits) >= 2
    remove_repo(host.db, "demo/hello")
    async with embedded_transport(settings, may_own=True) as transport:
        user = caller(transport, create_token(host.db, "demo")[0], host.repo)
        async with user.client:
            assert (await user.data("/repos"))["repos"] == []
