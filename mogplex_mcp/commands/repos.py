"""``mogplex-mcp repos``: the repositories that runs may work in."""

# ruff: noqa: PLC0415

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mogplex_mcp.commands.options import Common, HeadlessGroup, headless

if TYPE_CHECKING:
    from mogplex_mcp.commands.exit_codes import Exit
    from mogplex_mcp.commands.session import Session


@click.group(cls=HeadlessGroup)
def repos() -> None:
    """Repositories that runs can work in."""


@repos.command("list")
@click.option("--query", help="Only those whose owner/name has this part.")
@click.option("--limit", type=click.IntRange(1, 200), help="At most so many.  [default: 100]")
@headless
def list_command(common: Common, query: str | None, limit: int | None) -> None:
    """List repositories: id, owner/name, default branch, root directory."""
    from mogplex_mcp.commands.session import perform

    perform(common, _list, query=query, limit=limit)


async def _list(session: Session, query: str | None, limit: int | None) -> Exit:
    from mogplex_mcp.commands.exit_codes import Exit

    found = await session.call.api.list_repos(query=query, limit=limit)
    if session.output.json:
        for repo in found:
            session.output.record(repo.wire())
    elif found:
        rows = [(repo.id, repo.full_name, repo.default_branch, repo.root_directory) for repo in found]
        session.output.table(("ID", "NAME", "DEFAULT BRANCH", "ROOT"), rows)
    else:
        session.output.note(f"No repositories, in {session.upstream.route.address}.")
        if session.upstream.route.kind == "embedded" and query is None:
            session.output.note(f"To add one: {session.command} local repos add PATH")
    return Exit.SUCCESS
