"""The options that every headless command has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True)
class Common:
    """What they say.

    Attributes:
        json: Print for programs.
        data_dir: Where state is kept; None leaves it to the environment.
    """

    json: bool
    data_dir: Path | None


class HeadlessCommand(click.Command):
    """A command that tells of bad arguments as it tells of every failure: to programs in JSON."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _usage_told(ctx, as_json="--json" in args):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _usage_told(ctx, as_json=ctx.params["as_json"]):
            return super().invoke(ctx)


class HeadlessGroup(click.Group):
    """A group of such commands."""

    command_class = HeadlessCommand


@contextmanager
def _usage_told(ctx: click.Context, *, as_json: bool) -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        if not as_json:
            raise
        told = {"ok": False, "error": {"code": "USAGE", "message": error.format_message()}}
        click.echo(json.dumps(told, separators=(",", ":")), err=True)
        ctx.exit(error.exit_code)


def headless(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; they reach it as its first argument, a ``Common``."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
    @click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where state is kept.")
    @wraps(command)
    def with_common(*, as_json: bool, data_dir: Path | None, **given: Any) -> None:
        command(Common(as_json, data_dir), **given)

    return with_common
