"""Opening a link in the person's browser: always by starting a program with arguments, never through a shell.

The standard library's `webbrowser` is not used: it is heavy, and on some systems it writes the link into a script.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping

_EARLY = 1.0  # s within which a program that cannot open anything says so
_SECRET = ("MOGPLEX_API_KEY", "MOGPLEX_OAUTH_CLIENT_SECRET")


def open_in_browser(link: str, environ: Mapping[str, str]) -> bool:
    """Open an http or https link.

    Args:
        link: It has been checked.
        environ: `BROWSER` names what to use instead of the system's own: commands separated by the path separator,
            each with `%s` where the link goes, or else at its end.

    Returns:
        Whether a program took the link; there may be none on this machine.
    """
    if not link.startswith(("https://", "http://")):
        raise ValueError("not a link for a browser")
    return any(_started(command, environ) for command in _commands(link, environ))


def _commands(link: str, environ: Mapping[str, str]) -> Iterator[list[str]]:
    for entry in environ.get("BROWSER", "").split(os.pathsep):
        try:
            words = shlex.split(entry, posix=os.name == "posix")
        except ValueError:
            continue
        if words:
            yield [word.replace("%s", link) for word in words] + ([] if any("%s" in word for word in words) else [link])
    if sys.platform == "darwin":
        yield ["/usr/bin/open", link]
    elif sys.platform == "win32":
        yield [os.path.join(environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "rundll32.exe"),
               "url.dll,FileProtocolHandler", link]  # fmt: skip
    elif any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")):
        yield from ([name, link] for name in ("xdg-open", "wslview"))


def _started(command: list[str], environ: Mapping[str, str]) -> bool:
    program = shutil.which(command[0], path=environ.get("PATH"))
    if program is None:
        return False
    try:
        child = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={name: value for name, value in environ.items() if name not in _SECRET},
            start_new_session=True,
        )
    except OSError:
        return False
    try:
        return child.wait(_EARLY) == 0
    except subprocess.TimeoutExpired:
        return True  # a browser in the foreground
