"""``mogplex-mcp runs``: runs that were started, here or elsewhere."""

# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mogplex_mcp.commands.options import Common, HeadlessGroup, headless

if TYPE_CHECKING:
    from mogplex_mcp.commands.exit_codes import Exit
    from mogplex_mcp.commands.session import Session
    from mogplex_mcp.runs.export import Format, Scope

PAGE = 100


@click.group(cls=HeadlessGroup)
def runs() -> None:
    """Runs: what they do and did, and ending them."""


@runs.command("list")
@click.option("--repo", help="Only those in this repository: id or owner/name.")
@click.option("--status", help="Only those with this status: pending, streaming, success, failed, cancelled.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="At most so many.")
@headless
def list_command(common: Common, repo: str | None, status: str | None, limit: int) -> None:
    """List the runs that were started or looked at here, the latest first."""
    from mogplex_mcp.commands.session import perform

    perform(common, _list, repo=repo, status=status, limit=limit)


@runs.command("get")
@click.argument("run", metavar="ID")
@headless
def get_command(common: Common, run: str) -> None:
    """Show a run's state. ID may be how the id of a run that was seen here begins, 8 characters or more."""
    from mogplex_mcp.commands.session import perform

    perform(common, _get, run=run)


@runs.command("events")
@click.argument("run", metavar="ID")
@click.option("--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--since", metavar="EVENT", help="Only events after the one with this id.")
@click.option(
    "--timeout",
    "seconds",
    type=click.IntRange(min=1),
    default=1_800,
    show_default=True,
    help="With --follow: seconds at most.",
)
@headless
def events_command(common: Common, run: str, **options: object) -> None:
    """Print what a run's agent does and did, oldest first. Ctrl-C leaves a followed run, which goes on."""
    from mogplex_mcp.commands.session import perform

    perform(common, _events, run=run, **options)


@runs.command("cancel")
@click.argument("run", metavar="ID")
@headless
def cancel_command(common: Common, run: str) -> None:
    """Ask a run to stop. Repeating it is harmless."""
    from mogplex_mcp.commands.session import perform

    perform(common, _cancel, run=run)


@runs.command("export")
@click.argument("run", metavar="ID")
@click.option(
    "--format", "kind", type=click.Choice(["json", "jsonl", "markdown"]), default="markdown", show_default=True
)
@click.option("--scope", type=click.Choice(["full", "timeline", "result"]), default="full", show_default=True)
@click.option("--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@click.option("--force", is_flag=True, help="With --output: replace a file that is there.")
@headless
def export_command(common: Common, run: str, **options: object) -> None:
    """Write a run to a file and print its path.

    Without --output it is a new file below the data directory.
    """
    from mogplex_mcp.commands.session import perform

    perform(common, _export, run=run, **options)


async def _list(session: Session, repo: str | None, status: str | None, limit: int) -> Exit:
    from mogplex_mcp.commands.exit_codes import Exit
    from mogplex_mcp.tools.fresh_runs import refresh
    from mogplex_mcp.tools.repo_names import repo_id_of

    call, output = session.call, session.output
    repo_id = None if repo is None else await repo_id_of(call, repo, changes=False)
    left = await refresh(call, repo_id)
    found: list[dict[str, object]] = []
    cursor: str | None = None
    while len(found) < limit:
        page = await call.known.list(
            call.caller.account, repo_id=repo_id, status=status, limit=min(PAGE, limit - len(found)), cursor=cursor
        )
        found += page.runs
        cursor = page.next_cursor
        if cursor is None:
            break
    if output.json:
        for each in found:
            output.record(each)
    elif found:
        await _table(session, found)
    elif repo is not None or status is not None:
        output.note("None of the runs that were started or looked at here is such a one.")
    else:
        output.note(f"No runs were started or looked at here, in {session.upstream.route.address}.")
    if left:
        output.note(f"Unfinished runs that are shown as they were seen last: {left}.")
    return Exit.SUCCESS


async def _table(session: Session, found: list[dict[str, object]]) -> None:
    from mogplex_mcp.api import Run
    from mogplex_mcp.commands.repo_titles import repo_titles
    from mogplex_mcp.commands.run_words import branch_words

    titles = await repo_titles(session)
    known = [Run.model_validate(each) for each in found]
    rows = [
        (
            *(run.run_id, run.status, run.harness, titles.get(str(run.repo_id), run.repo_id)),
            *(branch_words(run), run.updated_at),
        )
        for run in known
    ]
    session.output.table(("RUN", "STATUS", "HARNESS", "REPO", "BRANCH", "UPDATED"), rows)


async def _get(session: Session, run: str) -> Exit:
    from mogplex_mcp.commands.exit_codes import Exit
    from mogplex_mcp.commands.run_words import print_run
    from mogplex_mcp.tools.run_names import run_id_of
    from mogplex_mcp.tools.seen_runs import seen

    found = await session.call.api.get_run(await run_id_of(session.call, run, changes=False))
    await seen(session.call, found)
    if session.output.json:
        session.output.record(found.wire())
    else:
        print_run(session.output, found)
    return Exit.SUCCESS


async def _events(session: Session, run: str, *, follow: bool, since: str | None, seconds: int) -> Exit:
    from mogplex_mcp.commands.following import follow as follow_run
    from mogplex_mcp.commands.following import print_so_far
    from mogplex_mcp.tools.run_names import run_id_of

    run_id = await run_id_of(session.call, run, changes=False)
    if follow:
        return await follow_run(session, run_id, since=since, seconds=seconds)
    return await print_so_far(session, run_id, since=since)


async def _cancel(session: Session, run: str) -> Exit:
    from mogplex_mcp.commands.exit_codes import Exit
    from mogplex_mcp.tools.run_names import run_id_of
    from mogplex_mcp.tools.seen_runs import seen

    result = await session.call.api.cancel_run(await run_id_of(session.call, run, changes=True))
    shown = await seen(session.call, result.run)
    if session.output.json:
        session.output.record({"run": shown, "status": result.status, "alreadyTerminal": result.already_terminal})
        return Exit.SUCCESS
    if result.already_terminal:
        session.output.line(f"run {result.run.run_id} had ended already: {result.run.status}")
    else:
        session.output.line(f"cancellation requested for run {result.run.run_id}")
    session.output.line(f"status: {result.status}")
    return Exit.SUCCESS


async def _export(session: Session, run: str, *, kind: Format, scope: Scope, file: Path | None, force: bool) -> Exit:
    from mogplex_mcp.commands.exit_codes import Exit
    from mogplex_mcp.commands.export_file import new_file, write_file
    from mogplex_mcp.runs.export import export, read_whole
    from mogplex_mcp.tools.run_names import run_id_of
    from mogplex_mcp.tools.seen_runs import seen

    call = session.call
    run_id = await run_id_of(call, run, changes=False)
    found, events, missing = await read_whole(call.watchers, call.caller.account, call.caller.credential, run_id)
    await seen(call, found)
    exported = export(found, events, missing, format=kind, scope=scope)
    if file is None:
        path = new_file(session.settings.data_dir / "exports", found.run_id, scope, exported)
    else:
        path = write_file(file, exported.text, replace=force)
    if missing is not None:
        session.output.note(missing, eventsTruncated=True)
    if session.output.json:
        session.output.record({"runId": found.run_id, "path": str(path), "format": kind, "scope": scope})
    else:
        session.output.path(path)
    return Exit.SUCCESS
