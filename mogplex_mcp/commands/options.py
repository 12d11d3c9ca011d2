"""The options that every headless command has."""

from __future__ import annotations

from collections.abc import Callable
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


def headless(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; they reach it as its first argument, a ``Common``."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
    @click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where state is kept.")
    @wraps(command)
    def with_common(*, as_json: bool, data_dir: Path | None, **given: Any) -> None:
        command(Common(as_json, data_dir), **given)

    return with_common
