"""What may stand for an argument of a template or a prompt, by how it begins (MCP specification, completion)."""

from __future__ import annotations

import re

import mcp_types as types

from mogplex_mcp.api import Repo
from mogplex_mcp.runs.export import FORMATS, SCOPES
from mogplex_mcp.runs.known import LEAST_PREFIX
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.live_resources import TEMPLATES
from mogplex_mcp.tools.prompts import PROMPTS, UnknownPromptError

MAX_VALUES = 100
"""Completions in one answer, as the specification has it."""
MAX_TYPED = 200
"""Characters that are compared."""
LEAST_QUERY = 3
"""Characters by which Mogplex is asked, when it has more repositories than it shows at once."""

Reference = types.ResourceTemplateReference | types.PromptReference


async def complete(call: Call, reference: Reference, name: str, value: str) -> list[str]:
    """What may stand for an argument, at most ``MAX_VALUES``; nothing where nothing is known.

    Args:
        call: Whose repositories and runs.
        reference: A resource template or a prompt.
        name: The argument. Repositories are found by name too: a template takes their id, a prompt ``owner/name``.
        value: What was typed so far.

    Raises:
        UnknownPromptError: There is no such prompt.
        MogplexError: The repositories cannot be read.
    """
    typed = value[:MAX_TYPED]
    if name not in _arguments(reference):
        return []
    if name == "repoId":
        return [repo.id for repo in await _repos(call, typed)][:MAX_VALUES]
    if name == "repository":
        return [repo.full_name for repo in await _repos(call, typed)][:MAX_VALUES]
    if name in {"runId", "run_id"}:
        return await _runs(call, typed)
    choices: tuple[str, ...] = {"scope": SCOPES, "format": FORMATS}.get(name, ())
    return [choice for choice in choices if choice.startswith(typed)]


def _arguments(reference: Reference) -> tuple[str, ...]:
    """The names of what can be filled in. An unknown template has none: some hosts ask for every resource they see."""
    if isinstance(reference, types.PromptReference):
        if reference.name not in PROMPTS:
            raise UnknownPromptError(reference.name)
        return tuple(PROMPTS[reference.name].arguments)
    known = reference.uri in {template.uri_template for template in TEMPLATES}
    return tuple(re.findall(r"\{(\w+)\}", reference.uri)) if known else ()


async def _repos(call: Call, typed: str) -> list[Repo]:
    """Those whose id begins so or whose name has it: first those whose name, bare or whole, begins so."""
    account, wanted = call.caller.account, typed.casefold()
    listed = await call.repos.get(call.api, account)
    if not listed.complete and len(typed) >= LEAST_QUERY:
        listed = await call.repos.get(call.api, account, typed)
    found = [repo for repo in listed.repos if repo.id.startswith(typed) or wanted in repo.full_name.casefold()]
    return sorted(found, key=lambda repo: not _begins(repo, wanted))


def _begins(repo: Repo, wanted: str) -> bool:
    name = repo.full_name.casefold()
    return name.startswith(wanted) or name.rpartition("/")[2].startswith(wanted)


async def _runs(call: Call, typed: str) -> list[str]:
    """Runs that the account has seen, the latest first."""
    if len(typed) >= LEAST_PREFIX:
        return list(await call.known.find_prefix(call.caller.account, typed))
    page = await call.known.list(call.caller.account, limit=MAX_VALUES)
    return [run_id for run in page.runs if (run_id := str(run["runId"])).startswith(typed)]
