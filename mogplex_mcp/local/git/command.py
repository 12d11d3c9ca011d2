"""One call of git: a cleaned environment, limited time, and no repository configuration that could stop us."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

GIT_TIMEOUT = 60.0
"""Seconds for one git call that moves no files."""
CHECKOUT_TIMEOUT = 300.0
"""Seconds for one git call that writes or reads a whole working tree."""
_MAX_MESSAGE = 500

_CONFIG = (
    # A hook may ask, sign, push or never end; the run's own commits are not the moment for it.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "commit.gpgsign=false",
    "tag.gpgsign=false",
    "core.safecrlf=false",
    # No process of ours may outlive its call.
    "gc.auto=0",
    "maintenance.auto=false",
    "core.quotepath=false",
    "advice.addEmbeddedRepo=false",
)
_EMPTY_VERDICTS = {"fatal: adding files failed", "fatal: updating files failed"}
_KEPT_GIT_VARIABLES = {"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH"}


class GitError(Exception):
    """git refused; the message is git's own last line, bounded, fit to be shown."""


def clean_environment() -> dict[str, str]:
    """This process's environment without what would point git elsewhere, and with nothing that could ask a person."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k in _KEPT_GIT_VARIABLES}
    return kept | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "true",
        "GIT_PAGER": "cat",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
    }


def run_git(
    cwd: Path,
    *arguments: str,
    config: tuple[str, ...] = (),
    stdin: str = "",
    timeout: float = GIT_TIMEOUT,
    extra: dict[str, str] | None = None,
) -> str:
    """Run git in ``cwd``.

    Raises:
        GitError: it failed, took longer than ``timeout`` seconds, or is not installed.
    """
    command = ["git", *(part for item in (*_CONFIG, *config) for part in ("-c", item)), *arguments]
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=clean_environment() | (extra or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        reason = f"{cwd} does not exist" if not cwd.exists() else "git is not installed"
        raise GitError(reason) from error
    except OSError as error:
        raise GitError(f"git could not be started in {cwd}: {error.strerror}") from error
    with process:
        try:
            out, err = process.communicate(stdin.encode("utf-8", "replace"), timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise GitError(f"git {arguments[0]} took longer than {timeout:g} s") from error
        finally:
            # Its filters and helpers too: they hold our pipes.
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise GitError(_last_line(err.decode("utf-8", "replace")) or f"git {arguments[0]} failed")
    return out.decode("utf-8", "surrogateescape")


def _last_line(text: str) -> str:
    """git's own verdict: its last ``fatal:`` or ``error:`` line that says something, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and line.strip() not in _EMPTY_VERDICTS]
    verdicts = [line for line in lines if line.startswith(("fatal:", "error:"))]
    last = (verdicts or lines or [""])[-1]
    return re.sub(r"[\x00-\x1f\x7f]", " ", last.removeprefix("fatal: ").removeprefix("error: "))[:_MAX_MESSAGE]
