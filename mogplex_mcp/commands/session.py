"""Running a command: Mogplex as the person, an event loop, and an end that says what happened."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NoReturn

import click
import httpx2
from pydantic import SecretStr

from mogplex_mcp.api import MogplexApi, MogplexError, Upstream
from mogplex_mcp.command_settings import command_settings
from mogplex_mcp.commands.auth_json import AuthFileError, stored_token
from mogplex_mcp.commands.exit_codes import Exit
from mogplex_mcp.commands.failures import CommandError, from_mogplex, from_undecided
from mogplex_mcp.commands.options import Common
from mogplex_mcp.commands.output import Output, OutputError
from mogplex_mcp.event_loop import fastest_loop
from mogplex_mcp.logs import configure_logging
from mogplex_mcp.one_line import one_line
from mogplex_mcp.own_access import open_own_access
from mogplex_mcp.own_command import own_command
from mogplex_mcp.runs.known import KnownRuns
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.database import DatabaseError
from mogplex_mcp.store.disk import DiskError, disk_refusals_told
from mogplex_mcp.store.errors import StoreFullError
from mogplex_mcp.store.vault import VaultError
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.changes import Changes
from mogplex_mcp.tools.questions import Question, UndecidedError
from mogplex_mcp.tools.repo_lists import RepoLists

ARGUMENTS: Final = MappingProxyType({"repoId": "repo", "runId": "run"})
"""The arguments that name something, as the tools call them, and as commands do."""


@dataclass(frozen=True)
class Session:
    """What a command has at hand.

    Attributes:
        call: Mogplex as the person; what the tools have too, with the same account as ``stdio``.
        output: Where it prints.
        upstream: The way to Mogplex.
        settings: Where state is kept.
        command: This program as the person typed it.
    """

    call: Call
    output: Output
    upstream: Upstream
    settings: Settings
    command: str


def perform(common: Common, work: Callable[..., Awaitable[Exit]], **arguments: Any) -> NoReturn:
    """Do a command's work and end the process with its exit code.

    Args:
        common: The options that every command has.
        work: What it does, called with a ``Session`` and the arguments.
        arguments: As given; ``repo`` and ``run`` are names, and may be asked about.
    """
    output = Output(json=common.json)
    try:
        _check_text(arguments)
        settings = _settings(common)
        with _failures_told(settings, own_command(common.data_dir)):
            code = _run(settings, common, output, work, arguments)
    except CommandError as error:
        error.show(output)
        code = error.exit_code
    except OutputError as error:
        _discard_output()
        CommandError(str(error)).show(output)
        code = Exit.FAILED
    except BrokenPipeError:
        _discard_output()
        code = Exit.NOBODY_READS
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    sys.exit(code)


def _check_text(arguments: dict[str, Any]) -> None:
    """Refuse what the shell passed that is no text: Python keeps such bytes as half characters (PEP 383)."""
    for name, value in arguments.items():
        if isinstance(value, str) and not value.isascii() and value.encode("utf-8", "replace").decode() != value:
            raise CommandError(f"{name}: is not UTF-8", Exit.USAGE, "BAD_REQUEST")
    if arguments.get("run") == "":
        raise CommandError("ID is empty", Exit.USAGE, "BAD_REQUEST", ["Give the id of a run: runs list shows them."])


def _settings(common: Common) -> Settings:
    try:
        return command_settings(mcp_data_dir=common.data_dir)
    except click.ClickException as error:
        raise CommandError(error.message, Exit.FAILED, "BAD_SETTING") from None


def _discard_output() -> None:
    """Nobody takes it any more: neither would Python's last flush find anybody."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(
    settings: Settings,
    common: Common,
    output: Output,
    work: Callable[..., Awaitable[Exit]],
    arguments: dict[str, Any],
) -> Exit:
    settings = with_stored_token(settings)
    quiet = {} if "mcp_log_level" in settings.model_fields_set else {"mcp_log_level": "WARNING"}
    configure_logging(settings.model_copy(update=quiet))
    while True:
        try:
            with asyncio.Runner(loop_factory=fastest_loop()) as runner:
                return runner.run(_within(settings, common, output, work, arguments))
        except UndecidedError as undecided:
            # Asked outside of the event loop: there, Ctrl-C would not end the question.
            question = undecided.question
            meant = _ask(question) if question is not None and output.asks else None
            if question is None or meant is None:
                raise
            arguments = {**arguments, ARGUMENTS[question.argument]: meant}


async def _within(
    settings: Settings,
    common: Common,
    output: Output,
    work: Callable[..., Awaitable[Exit]],
    arguments: dict[str, Any],
) -> Exit:
    with _terminable() as terminated:
        try:
            async with _session(settings, common, output) as session:
                return await work(session, **arguments)
        except asyncio.CancelledError:
            if terminated():
                return Exit.TERMINATED
            raise


@asynccontextmanager
async def _session(settings: Settings, common: Common, output: Output) -> AsyncIterator[Session]:
    async with open_own_access(settings) as own:
        token = await own.caller.credential.token()
        api = MogplexApi(own.upstream, token, deadline_seconds=settings.mcp_call_timeout)
        call = Call(
            api=api,
            caller=own.caller,
            repos=RepoLists(),
            watchers=own.watchers,
            known=KnownRuns(own.store),
            changes=Changes(),
            start_task=None,
            report=_report_to_nobody,
        )
        yield Session(call, output, own.upstream, settings, own_command(common.data_dir))


async def _report_to_nobody(_progress: int, _message: str) -> None:
    """Commands print what happens themselves."""


def with_stored_token(settings: Settings) -> Settings:
    """The settings, with the Mogplex CLI's token where that is the credential.

    The order is the documentation's (/cli/automation, "Auth precedence"): ``MOGPLEX_API_KEY``, then ``auth.json``. The
    token is for hosted Mogplex: a local one that was asked for by ``MOGPLEX_TRANSPORT`` gets it as little as a data
    directory's own tokens go to the hosted one.

    Raises:
        CommandError: The file is there and cannot be used.
    """
    if settings.api_key is not None or (settings.transport or "hosted").strip().lower() != "hosted":
        return settings
    try:
        token = stored_token(settings.auth_file)
    except AuthFileError as error:
        raise CommandError(str(error), Exit.UNAUTHORIZED, "UNAUTHORIZED") from None
    return settings if token is None else settings.model_copy(update={"api_key": SecretStr(token)})


@contextmanager
def _terminable() -> Iterator[Callable[[], bool]]:
    """Have SIGTERM cancel this task, as Ctrl-C does. Yields whether it has."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    came: list[bool] = []

    def end() -> None:
        came.append(True)
        if task is not None:
            task.cancel()

    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        yield lambda: bool(came)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _ask(question: Question) -> str | None:
    """Ask the person at the terminal. Returns the value chosen, or None when they chose none.

    Ctrl-C ends the process at once, as it does any program: nothing was begun, and Python would not notice one that
    comes just before it waits for the answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    click.echo(one_line(question.text), err=True)
    labels = list(question.choices)
    for number, label in enumerate(labels, 1):
        click.echo(f"  {number}. {one_line(label)}", err=True)
    try:
        if len(labels) == 1:
            return question.choices[labels[0]] if click.confirm("Go on with it?", err=True) else None
        chosen = click.prompt("Number", type=click.IntRange(1, len(labels)), err=True)
    except click.Abort:  # the end of the input
        return None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return question.choices[labels[chosen - 1]]


@contextmanager
def _failures_told(settings: Settings, command: str) -> Iterator[None]:
    """Failures that a person can mend, as what a command tells."""
    try:
        with disk_refusals_told(settings.data_dir):
            yield
    except MogplexError as error:
        raise from_mogplex(error) from None
    except UndecidedError as undecided:
        raise from_undecided(undecided, command) from None
    except httpx2.ConnectError as error:
        # The embedded Mogplex that cannot be had; calls to a Mogplex that can raise MogplexError and nothing else.
        raise CommandError(str(error), Exit.UNAVAILABLE, "UNREACHABLE") from None
    except (DatabaseError, DiskError, StoreFullError, VaultError) as error:
        raise CommandError(str(error)) from None
