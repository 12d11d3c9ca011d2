"""The command."""

from __future__ import annotations

import os
import sys

from mogplex_mcp_shim import __version__, log
from mogplex_mcp_shim.options import USAGE, Options, UsageError


def main() -> int:
    """Do what the arguments ask.

    Returns:
        The exit code: 0, 1 when it could not be done, 2 when the arguments make no sense.
    """
    try:
        options = Options(sys.argv[1:], os.environ)
        log.configure(path=options.log_file, as_json=options.json)
    except UsageError as error:
        log.configure(path=None, as_json="--json" in sys.argv)
        log.say(str(error))
        return 2
    except OSError as error:
        log.say(f"the log file cannot be opened: {error.strerror}")
        return 2
    if "help" in options.commands or "version" in options.commands:
        sys.stdout.write(USAGE if "help" in options.commands else f"mogplex-mcp-shim {__version__}\n")
        return 0
    for warning in options.warnings:
        log.say(warning)
    for command in options.commands:
        code = _run(command, options)
        if code or command != "logout" or options.attach is None:
            return code
    _proxy(options)
    return 0


def _run(command: str, options: Options) -> int:
    """Sign in, sign out or say which credential there is."""
    from mogplex_mcp_shim import login

    return {"login": login.login, "logout": login.logout, "status": login.status}[command](options)


def _proxy(options: Options) -> None:
    from mogplex_mcp_shim.pipe import Pipe

    if os.isatty(0):
        log.say(f"connected to a terminal; an MCP host would speak JSON-RPC here. Server: {options.server.origin}")
    Pipe(options).run()
