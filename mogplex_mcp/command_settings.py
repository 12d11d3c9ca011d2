"""The settings of a command: its options over the environment."""

from __future__ import annotations

from typing import Any, cast

import click
from pydantic import ValidationError

from mogplex_mcp.settings import Settings


def command_settings(**options: object) -> Settings:
    """The settings of this process.

    Args:
        options: Fields of ``Settings`` that options of the command line gave; None is an option that was not given.

    Raises:
        click.ClickException: A variable has a value that makes no sense; the message names it.
    """
    try:
        return Settings(**cast("dict[str, Any]", {name: value for name, value in options.items() if value is not None}))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        problems = [f"MOGPLEX_{'_'.join(map(str, d['loc'])).upper()}: {d['msg']}" for d in details]
        raise click.ClickException("\n".join(problems)) from None
