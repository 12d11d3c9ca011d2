"""The command line: composition of settings, the way to Mogplex, and the servers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mogplex_mcp import __version__
from mogplex_mcp.command_settings import command_settings
from mogplex_mcp.event_loop import fastest_loop
from mogplex_mcp.own_command import own_command
from mogplex_mcp.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from mogplex_mcp.api import Upstream
    from mogplex_mcp.store.store import Store


COMMANDS = {
    "local": "local.commands",
    "repos": "commands.repos",
    "run": "commands.run",
    "runs": "commands.runs",
    "sandboxes": "commands.sandboxes",
}
"""Commands that live in modules of their own, by name: the module, which has a variable of that name."""


class LazyGroup(click.Group):
    """A group whose commands of other rooms are imported when asked for: most starts need none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # While a command's half is imported, before it has an event loop: as it ends with one.
            ctx.exit(130)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(f"mogplex_mcp.{COMMANDS[cmd_name]}"), cmd_name)
        if isinstance(command, click.Group) and cmd_name == "local" and "signin" not in command.commands:
            command.add_command(signin)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mogplex-mcp")
def main() -> None:
    """Mogplex as an MCP server: start, watch and cancel agent runs from any agent host."""


@main.command()
@click.option("--host", help="Address to bind.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to bind; 0 takes a free one.  [default: 8747]")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where state is kept.")
def serve(host: str | None, port: int | None, data_dir: Path | None) -> None:
    """Serve MCP over Streamable HTTP."""
    settings = command_settings(mcp_host=host, mcp_port=port, mcp_data_dir=data_dir)
    _run(settings, _serve(settings, own_command(data_dir)))


@main.command()
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where state is kept.")
def stdio(data_dir: Path | None) -> None:
    """Serve MCP on standard input and output.

    The credential is MOGPLEX_API_KEY; without it, the embedded Mogplex is used.
    """
    settings = command_settings(mcp_data_dir=data_dir)
    # As SIGTERM: the thread that waits for standard input would hold an orderly end until that is closed.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _run(settings, _stdio(settings))


@click.command()
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where state is kept.")
@click.option("--port", type=click.IntRange(1, 65535), help="The server's port.  [default: 8747]")
def signin(data_dir: Path | None, port: int | None) -> None:
    """Make a one-time code that signs a browser in to this computer's server."""
    from mogplex_mcp.store.store import open_store  # noqa: PLC0415 - the heavy half, not needed for --help
    from mogplex_mcp.welcome import base_url  # noqa: PLC0415

    settings = command_settings(mcp_data_dir=data_dir, mcp_port=port)
    with _problems_in_a_sentence(settings), closing(open_store(settings)) as store:
        made = _local_signin(settings, store, base_url(settings, settings.mcp_port))
    if made is None:
        raise click.ClickException("A code signs in on this computer only, and the server's address is another one.")
    link, code = made
    click.echo(f"{code}\nor open {link}\n(10 minutes, once)")


async def _serve(settings: Settings, command: str) -> None:
    from mogplex_mcp.api import open_upstream  # noqa: PLC0415 - the heavy half, not needed for --help
    from mogplex_mcp.app import create_app  # noqa: PLC0415
    from mogplex_mcp.embedded_tokens import EmbeddedTokens  # noqa: PLC0415
    from mogplex_mcp.logs import configure_logging  # noqa: PLC0415
    from mogplex_mcp.own_access import embedded  # noqa: PLC0415
    from mogplex_mcp.serving import listen, serve_app  # noqa: PLC0415
    from mogplex_mcp.store.store import open_store  # noqa: PLC0415
    from mogplex_mcp.welcome import base_url, welcome  # noqa: PLC0415

    listening = listen(settings.mcp_host, settings.mcp_port)
    configure_logging(settings)
    with ExitStack() as closing_last:
        closing_last.enter_context(listening)
        store = closing_last.enter_context(closing(await asyncio.to_thread(open_store, settings)))
        async with open_upstream(settings, embedded=lambda: embedded(settings, may_own=True)) as upstream:
            local = upstream.route.kind == "embedded"
            app = create_app(settings, upstream, store, EmbeddedTokens(settings) if local else None)
            base = base_url(settings, listening.getsockname()[1])
            code = await asyncio.to_thread(_local_signin, settings, store, base) if local else None
            click.echo(welcome(upstream.route, base, command, code))
            await serve_app(app, listening, on_stop=lambda: _begin_end(app, upstream))


async def _stdio(settings: Settings) -> None:
    from mcp.server.stdio import stdio_server  # noqa: PLC0415 - the heavy half, not needed for --help

    from mogplex_mcp.auth.current_caller import act_as  # noqa: PLC0415
    from mogplex_mcp.logs import configure_logging  # noqa: PLC0415
    from mogplex_mcp.own_access import open_own_access  # noqa: PLC0415
    from mogplex_mcp.runs.known import KnownRuns  # noqa: PLC0415
    from mogplex_mcp.server import create_server  # noqa: PLC0415
    from mogplex_mcp.tools.run_tasks import RunTasks  # noqa: PLC0415

    configure_logging(settings)
    async with open_own_access(settings) as own:
        # Before the tasks that read standard input: theirs is the caller's context.
        act_as(own.caller)
        async with stdio_server() as (read, write):
            server = create_server(settings, own.upstream, own.watchers, KnownRuns(own.store), RunTasks(own.store))
            await server.run(read, write, server.create_initialization_options())


def _local_signin(settings: Settings, store: Store, base: str) -> tuple[str, str] | None:
    """Link and one-time code, where a code may sign people in."""
    from mogplex_mcp.auth.signin.local import new_local_signin  # noqa: PLC0415 - the heavy half, not needed for --help
    from mogplex_mcp.welcome import is_local_address  # noqa: PLC0415

    return new_local_signin(store, base) if is_local_address(settings) else None


def _begin_end(app: Starlette, upstream: Upstream) -> None:
    """Let the runs end while open streams do: together they have five seconds."""
    from mogplex_mcp.app import begin_stop  # noqa: PLC0415 - imported already, to serve

    begin_stop(app)
    if upstream.route.kind == "embedded":
        from mogplex_mcp.local.embedded import EmbeddedTransport  # noqa: PLC0415 - imported already, this way

        if isinstance(upstream.transport, EmbeddedTransport):
            upstream.transport.begin_close()


def _run(settings: Settings, work: Coroutine[Any, Any, None]) -> None:
    """Run to the end on the fastest event loop there is."""
    with _problems_in_a_sentence(settings), asyncio.Runner(loop_factory=fastest_loop()) as runner:
        runner.run(work)


@contextmanager
def _problems_in_a_sentence(settings: Settings) -> Iterator[None]:
    """Failures that a person can mend are one sentence that says what to do."""
    from mogplex_mcp.api import MogplexError  # noqa: PLC0415 - the heavy half, not needed for --help
    from mogplex_mcp.auth.authorization import ClientsFileError  # noqa: PLC0415
    from mogplex_mcp.auth.signin.ways import SignInSettingsError  # noqa: PLC0415
    from mogplex_mcp.auth.urls import UnsafeAddressError  # noqa: PLC0415
    from mogplex_mcp.local.embedded import EmbeddedUnavailable  # noqa: PLC0415
    from mogplex_mcp.serving import ListenError  # noqa: PLC0415
    from mogplex_mcp.store.database import DatabaseError  # noqa: PLC0415
    from mogplex_mcp.store.disk import DiskError, disk_refusals_told  # noqa: PLC0415
    from mogplex_mcp.store.errors import StoreFullError  # noqa: PLC0415
    from mogplex_mcp.store.vault import VaultError  # noqa: PLC0415

    try:
        with disk_refusals_told(settings.data_dir):
            yield
    except MogplexError as error:
        raise click.ClickException(f"{error.message} {error.suggestion}") from None
    except (
        ClientsFileError,
        DatabaseError,
        DiskError,
        EmbeddedUnavailable,
        ListenError,
        SignInSettingsError,
        StoreFullError,
        UnsafeAddressError,
        VaultError,
    ) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
