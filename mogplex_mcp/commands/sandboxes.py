"""``mogplex-mcp sandboxes``: where agents run or ran."""

# ruff: noqa: PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from mogplex_mcp.commands.options import Common, HeadlessGroup, headless

if TYPE_CHECKING:
    from mogplex_mcp.commands.exit_codes import Exit
    from mogplex_mcp.commands.session import Session


@click.group(cls=HeadlessGroup)
def sandboxes() -> None:
    """Sandboxes in which agents run or ran."""


@sandboxes.command("list")
@click.option("--repo", help="Only those of this repository: id or owner/name.")
@click.option("--status", help="Only those with this status: running, paused, stopped, error, …")
@click.option("--limit", type=click.IntRange(1, 200), help="At most so many.  [default: 100]")
@headless
def list_command(common: Common, repo: str | None, status: str | None, limit: int | None) -> None:
    """List sandboxes, the last active first."""
    from mogplex_mcp.commands.session import perform

    perform(common, _list, repo=repo, status=status, limit=limit)


@sandboxes.command("stop")
@click.argument("sandbox", metavar="ID")
@headless
def stop_command(common: Common, sandbox: str) -> None:
    """Say where a sandbox can be stopped: the API has no route for it yet."""
    from mogplex_mcp.commands.exit_codes import Exit
    from mogplex_mcp.commands.failures import CommandError
    from mogplex_mcp.commands.output import Output
    from mogplex_mcp.settings import DEFAULT_MOGPLEX_URL

    address = f"{DEFAULT_MOGPLEX_URL}/sandboxes/{quote(sandbox, safe='')}"
    error = CommandError(
        "Mogplex has no route yet that stops a sandbox, so nothing was stopped.",
        Exit.FAILED,
        "NOT_AVAILABLE",
        [f"Stop it in the web app: {address}"],
        {"sandboxId": sandbox, "url": address},
    )
    error.show(Output(json=common.json))
    raise SystemExit(error.exit_code)


async def _list(session: Session, repo: str | None, status: str | None, limit: int | None) -> Exit:
    from mogplex_mcp.commands.exit_codes import Exit
    from mogplex_mcp.commands.repo_titles import repo_titles
    from mogplex_mcp.tools.repo_names import repo_id_of

    call = session.call
    repo_id = None if repo is None else await repo_id_of(call, repo, changes=False)
    found = await call.api.list_sandboxes(repo_id=repo_id, status=status, limit=limit)
    if session.output.json:
        for sandbox in found:
            session.output.record(sandbox.wire())
    elif found:
        titles = await repo_titles(session)
        rows = [
            (
                each.id,
                each.status,
                titles.get(str(each.repo_id), each.repo_id),
                each.working_branch,
                each.last_active_at,
                each.preview_url,
            )
            for each in found
        ]
        session.output.table(("ID", "STATUS", "REPO", "BRANCH", "LAST ACTIVE", "PREVIEW"), rows)
    else:
        session.output.note(f"No sandboxes, in {session.upstream.route.address}.")
    return Exit.SUCCESS
