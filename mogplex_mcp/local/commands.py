"""``mogplex-mcp local``: the embedded Mogplex's repositories, tokens and daemon.

What a command needs is imported when it runs: `--help` of the whole program must not load a database.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mogplex_mcp.own_command import own_command

if TYPE_CHECKING:
    from mogplex_mcp.local.database import Database
    from mogplex_mcp.local.listener import Listener
    from mogplex_mcp.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


def _data_dir(command: F) -> F:
    option = click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="Data directory; by default MOGPLEX_MCP_DATA_DIR, else mcp inside MOGPLEX_HOME.",
    )
    return option(command)


def _settings(data_dir: Path | None) -> Settings:
    from pydantic import ValidationError

    from mogplex_mcp.settings import Settings

    try:
        return Settings() if data_dir is None else Settings(mcp_data_dir=data_dir)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        problems = [f"MOGPLEX_{str(detail['loc'][0]).upper()}: {detail['msg']}" for detail in details]
        raise click.ClickException("\n".join(problems)) from None


@contextmanager
def _database(data_dir: Path | None) -> Iterator[Database]:
    from mogplex_mcp.local.database import DatabaseError, open_database
    from mogplex_mcp.store.disk import DiskError, disk_refusals_told

    settings = _settings(data_dir)
    try:
        with disk_refusals_told(settings.data_dir), closing(open_database(settings)) as db:
            yield db
    except (DatabaseError, DiskError) as error:
        raise click.ClickException(str(error)) from error


@click.group()
def local() -> None:
    """The embedded Mogplex on this machine."""


@local.group()
def repos() -> None:
    """Git repositories that runs may work in."""


@repos.command("add")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", help="owner/name; by default from the remote origin, else local/DIRECTORY.")
@_data_dir
def add_repo_command(path: Path, name: str | None, data_dir: Path | None) -> None:
    """Register the git repository that PATH lies in."""
    from mogplex_mcp.local.repos import RepoError, add_repo

    with _database(data_dir) as db:
        try:
            repo = add_repo(db, path, name)
        except RepoError as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"{repo.id}\t{repo.full_name}\t{repo.path}")


@repos.command("list")
@_data_dir
def list_repos_command(data_dir: Path | None) -> None:
    """List the registered repositories: id, name, default branch, path."""
    from mogplex_mcp.local.repos import list_repos

    with _database(data_dir) as db:
        found = list_repos(db)
    for repo in found:
        click.echo(f"{repo.id}\t{repo.full_name}\t{repo.default_branch or '-'}\t{repo.path}")
    if not found:
        click.echo(f"No repository yet: {own_command(data_dir)} local repos add PATH", err=True)


@repos.command("remove")
@click.argument("repository")
@_data_dir
def remove_repo_command(repository: str, data_dir: Path | None) -> None:
    """Take REPOSITORY (its name or id) off the list. Its directory stays as it is."""
    from mogplex_mcp.local.repos import RepoError, remove_repo

    with _database(data_dir) as db:
        try:
            repo = remove_repo(db, repository)
        except RepoError as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"{repo.full_name} is off the list; {repo.path} is untouched.", err=True)


@local.group()
def tokens() -> None:
    """Tokens that callers of the server present."""


@tokens.command("create")
@click.option("--name", default="local", show_default=True, help="What the list shows.")
@click.option("--scopes", default="read,write", show_default=True, help="read, write or both, with a comma.")
@click.option("--expires-in-days", type=click.IntRange(1, 3650), help="By default it does not expire.")
@_data_dir
def create_token_command(name: str, scopes: str, expires_in_days: int | None, data_dir: Path | None) -> None:
    """Make a token and print it, the only time it can be seen."""
    from mogplex_mcp.local.tokens import TokenError, create_token

    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    with _database(data_dir) as db:
        try:
            token, record = create_token(db, name, wanted, expires_in_days)
        except TokenError as error:
            raise click.ClickException(str(error)) from error
    click.echo(token)
    revoke = f"{own_command(data_dir)} local tokens revoke {record.id}"
    click.echo(f"This is shown once. To revoke it: {revoke}", err=True)


@tokens.command("list")
@_data_dir
def list_tokens_command(data_dir: Path | None) -> None:
    """List tokens: id, prefix, name, scopes, made, expires, state."""
    from mogplex_mcp.local.timestamps import iso, now_ms
    from mogplex_mcp.local.tokens import list_tokens

    with _database(data_dir) as db:
        found = list_tokens(db)
    for token in found:
        state = "valid" if token.usable(now_ms()) else "expired" if token.revoked_at is None else "revoked"
        expires = "never" if token.expires_at is None else iso(token.expires_at)
        parts = (token.id, token.prefix, token.name, ",".join(token.scopes), iso(token.created_at), expires, state)
        click.echo("\t".join(parts))


@tokens.command("revoke")
@click.argument("token")
@_data_dir
def revoke_token_command(token: str, data_dir: Path | None) -> None:
    """Revoke TOKEN, given by its id, prefix or name. Its next request is refused."""
    from mogplex_mcp.local.tokens import TokenError, revoke_token

    with _database(data_dir) as db:
        try:
            record = revoke_token(db, token)
        except TokenError as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"Revoked {record.prefix}… ({record.name}).", err=True)


@local.command()
@click.option("--socket", "socket_path", type=click.Path(path_type=Path), help="Listen on this Unix socket too.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port too; 0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address for --port.")
@click.option("--background", is_flag=True, hidden=True)
@_data_dir
def daemon(socket_path: Path | None, port: int | None, host: str, background: bool, data_dir: Path | None) -> None:
    """Run the embedded Mogplex alone: it executes runs and listens on the data directory's daemon.sock.

    With MOGPLEX_DAEMON_SOCKET or --socket it listens there too. Ctrl-C ends it and its runs.
    """
    import asyncio

    from mogplex_mcp.local.daemon import IDLE_EXIT, AlreadyOwned, Extras, run_daemon
    from mogplex_mcp.local.database import DatabaseError
    from mogplex_mcp.local.listener import ListenError
    from mogplex_mcp.local.owner import socket_of
    from mogplex_mcp.store.disk import DiskError, disk_refusals_told

    settings = _settings(data_dir)

    def ready(listener: Listener) -> None:
        places = [str(socket_of(settings.data_dir)), *(str(path) for path in (extras.socket,) if path)]
        places += [f"http://{host}:{number}" for number in listener.ports]
        click.echo(f"Listening on {', '.join(places)}", err=True)

    extra_socket = None if background else socket_path or settings.daemon_socket
    extras = Extras(None if extra_socket is None else extra_socket.expanduser().absolute(), host, port)
    try:
        with disk_refusals_told(settings.data_dir):
            asyncio.run(run_daemon(settings, extras, idle_exit=IDLE_EXIT if background else None, ready=ready))
    except AlreadyOwned as error:
        if background:
            sys.exit(0)
        raise click.ClickException(str(error)) from error
    except (DatabaseError, DiskError, ListenError) as error:
        raise click.ClickException(str(error)) from error
