"""``mogplex-mcp run``: starts an agent (Mogplex documentation, /cli/automation/headless-runs, "Start a run")."""

# ruff: noqa: PLC0415

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from mogplex_mcp.commands.options import Common, HeadlessCommand, headless

if TYPE_CHECKING:
    from mogplex_mcp.api import StartedRun
    from mogplex_mcp.commands.exit_codes import Exit
    from mogplex_mcp.commands.session import Session

MAX_PROMPT = 100_000
"""Documentation, /web/api/runs, "Start a run"."""


@click.command("run", cls=HeadlessCommand)
@click.argument("prompt")
@click.option("--repo", help="Repository: id or owner/name.  [required]")
@click.option("--harness", type=click.Choice(["codex", "claude-code"]), help="Agent to run.  [default: codex]")
@click.option("--base-branch", help="Branch to start from.  [default: the repository's]")
@click.option("--branch", help="Branch that the agent commits to.  [default: the base branch]")
@click.option("--create-branch", is_flag=True, help="Make that branch from the base branch; generates its name too.")
@click.option("--root", help="Directory of the repository to work in.  [default: its root]")
@click.option("--idempotency-key", help="Repeating the command with the same key starts no second run.")
@click.option("--follow", "--wait", "follow", is_flag=True, help="Print events until the run ends.")
@click.option(
    "--timeout",
    "seconds",
    type=click.IntRange(min=1),
    default=1_800,
    show_default=True,
    help="With --follow: seconds at most.",
)
@headless
def run(common: Common, prompt: str, repo: str | None, **options: Any) -> None:
    """Start an agent on PROMPT, the whole task in words; - reads it from standard input."""
    from mogplex_mcp.commands.session import perform

    if not repo:
        raise _Usage("run: --repo is required (find IDs via `mogplex-mcp repos list`)")
    text = _standard_input() if prompt == "-" else prompt
    if options["idempotency_key"] == "":
        # Rather an unset variable than a wish for a new one: two commands would start two runs.
        raise _Usage("run: --idempotency-key is empty")
    if not 0 < len(text) <= MAX_PROMPT:
        raise _Usage(f"run: the prompt must have 1 to {MAX_PROMPT:,} characters")
    perform(common, _run, repo=repo, prompt=text, **options)


class _Usage(click.UsageError):
    """Told as the documentation does."""

    def show(self, file: Any = None) -> None:
        click.echo(f"error: {self.message}", err=True, file=file)


def _standard_input() -> str:
    if sys.stdin is None:  # closed by the shell (`<&-`)
        return ""
    text = sys.stdin.buffer.read(4 * MAX_PROMPT + 1)
    return text.decode("utf-8", "replace")


async def _run(session: Session, *, repo: str, follow: bool, seconds: int, **options: Any) -> Exit:
    from mogplex_mcp.commands.exit_codes import Exit
    from mogplex_mcp.commands.following import follow as follow_run

    started = await _start(session, repo, **options)
    await _show(session, started, follow=follow)
    if not follow:
        return Exit.SUCCESS
    return await follow_run(session, started.run_id, since=None, seconds=seconds)


async def _start(
    session: Session,
    repo: str,
    *,
    prompt: str,
    harness: str | None,
    base_branch: str | None,
    branch: str | None,
    create_branch: bool,
    root: str | None,
    idempotency_key: str | None,
) -> StartedRun:
    import asyncio

    from mogplex_mcp.api import StartRun, new_idempotency_key
    from mogplex_mcp.commands.failures import unknown_outcome
    from mogplex_mcp.tools.repo_names import repo_id_of

    request = StartRun(
        repo_id=await repo_id_of(session.call, repo, changes=True),
        prompt=prompt,
        harness=harness,
        base_branch=base_branch,
        working_branch=branch,
        create_branch=create_branch or None,
        root_directory=root,
    )
    key = idempotency_key or new_idempotency_key()
    try:
        return await session.call.api.start_run(request, idempotency_key=key)
    except asyncio.CancelledError:
        session.output.note(unknown_outcome(key), idempotencyKey=key)
        raise


async def _show(session: Session, run: StartedRun, *, follow: bool) -> None:
    from mogplex_mcp.commands.run_words import print_started
    from mogplex_mcp.tools.seen_runs import seen

    # Before anything that Ctrl-C may end: a run that nobody was told of would be lost.
    if session.output.json:
        session.output.record(run.wire())
    else:
        print_started(session.output, run)
        if not follow:
            session.output.line(f"tail events: {session.command} runs events {run.run_id} --follow")
    await seen(session.call, run)
