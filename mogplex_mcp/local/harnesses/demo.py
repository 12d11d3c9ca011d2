"""The bundled demonstration: a real child process that needs no account and no network."""

from __future__ import annotations

import sys
from pathlib import Path

from mogplex_mcp.local.harnesses.codex import CodexReader

# By its file and isolated: the agent is the standard library alone and starts in milliseconds, whatever lies in the
# repository it works on.
DEMO_COMMAND = (sys.executable, "-I", "-S", str(Path(__file__).with_name("demo_agent.py")))


class DemoReader(CodexReader):
    """The demonstration speaks as ``codex exec --json`` does."""

    name = "demo"
