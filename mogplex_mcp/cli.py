"""The command line: composition of settings, the way to Mogplex, and the servers."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from pydantic import ValidationError

from mogplex_mcp import __version__
from mogplex_mcp.settings import Settings

if TYPE_CHECKING:
    import socket

    import httpx2

    from mogplex_mcp.api import Upstream

TOKEN_PAGE = "https://mogplex.com/settings/api-keys"  # noqa: S105 - an address


class LazyGroup(click.Group):
    """A group whose ``local`` commands are imported when asked for: most starts need none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "local"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "local":
            from mogplex_mcp.local.commands import local  # noqa: PLC0415 - this is what lazy means

            return local
        return super().get_command(ctx, cmd_name)


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
    settings = _settings(mcp_host=host, mcp_port=port, mcp_data_dir=data_dir)
    _run(_serve(settings, _command(data_dir)))


@main.command()
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where state is kept.")
def stdio(data_dir: Path | None) -> None:
    """Serve MCP on standard input and output.

    The credential is MOGPLEX_API_KEY; without it, the embedded Mogplex is used.
    """
    _run(_stdio(_settings(mcp_data_dir=data_dir)))


async def _serve(settings: Settings, command: str) -> None:
    from mogplex_mcp.api import open_upstream  # noqa: PLC0415 - the heavy half, not needed for --help
    from mogplex_mcp.app import create_app  # noqa: PLC0415
    from mogplex_mcp.logs import configure_logging  # noqa: PLC0415
    from mogplex_mcp.serving import ListenError, listen, serve_app  # noqa: PLC0415

    try:
        listening = listen(settings.mcp_host, settings.mcp_port)
    except ListenError as error:
        raise click.ClickException(str(error)) from None
    configure_logging(settings)
    with listening:
        async with open_upstream(settings, embedded=lambda: _embedded(settings, may_own=True)) as upstream:
            app = create_app(settings, upstream)
            click.echo(await asyncio.to_thread(_welcome, settings, upstream, listening, command))
            await serve_app(app, listening, on_stop=lambda: _begin_end(upstream))


async def _stdio(settings: Settings) -> None:
    from mcp.server.stdio import stdio_server  # noqa: PLC0415 - the heavy half, not needed for --help

    from mogplex_mcp.api import open_upstream  # noqa: PLC0415
    from mogplex_mcp.auth.caller import Caller, GivenToken, act_as, fingerprint  # noqa: PLC0415
    from mogplex_mcp.logs import configure_logging  # noqa: PLC0415
    from mogplex_mcp.server import create_server  # noqa: PLC0415

    configure_logging(settings)
    async with AsyncExitStack() as stack:
        opened = open_upstream(settings, embedded=lambda: _embedded(settings, may_own=False))
        upstream = await stack.enter_async_context(opened)
        if upstream.route.kind == "embedded":
            await asyncio.to_thread(_ensure_demo, settings)
        credential = await stack.enter_async_context(_own_credential(settings, upstream))
        act_as(Caller(f"stdio-{fingerprint(credential)[:16]}", GivenToken(credential)))
        server = create_server(settings, upstream)
        read, write = await stack.enter_async_context(stdio_server())
        await server.run(read, write, server.create_initialization_options())


@asynccontextmanager
async def _own_credential(settings: Settings, upstream: Upstream) -> AsyncIterator[str]:
    """What this process itself calls Mogplex with: MOGPLEX_API_KEY, else a token for as long as it runs."""
    if settings.api_key is not None:
        yield settings.api_key.get_secret_value()
        return
    if upstream.route.kind == "hosted":
        raise click.ClickException(f"Set MOGPLEX_API_KEY to a Mogplex token; make one at {TOKEN_PAGE}.")
    from mogplex_mcp.local.database import open_database  # noqa: PLC0415 - only when it is the way taken
    from mogplex_mcp.local.tokens import mint_session_token, revoke_token  # noqa: PLC0415

    database = await asyncio.to_thread(open_database, settings)
    try:
        token, record = await asyncio.to_thread(mint_session_token, database, f"stdio {os.getpid()}")
        try:
            yield token
        finally:
            revoke_token(database, record.id)
    finally:
        database.close()


def _ensure_demo(settings: Settings) -> None:
    """Something to work on from the first minute, as ``serve`` makes it: a daemon alone makes nothing."""
    from mogplex_mcp.local.database import open_database  # noqa: PLC0415 - only when it is the way taken
    from mogplex_mcp.local.repos import ensure_demo  # noqa: PLC0415

    database = open_database(settings)
    try:
        ensure_demo(database, settings.data_dir)
    finally:
        database.close()


def _first_token(settings: Settings) -> str | None:
    """A token for the person's first host, or None when the data directory has had one."""
    from mogplex_mcp.local.database import open_database  # noqa: PLC0415 - only when it is the way taken
    from mogplex_mcp.local.tokens import create_token, list_tokens  # noqa: PLC0415

    database = open_database(settings)
    try:
        if any(not token.is_session for token in list_tokens(database)):
            return None
        return create_token(database, "first host")[0]
    finally:
        database.close()


def _begin_end(upstream: Upstream) -> None:
    """Let the runs end while open streams do: together they have five seconds."""
    if upstream.route.kind == "embedded":
        from mogplex_mcp.local.embedded import EmbeddedTransport  # noqa: PLC0415 - imported already, this way

        if isinstance(upstream.transport, EmbeddedTransport):
            upstream.transport.begin_close()


def _embedded(settings: Settings, *, may_own: bool) -> AbstractAsyncContextManager[httpx2.AsyncBaseTransport]:
    from mogplex_mcp.local.embedded import embedded_transport  # noqa: PLC0415 - only when it is the way taken

    return embedded_transport(settings, may_own=may_own)


def _welcome(settings: Settings, upstream: Upstream, listening: socket.socket, command: str) -> str:
    """What ``serve`` tells the person who started it; a new data directory's first token is shown here, once."""
    url = _endpoint_url(settings, listening)
    add = f"claude mcp add --transport http mogplex {url} --header"
    lines = [f"Mogplex MCP server on {url}", f"Mogplex: {upstream.route.address} ({upstream.route.reason})", ""]
    if upstream.route.kind != "embedded":
        lines += ["Connect Claude Code with a Mogplex token (make one at " + TOKEN_PAGE + "):"]
        return "\n".join([*lines, f'  {add} "Authorization: Bearer mog_..."', ""])
    token = _first_token(settings)
    if token is None:
        return "\n".join(
            [*lines, "Connect another agent host with a token of its own:", f"  {command} local tokens create", ""]
        )
    lines += ["Connect Claude Code. This token is shown once:", f'  {add} "Authorization: Bearer {token}"', ""]
    return "\n".join(
        [
            *lines,
            f"More tokens: {command} local tokens create",
            f"Your repositories: {command} local repos add PATH",
            "",
        ]
    )


def _endpoint_url(settings: Settings, listening: socket.socket) -> str:
    if settings.mcp_public_url is not None:
        return f"{settings.mcp_public_url}/mcp"
    host, port = settings.mcp_host, listening.getsockname()[1]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/mcp"


def _command(data_dir: Path | None) -> str:
    """This program as the person typed it, with the option that leads to the same data."""
    program = shlex.quote(os.path.relpath(sys.argv[0]) if os.sep in sys.argv[0] else sys.argv[0])
    return program if data_dir is None else f"MOGPLEX_MCP_DATA_DIR={shlex.quote(str(data_dir))} {program}"


def _settings(**options: object) -> Settings:
    """The settings of this process: options over environment.

    Raises:
        click.ClickException: A variable has a value that makes no sense; the message names it.
    """
    try:
        return Settings(**cast("dict[str, Any]", {name: value for name, value in options.items() if value is not None}))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        problems = [f"MOGPLEX_{'_'.join(map(str, d['loc'])).upper()}: {d['msg']}" for d in details]
        raise click.ClickException("\n".join(problems)) from None


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end on the fastest event loop there is; failures that a person can mend are one sentence."""
    from mogplex_mcp.api import MogplexError  # noqa: PLC0415 - the heavy half, not needed for --help
    from mogplex_mcp.local.database import DatabaseError  # noqa: PLC0415
    from mogplex_mcp.local.embedded import EmbeddedUnavailable  # noqa: PLC0415

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(work)
    except MogplexError as error:
        raise click.ClickException(f"{error.message} {error.suggestion}") from None
    except (DatabaseError, EmbeddedUnavailable) as error:
        raise click.ClickException(str(error)) from None


def _loop_factory() -> Any:
    try:
        import uvloop  # noqa: PLC0415 - not there on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    main()
