"""What may stand for an argument of a template or a prompt; and only what is the caller's."""

from dataclasses import replace

from mogplex_mcp.tools.completion import MAX_VALUES
from mogplex_mcp.tools.repo_lists import PAGE
from tests.api.scripted_upstream import ScriptedUpstream, ok
from tests.mcp.conftest import Host, Json
from tests.mcp.test_repo_names import REPOS, agent, upstream  # noqa: F401 - fixtures
from tests.mcp.test_resources import start
from tests.mcp.test_tools import demo_repo


async def answer(host: Host, reference: Json, name: str, value: str) -> Json:
    """The answer's result or error in both eras, which must be the same."""
    params = {"ref": reference, "argument": {"name": name, "value": value}}
    old = await host.rpc("completion/complete", params)
    new = (await host.post_modern("completion/complete", params)).json()
    if "error" in old:
        assert new["error"] == old["error"]
        return dict(old["error"])
    assert new["result"]["completion"] == old["result"]["completion"]
    return dict(old["result"]["completion"])


async def of_template(host: Host, template: str, name: str, value: str) -> list[str]:
    values: list[str] = (await answer(host, {"type": "ref/resource", "uri": template}, name, value))["values"]
    return values


async def of_prompt(host: Host, prompt: str, name: str, value: str) -> list[str]:
    values: list[str] = (await answer(host, {"type": "ref/prompt", "name": prompt}, name, value))["values"]
    return values


async def test_ids_are_completed_and_nobody_elses(host: Host, other_token: str) -> None:
    run_id, repo, other = await start(host), await demo_repo(host), replace(host, token=other_token)
    templates = (await host.rpc("resources/templates/list"))["result"]["resourceTemplates"]
    of_runs = [each["uriTemplate"] for each in templates if "runId" in each["uriTemplate"]]
    assert len(of_runs) == 4
    for template in of_runs:
        assert await of_template(host, template, "runId", run_id[:2]) == [run_id]
    assert await of_template(host, of_runs[0], "runId", run_id[:10]) == [run_id]
    assert await of_template(host, of_runs[0], "runId", "zz") == []
    assert await of_template(host, of_runs[-1], "format", "json") == ["json", "jsonl"]
    assert await of_template(host, of_runs[-1], "scope", "t") == ["timeline"]
    assert await of_template(host, "mogplex://repos/{repoId}", "repoId", "HEL") == [repo]
    assert await of_template(host, "mogplex://repos/{repoId}", "repoId", repo[:3]) == [repo]
    for template, name in (("repos/{repoId}", "runId"), ("repos/{repoId}", "format"), ("other/{runId}", "runId")):
        assert await of_template(host, f"mogplex://{template}", name, "") == []

    assert await of_prompt(host, "review_run", "run_id", run_id[:1]) == [run_id]
    assert await of_prompt(host, "review_run", "run_id", run_id[:9]) == [run_id]
    for typed in ("", run_id[:9]):
        assert await of_template(other, of_runs[0], "runId", typed) == []
        assert await of_prompt(other, "review_run", "run_id", typed) == []


async def test_a_prompt_takes_a_repository_by_what_a_person_types_the_beginning_of_a_name_first(
    agent: Host,  # noqa: F811
) -> None:
    assert await of_prompt(agent, "delegate", "repository", "") == [each["full_name"] for each in REPOS]
    assert await of_prompt(agent, "delegate", "repository", "WEB") == ["acme/web", "acme/website"]
    assert await of_prompt(agent, "delegate", "repository", "beta/a") == ["beta/api"]
    assert await of_prompt(agent, "delegate", "repository", "site") == ["acme/website"]
    assert await of_prompt(agent, "delegate", "repository", "b") == ["beta/api", "acme/web", "acme/website"]
    assert await of_prompt(agent, "delegate", "repository", "repo-0") == ["acme/web"]


async def test_of_more_repositories_than_mogplex_lists_some_come_at_once_and_others_by_q(
    agent: Host,  # noqa: F811
    upstream: ScriptedUpstream,  # noqa: F811
) -> None:
    many = [{**REPOS[0], "id": f"many-{number}", "full_name": f"many/n{number}"} for number in range(PAGE)]
    await agent.tool("mogplex_list_repos")
    upstream.answers(ok({"repos": many}), ok({"repos": REPOS[2:3]}), on="GET /repos")
    before = len(upstream.requests)
    assert len(await of_prompt(agent, "delegate", "repository", "n")) == MAX_VALUES
    for _ in range(3):
        assert await of_prompt(agent, "delegate", "repository", "acme/api") == ["acme/api"]
    assert "q=acme%2Fapi" in upstream.requests[-1].target
    assert len(upstream.requests) == before + 2


async def test_what_is_free_text_unknown_or_far_too_long_has_no_completions(host: Host) -> None:
    assert await of_prompt(host, "delegate", "repository", "x" * 10_000) == []
    assert await of_prompt(host, "delegate", "task", "re") == []
    assert await of_prompt(host, "delegate", "run_id", "") == []
    assert await of_prompt(host, "review_run", "run_id", "%") == []
    unknown = await answer(host, {"type": "ref/prompt", "name": "nothing"}, "repository", "")
    assert unknown["code"] == -32602
    assert "nothing" in unknown["message"]
