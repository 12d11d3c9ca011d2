"""Resources of an account: its repositories, its runs, and what is told of each run: events, transcript, exports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

import mcp_types as types

from mogplex_mcp.api import MogplexError
from mogplex_mcp.api.compact_json import encode
from mogplex_mcp.runs.export import FORMATS, SCOPES, Format, Scope, export_aside, read_whole
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.fresh_runs import refresh
from mogplex_mcp.tools.seen_runs import seen

REPOS_URI = "mogplex://repos"
RUNS_URI = "mogplex://runs"
PAGE = 50
"""Runs on one page of the list of resources."""
MAX_RUNS = 100

_URI = re.compile(
    r"mogplex://(repos|runs)(?:/([^/?#]{1,600})(?:/(events|transcript|export/[a-z]{1,20}\.[a-z]{1,20}))?)?"
)
_JSON, _LINES, _MARKDOWN = "application/json", "application/jsonl", "text/markdown"

EXPORTS: Final[Mapping[str, tuple[Format, Scope]]] = {
    "events": ("jsonl", "timeline"),
    "transcript": ("markdown", "full"),
    **{f"export/{scope}.{format_}": (format_, scope) for scope in SCOPES for format_ in FORMATS},
}
"""What is below a run's URI, as it is exported."""

TEMPLATES = (
    types.ResourceTemplate(uri_template=f"{REPOS_URI}/{{repoId}}", name="repo", title="A repository", mime_type=_JSON),
    types.ResourceTemplate(uri_template=f"{RUNS_URI}/{{runId}}", name="run", title="A run's state", mime_type=_JSON),
    types.ResourceTemplate(
        uri_template=f"{RUNS_URI}/{{runId}}/events", name="events", title="A run's events", mime_type=_LINES
    ),
    types.ResourceTemplate(
        uri_template=f"{RUNS_URI}/{{runId}}/transcript", name="transcript", title="A run to read", mime_type=_MARKDOWN
    ),
    types.ResourceTemplate(
        uri_template=f"{RUNS_URI}/{{runId}}/export/{{scope}}.{{format}}", name="export", title="A run, exported"
    ),
)


def run_uri(run_id: str) -> str:
    """The URI of a run."""
    return f"{RUNS_URI}/{quote(run_id, safe='')}"


def export_uri(run_id: str, format_: Format, scope: Scope) -> str:
    """The URI of a run as text."""
    return f"{run_uri(run_id)}/{next(part for part, what in EXPORTS.items() if what == (format_, scope))}"


async def list_live(call: Call, cursor: str | None, attached: str | None) -> tuple[list[types.Resource], str | None]:
    """A page of the account's resources, and the next page's cursor.

    Args:
        call: Whose.
        cursor: Of this page; None is the first.
        attached: The run that the host is attached to: it comes first, and only there.

    Raises:
        CursorError: The cursor is none of ours.
    """
    page = await call.known.list(call.caller.account, limit=PAGE, cursor=cursor)
    runs = [_run_resource(run) for run in page.runs if run.get("runId") != attached]
    if cursor is not None:
        return runs, page.next_cursor
    first = [_run_resource({"runId": attached}, title=f"Attached run {attached}")] if attached is not None else []
    lists = [
        types.Resource(uri=REPOS_URI, name="repos", title="Mogplex repositories", mime_type=_JSON),
        types.Resource(uri=RUNS_URI, name="runs", title="Mogplex runs", mime_type=_JSON),
    ]
    return [*first, *lists, *runs], page.next_cursor


async def read_live(call: Call, uri: str) -> types.ReadResourceResult | None:
    """The resource's content; None when there is none of this URI for this account.

    Raises:
        MogplexError: It cannot be read now.
    """
    match = _URI.fullmatch(uri)
    kind, quoted, part = match.groups() if match is not None else (None, None, None)
    if kind is None or (kind == "runs" and part is not None and part not in EXPORTS):
        return None
    identifier = unquote(quoted) if quoted is not None else None
    try:
        if kind == "repos":
            return None if part else await _read_repos(call, uri, identifier)
        if identifier is None:
            await refresh(call, None)
            page = await call.known.list(call.caller.account, limit=MAX_RUNS)
            return _contents(uri, _JSON, encode({"runs": list(page.runs), "more": page.next_cursor is not None}))
        return await _read_run(call, uri, identifier, part)
    except MogplexError as error:
        # Another account's run is unknown, like one that never was.
        if error.code in {"NOT_FOUND", "BAD_REQUEST"}:
            return None
        raise


async def _read_repos(call: Call, uri: str, identifier: str | None) -> types.ReadResourceResult | None:
    listed = await call.repos.get(call.api, call.caller.account)
    if identifier is None:
        repos = [repo.wire() for repo in listed.repos]
        return _contents(uri, _JSON, encode({"repos": repos, "more": not listed.complete}))
    found = next((repo for repo in listed.repos if repo.id == identifier), None)
    return None if found is None else _contents(uri, _JSON, encode(found.wire()))


async def _read_run(call: Call, uri: str, run_id: str, part: str | None) -> types.ReadResourceResult:
    if part is None:
        live = call.watchers.snapshot(call.caller.account, run_id)
        run = live.run if live is not None and live.trouble is None else await call.api.get_run(run_id)
        await seen(call, run)
        return _contents(uri, _JSON, encode(run.wire()))
    format_, scope = EXPORTS[part]
    run, events, missing = await read_whole(call.watchers, call.caller.account, call.caller.credential, run_id)
    await seen(call, run)
    exported = await export_aside(run, events, missing, format=format_, scope=scope)
    about = {"eventsTruncated": missing is not None, **({"truncatedReason": missing} if missing else {})}
    return _contents(uri, exported.mime_type, exported.text, about)


def _run_resource(run: Mapping[str, object], title: str | None = None) -> types.Resource:
    run_id = str(run["runId"])
    words = f"Run {run_id[:8]}: {str(run.get('status', ''))[:50]}"
    return types.Resource(uri=run_uri(run_id), name=f"run-{run_id}", title=title or words, mime_type=_JSON)


def _contents(uri: str, mime_type: str, text: str, meta: dict[str, Any] | None = None) -> types.ReadResourceResult:
    content = types.TextResourceContents(uri=uri, mime_type=mime_type, text=text, _meta=meta)
    return types.ReadResourceResult(contents=[content])
