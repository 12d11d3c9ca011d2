"""The contract of the v1 API, route by route (Mogplex documentation, /web/api/*)."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mogplex_mcp.local.app import ROUTES, create_app
from mogplex_mcp.local.repos import add_repo, list_repos
from mogplex_mcp.local.runner import Runner
from mogplex_mcp.local.tokens import create_token, revoke_token
from tests.local.hosting import API, Answering, Host, caller, hosting, make_repository, settings_for

UNKNOWN = "9c1f6a5e-0000-4000-8000-000000000000"
ALL_ROUTES = [(method, path.format(run_id=UNKNOWN), scope) for method, path, scope, _, _ in ROUTES]
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
RUN_FIELDS = {
    *("runId", "aiCallId", "sandboxRecordId", "sandboxId", "repoId", "harness", "status", "branch", "rootDirectory"),
    *("eventsUrl", "cancelUrl", "createdAt", "updatedAt", "error", "runtime"),
}


async def call(api: Answering, method: str, path: str, **headers: str) -> httpx2.Response:
    body = {"repoId": api.repo.id, "prompt": "pass"} if (method, path) == ("POST", "/runs") else None
    headers = {"idempotency-key": str(uuid.uuid4())} | headers
    return await api.client.request(method, API + path, headers=headers, json=body)


def refused(answer: httpx2.Response, status: int, code: str) -> str:
    """The message of an answer that must be this failure."""
    assert (answer.status_code, answer.json()["ok"], answer.json()["error"]["code"]) == (status, False, code)
    assert set(answer.json()) == {"ok", "error"}
    assert set(answer.json()["error"]) == {"code", "message"}
    assert answer.headers["x-request-id"]
    return str(answer.json()["error"]["message"])


@pytest.fixture
async def finished(host: Host) -> dict[str, Any]:
    run = await host.start("message('hello')\nsay(type='turn.completed', usage={})", createBranch=True)
    return await host.ended(run["runId"])


@pytest.mark.parametrize(("method", "path", "scope"), ALL_ROUTES)
@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer mog_unknown", "Bearer sk-other", "mog_x"]
)
async def test_no_valid_token_no_answer(api: Answering, method: str, path: str, scope: str, header: str) -> None:
    answer = await call(api, method, path, authorization=header)
    refused(answer, 401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path", "scope"), ALL_ROUTES)
async def test_every_route_needs_its_scope(api: Answering, method: str, path: str, scope: str) -> None:
    other = {"read": "write", "write": "read"}[scope]
    token, _ = create_token(api.db, "narrow", [other])
    message = refused(await call(api, method, path, authorization=f"Bearer {token}"), 403, "FORBIDDEN")
    assert message.startswith(f"Missing required scope: {scope}.")
    wide, _ = create_token(api.db, "wide", [scope])
    assert (await call(api, method, path, authorization=f"Bearer {wide}")).status_code not in {401, 403}


async def test_a_revoked_token_is_refused_at_once(api: Answering) -> None:
    token, record = create_token(api.db, "short")
    headers = {"authorization": f"Bearer {token}"}
    assert (await call(api, "GET", "/repos", **headers)).status_code == 200
    revoke_token(api.db, record.id)
    refused(await call(api, "GET", "/repos", **headers), 401, "UNAUTHORIZED")


async def test_an_expired_token_is_refused(api: Answering) -> None:
    token, record = create_token(api.db, "short", expires_in_days=1)
    with api.db.write() as connection:
        connection.exec_driver_sql("UPDATE tokens SET expires_at = 1 WHERE id = ?", (record.id,))
    refused(await call(api, "GET", "/repos", authorization=f"Bearer {token}"), 401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/repos/", "/runs", "/runs//events", f"/runs/{UNKNOWN}/logs", "/mcp"]
)
async def test_an_unknown_route_is_not_found_in_the_envelope(api: Answering, path: str) -> None:
    status, code = (405, "METHOD_NOT_ALLOWED") if path == "/runs" else (404, "NOT_FOUND")
    refused(await call(api, "GET", path), status, code)


@pytest.mark.parametrize(("method", "path", "scope"), ALL_ROUTES)
async def test_another_method_is_refused_in_the_envelope(api: Answering, method: str, path: str, scope: str) -> None:
    answer = await api.client.request("DELETE", API + path)
    refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert method in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/runs/{}", "/runs/{}/events"])
@pytest.mark.parametrize("run_id", [UNKNOWN, "x", "%00", "a" * 5000, "..%2f..%2fetc", "'; drop table runs; --"])
async def test_an_unknown_run_is_not_found(api: Answering, path: str, run_id: str) -> None:
    refused(await call(api, "GET", path.format(run_id)), 404, "NOT_FOUND")


async def test_cancelling_an_unknown_run_is_not_found(api: Answering) -> None:
    refused(await call(api, "POST", f"/runs/{UNKNOWN}/cancel"), 404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/repos", "/sandboxes", f"/runs/{UNKNOWN}/events"])
@pytest.mark.parametrize("limit", ["0", "201", "-1", "1.5", "x", "", " 1", "1e2", "٣", "9" * 400])
async def test_a_limit_out_of_bounds_is_named(api: Answering, path: str, limit: str) -> None:
    assert refused(await api.get(path, limit=limit), 400, "BAD_REQUEST").startswith("limit:")


async def test_repos_are_filtered_by_a_case_insensitive_substring(host: Host, data_dir: Path) -> None:
    for name in ("Acme/Web", "acme/api_v2", "other/apixv2"):
        add_repo(host.db, make_repository(data_dir / "more" / name), name)
    for query, names in {
        "ACME/": ["acme/api_v2", "Acme/Web"],
        "api_": ["acme/api_v2"],
        "%": [],
        "eb": ["Acme/Web"],
    }.items():
        found = (await host.data("/repos", q=query))["repos"]
        assert [repo["full_name"] for repo in found] == names
    assert len((await host.data("/repos", limit=2))["repos"]) == 2
    assert len((await host.data("/repos", q=""))["repos"]) == 4
    assert refused(await host.get("/repos", q="x" * 201), 400, "BAD_REQUEST").startswith("q:")


async def test_a_repo_has_the_documented_fields(host: Host) -> None:
    (repo,) = (await host.data("/repos"))["repos"]
    assert repo == {
        "id": host.repo.id,
        "full_name": "person/project",
        "default_branch": "main",
        "root_directory": None,
    }


async def test_an_accepted_run_has_the_documented_shape(host: Host) -> None:
    answer = await host.post_run(prompt="pass", createBranch=True, conversationId="c", workspaceSessionId="w", mode="m")
    run = answer.json()["data"]
    assert answer.status_code == 202
    assert set(run) == RUN_FIELDS | {"replayed"}
    assert (run["status"], run["replayed"], run["error"], run["sandboxId"]) == ("pending", False, None, None)
    assert run["repoId"] == host.repo.id
    assert (run["branch"]["base"], run["branch"]["createBranch"]) == ("main", True)
    assert run["eventsUrl"] == f"{API}/runs/{run['runId']}/events"
    assert run["cancelUrl"] == f"{API}/runs/{run['runId']}/cancel"
    assert run["runtime"] == {"provider": "local", "runId": run["runId"]}
    assert ISO.fullmatch(run["createdAt"])
    assert ISO.fullmatch(run["updatedAt"])


async def test_a_run_and_its_events_have_the_documented_shape(host: Host, finished: dict[str, Any]) -> None:
    assert set(finished) == RUN_FIELDS
    data = await host.data(f"/runs/{finished['runId']}/events")
    assert set(data) == {"run", "events"}
    assert data["run"] == finished
    for event in data["events"]:
        assert set(event) == {"id", "type", "toolName", "message", "payload", "createdAt"}
        assert isinstance(event["payload"], dict)
        assert ISO.fullmatch(event["createdAt"])


async def test_sandboxes_are_ordered_by_activity_and_filtered(host: Host, data_dir: Path) -> None:
    other = add_repo(host.db, make_repository(data_dir / "other"), "o/o")
    runs = [await host.start("pass", createBranch=True), await host.start("pass", createBranch=True, repoId=other.id)]
    for run in runs:
        await host.ended(run["runId"])
    sandboxes = (await host.data("/sandboxes"))["sandboxes"]
    assert len(sandboxes) == 2
    stamps = [sandbox["last_active_at"] for sandbox in sandboxes]
    assert stamps == sorted(stamps, reverse=True)
    assert set(sandboxes[0]) == {
        *("id", "sandbox_id", "repo_id", "status", "base_branch", "working_branch", "root_directory", "preview_url"),
        *("created_at", "last_active_at", "error"),
    }
    assert [s["repo_id"] for s in (await host.data("/sandboxes", repo_id=other.id))["sandboxes"]] == [other.id]
    assert (await host.data("/sandboxes", repo_id=UNKNOWN))["sandboxes"] == []
    assert (await host.data("/sandboxes", status="paused"))["sandboxes"] == []
    assert len((await host.data("/sandboxes", limit=1))["sandboxes"]) == 1
    assert refused(await host.get("/sandboxes", repo_id="demo/hello"), 400, "BAD_REQUEST").startswith("repo_id:")


async def test_mcp_servers_come_from_the_file_disabled_ones_too(host: Host, data_dir: Path) -> None:
    assert (await host.data("/mcp/servers"))["servers"] == []
    servers = [
        {"name": "a", "enabled": True, "config": {"command": "npx", "env": {"TOKEN": "t"}}},
        {"name": "b", "enabled": False, "config": {"url": "https://x.example"}},
    ]
    file = data_dir / "mcp-servers.json"
    for content in (servers, {"servers": servers}):
        file.write_text(json.dumps(content))
        assert (await host.data("/mcp/servers"))["servers"] == servers


@pytest.mark.parametrize(
    "content",
    ["{", "3", '{"servers": 1}', '[{"name": "secret-value", "config": 1}]', "[" * 100_000, "x" * 1_100_000],
    ids=lambda content: content[:12],
)
async def test_a_broken_servers_file_is_told_without_its_content(api: Answering, content: str) -> None:
    file = api.db.path.with_name("mcp-servers.json")
    file.write_text(content)
    message = refused(await api.get("/mcp/servers"), 500, "INTERNAL_ERROR")
    file.unlink()
    assert "mcp-servers.json" in message
    assert "secret-value" not in message


async def test_an_unexpected_failure_is_an_envelope_without_details(
    api: Answering, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a detail")

    monkeypatch.setattr("mogplex_mcp.local.v1.repos.list_repos", broken)
    answer = await api.get("/repos")
    assert "a detail" not in refused(answer, 500, "INTERNAL_ERROR")
    assert answer.headers["x-request-id"] in capsys.readouterr().out


async def test_a_database_that_cannot_be_used_is_unavailable_for_now(host: Host) -> None:
    with host.db.write() as connection:
        connection.exec_driver_sql("ALTER TABLE repos RENAME TO elsewhere")
    answer = await host.get("/repos")
    refused(answer, 503, "SERVICE_UNAVAILABLE")
    assert answer.headers["retry-after"] == "60"


async def test_every_answer_has_a_request_id_of_its_own(api: Answering) -> None:
    answers = [await api.get("/repos"), await api.get("/repos"), await api.get("/nothing")]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3


async def test_requests_over_the_limit_wait_the_true_time(host: Host, data_dir: Path) -> None:
    now = [1000.0]
    settings = settings_for(data_dir, local_rate_limit=60)
    app = create_app(host.db, Runner(host.db, settings), settings, clock=lambda: now[0])
    user = caller(httpx2.ASGITransport(app), create_token(host.db, "limited")[0], host.repo)
    other = caller(httpx2.ASGITransport(app), create_token(host.db, "other")[0], host.repo)
    async with user.client, other.client:
        for _ in range(60):
            assert (await user.get("/repos")).status_code == 200
            now[0] += 0.5
        answer = await user.get("/repos")
        refused(answer, 429, "RATE_LIMITED")
        assert answer.headers["retry-after"] == "30"
        assert (await other.get("/repos")).status_code == 200
        now[0] += 29.9
        assert (await user.get("/repos")).headers["retry-after"] == "1"
        now[0] += 0.1
        assert (await user.get("/repos")).status_code == 200
        assert (await user.get("/repos")).status_code == 429
        now[0] += 0.5
        assert (await user.get("/repos")).status_code == 200


async def test_run_starts_have_their_own_budgets_that_survive_a_restart(data_dir: Path) -> None:
    now = [1_800_000_000_000]
    async with hosting(data_dir) as host:
        token = create_token(host.db, "budget")[0]
        settings = settings_for(
            data_dir, local_run_starts_per_minute=2, local_run_starts_per_hour=3, local_run_starts_per_day=4
        )

        async def start(key: str) -> tuple[int, str | None]:
            # A new application each time: nothing is remembered in memory.
            app = create_app(host.db, Runner(host.db, settings), settings, now=lambda: now[0])
            user = caller(httpx2.ASGITransport(app), token, host.repo)
            async with user.client:
                answer = await user.post_run(key, prompt="pass", createBranch=True)
            if answer.status_code == 429:
                refused(answer, 429, "RATE_LIMITED")
            return answer.status_code, answer.headers.get("retry-after")

        assert await start("a") == (202, None)
        now[0] += 20_000
        assert await start("b") == (202, None)
        assert await start("c") == (429, "40")
        assert await start("a") == (202, None)  # a replay is no start
        now[0] += 40_000
        assert await start("c") == (202, None)
        now[0] += 60_000
        assert await start("d") == (429, "3480")
        now[0] += 3_480_000
        assert await start("d") == (202, None)
        now[0] += 3_600_000
        assert (await start("e"))[0] == 429
        now[0] += 86_400_000
        assert await start("e") == (202, None)


async def test_the_same_application_answers_over_tcp_unix_socket_and_in_process(host: Host) -> None:
    assert host.owns()
    assert [repo.full_name for repo in list_repos(host.db)] == ["person/project"]
    socket = host.settings.data_dir / "daemon.sock"
    headers = {"authorization": host.client.headers["authorization"]}
    transport = httpx2.AsyncHTTPTransport(uds=str(socket))
    async with httpx2.AsyncClient(transport=transport, base_url="http://mogplex", headers=headers) as client:
        assert (await client.get(f"{API}/repos")).json() == (await host.get("/repos")).json()
