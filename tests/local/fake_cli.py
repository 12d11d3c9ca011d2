"""A coding agent for tests: it executes its prompt as Python, and so does exactly what a test says.

Started as ``python -I -S fake_cli.py``. Beside the standard library a prompt has the functions below.
"""

import json
import subprocess
import sys
import time
from pathlib import Path


def say(**line: object) -> None:
    """A line of ``codex exec --json``."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def message(text: str) -> None:
    say(type="item.completed", item={"id": "m", "type": "agent_message", "text": text})


def wait_for(path: str) -> None:
    """Until a test makes this file."""
    while not Path(path).exists():
        time.sleep(0.01)


def start_sleeper(marker: str) -> None:
    """A child of ours in the same group, its process id in ``marker``."""
    Path(marker).write_text(str(subprocess.Popen(["sleep", "600"]).pid))


def commit(name: str, subject: str) -> None:
    Path(name).write_text(subject)
    identity = ["-c", "user.name=Agent", "-c", "user.email=agent@localhost"]
    subprocess.run(["git", "add", "--", name], check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "-m", subject], check=True)


if __name__ == "__main__":
    exec(compile(sys.stdin.read(), "<prompt>", "exec"))  # noqa: S102 - that is what it is for
