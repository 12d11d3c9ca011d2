"""The demonstration agent: a program of its own that does what a coding agent does, without a model.

It reads the prompt from stdin, works in the current directory for a few seconds, commits in steps, and tells what it
does as ``codex exec --json`` does. In the demonstration repository it repairs the failing test; elsewhere it writes a
note. The standard library alone, so that it starts at once; SIGTERM ends it at once with exit code 143, no file and no
commit half done.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

PAUSE = 0.3
"""Seconds before each step: long enough to be watched, and cancelled."""
MAX_PROMPT = 200
GREETING = Path("hello/greeting.py")
TESTS = Path("tests/test_greeting.py")
BUG = 'return f"Hello, {name}!"'
REPAIR = "return f\"Hello, {name.strip() or 'world'}!\""
MORE_TESTS = """
    def test_a_blank_name_is_no_name(self) -> None:
        self.assertEqual(greet("  "), "Hello, world!")
"""
NOTE = Path("MOGPLEX-NOTE.md")
_GIT = (
    *("git", "-c", "user.name=Mogplex Demo", "-c", "user.email=demo@localhost", "-c", "core.hooksPath=/dev/null"),
    *("-c", "commit.gpgsign=false", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false"),
)


class StepFailed(Exception):  # noqa: N818 - it says what happened
    """A command did not do what the next step needs."""


class Session:
    """One turn: numbered items on stdout, a pause before each step."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._items = 0

    def emit(self, kind: str, **fields: object) -> None:
        print(json.dumps({"type": kind, **fields}), flush=True)  # noqa: T201 - this is the program's answer

    def say(self, text: str) -> None:
        self.emit("item.completed", item={"id": self._next(), "type": "agent_message", "text": text})

    def _next(self) -> str:
        self._items += 1
        return f"item_{self._items - 1}"

    def run(self, *command: str) -> int:
        """Run a command and report it; its exit code."""
        time.sleep(self._pause)
        shown = " ".join(("python3" if command[0] == sys.executable else command[0], *_spoken(command)))
        item: dict[str, object] = {"id": self._next(), "type": "command_execution", "command": shown}
        self.emit("item.started", item=item | {"aggregated_output": "", "exit_code": None, "status": "in_progress"})
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            output, _ = process.communicate(timeout=60)
        except BaseException:
            # SIGTERM, not SIGKILL: git takes its locks away.
            process.terminate()
            process.wait()
            raise
        status = "failed" if process.returncode else "completed"
        end = {"aggregated_output": output[-4_000:], "exit_code": process.returncode, "status": status}
        self.emit("item.completed", item=item | end)
        return process.returncode

    def write(self, path: Path, text: str) -> None:
        """Write a file whole or not at all, and report it. A link of that name is replaced, not followed."""
        time.sleep(self._pause)
        kind = "update" if path.exists() else "add"
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=".mogplex-", delete=False
        ) as file:
            file.write(text)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
        changes = [{"path": str(path), "kind": kind}]
        item = {"id": self._next(), "type": "file_change", "changes": changes, "status": "completed"}
        self.emit("item.completed", item=item)

    def commit(self, path: Path, message: str) -> None:
        for command in (("add", "--force", "--", str(path)), ("commit", "--quiet", "--no-verify", "-m", message)):
            if self.run(*_GIT, *command):
                raise StepFailed(f"git {command[0]} failed")


def _spoken(command: tuple[str, ...]) -> tuple[str, ...]:
    """The arguments as a person would type them."""
    return command[len(_GIT) :] if command[0] == "git" else command[1:]


def repair(session: Session) -> str:
    """Repair the demonstration repository's failing test; what was done."""
    tests = (sys.executable, "-B", "-m", "unittest", "discover", "--quiet")
    session.say("I'll run the tests first.")
    if session.run(*tests) == 0:
        raise StepFailed("the tests pass, though the fault is there")
    session.say("greet() does not greet the world when there is no name. I'll repair that.")
    session.write(GREETING, GREETING.read_text("utf-8").replace(BUG, REPAIR))
    session.commit(GREETING, "Greet the world when no name is given")
    session.write(TESTS, TESTS.read_text("utf-8").rstrip("\n") + "\n" + MORE_TESTS)
    if session.run(*tests):
        raise StepFailed("the tests still fail")
    session.commit(TESTS, "Test that a blank name is no name")
    return "The failing test passes now; the fix and one more test are committed."


def take_note(session: Session, prompt: str) -> str:
    """Write a note about the request; what was done."""
    session.say("This is the demonstration: I'll look around and leave a note.")
    session.run("git", "log", "--oneline", "--max-count=3")
    readable = NOTE.is_file() and not NOTE.is_symlink()
    before = (
        NOTE.read_text("utf-8", "replace").rstrip("\n") + "\n" if readable else "# Notes of the demonstration agent\n"
    )
    quoted = " ".join("".join(c if c.isprintable() else " " for c in prompt[: MAX_PROMPT * 4]).split())[:MAX_PROMPT]
    note = f"{before}\n- Asked: {quoted or '(nothing)'}\n"
    session.write(NOTE, note)
    session.commit(NOTE, "Note what the demonstration agent was asked")
    count = sum(1 for entry in os.scandir(".") if not entry.name.startswith("."))
    session.write(NOTE, f"{note}  Seen: {count} entries at the top; nothing else was changed.\n")
    session.commit(NOTE, "Note what the demonstration agent saw")
    return f"A note stands in {NOTE}. Install a coding agent to have real work done."


def _repairable() -> bool:
    return GREETING.is_file() and TESTS.is_file() and BUG in GREETING.read_text("utf-8", "replace")


def _on_sigterm(_signal: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def main() -> int:
    """The exit code: 0, or 1 when a step failed."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    parser = argparse.ArgumentParser()
    parser.add_argument("--pause", type=float, default=PAUSE)
    session = Session(parser.parse_args().pause)
    prompt = sys.stdin.buffer.read(1_000_000).decode("utf-8", "replace")
    session.emit("thread.started", thread_id=f"demo-{os.getpid()}")
    session.emit("turn.started")
    try:
        session.say(repair(session) if _repairable() else take_note(session, prompt))
    except (StepFailed, OSError, subprocess.TimeoutExpired) as error:
        session.emit("turn.failed", error={"message": str(error)})
        return 1
    session.emit("turn.completed", usage={"input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0})
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        # Whoever listened is gone, so nobody wants this work. Not even Python's last flush can be told to anybody.
        os._exit(1)
