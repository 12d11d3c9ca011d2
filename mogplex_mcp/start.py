"""Where the program starts: Ctrl-C ends it without a word also while the rest is imported."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    try:
        from mogplex_mcp.cli import main as command_line  # noqa: PLC0415 - what Ctrl-C may end
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    command_line()
