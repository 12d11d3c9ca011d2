"""What ``codex exec --json`` prints (Codex CLI 0.169.0, its ``exec --json`` event stream), read into events.

``thread.started``, ``turn.started``, ``item.started|updated|completed`` with an ``item`` of some type, then
``turn.completed`` with the usage or ``turn.failed`` with an error. A top-level ``error`` is the reason of a failed
turn, or a reconnect: five numbered ones, then "waiting for network" again and again, without end where there is no
network.
"""

from __future__ import annotations

from collections.abc import Mapping

from mogplex_mcp.local.harness_events import (
    MAX_ERROR,
    HarnessEvent,
    Outcome,
    as_list,
    as_object,
    as_text,
    json_object,
    last_words,
    raw_line,
    unknown,
)

SIGN_IN = "Codex is not signed in: run `codex login`, or set CODEX_API_KEY or OPENAI_API_KEY."
_TOOLS = {"command_execution": "shell", "file_change": "edit_file", "web_search": "web_search"}
_CALLS = {*_TOOLS, "mcp_tool_call", "collab_tool_call"}


class CodexReader:
    """Reads one run of ``codex exec --json``."""

    name = "codex"

    def __init__(self) -> None:
        self._failure: str | None = None
        self._noise: str | None = None
        self._payload: dict[str, object] = {}
        self._open: set[str] = set()

    def feed(self, line: str) -> list[HarnessEvent]:
        said = json_object(line)
        return raw_line(line) if said is None else self._event(said)

    def _event(self, said: dict[str, object]) -> list[HarnessEvent]:
        match said.get("type"):
            case "thread.started":
                self._payload["threadId"] = as_text(said.get("thread_id"), 100)
                return [HarnessEvent("stream_started", f"{self.name} started", payload=said)]
            case "turn.completed":
                self._failure = self._noise = None
                self._payload["usage"] = as_object(said.get("usage"))
                return [HarnessEvent("log", "turn.completed", payload=said)]
            case "turn.failed":
                self._failure = as_text(as_object(said.get("error")).get("message"), MAX_ERROR) or "The turn failed."
                return [HarnessEvent("log", self._failure, payload=said, stalled=True)]
            case "error":
                told = as_text(said.get("message"), MAX_ERROR) or "error"
                if told.startswith("Reconnecting"):
                    self._noise = told
                else:
                    self._failure = told
                return [HarnessEvent("log", told, payload=said, stalled=True)]
            case "item.started" | "item.updated" | "item.completed" as kind:
                return self._item(kind, as_object(said.get("item")), said)
            case kind:
                return [unknown(kind, said)]

    def _item(self, kind: str, item: dict[str, object], said: dict[str, object]) -> list[HarnessEvent]:
        if item.get("type") != "error":
            self._noise = None
        match item.get("type"):
            case str(tool) if tool in _CALLS:
                return self._tool(kind, tool, item)
            case "agent_message" if kind == "item.completed":
                return [HarnessEvent("assistant_message", as_text(item.get("text")), payload=item)]
            case "error":
                # A warning, such as a fall back to another transport.
                self._noise = as_text(item.get("message"), MAX_ERROR) or "error"
                return [HarnessEvent("log", self._noise, payload=item, stalled=True)]
            case "reasoning":
                return [HarnessEvent("log", as_text(item.get("text")), payload=item)]
            case other:
                return [unknown(other or kind, said)]

    def _tool(self, kind: str, tool: str, item: dict[str, object]) -> list[HarnessEvent]:
        identity = as_text(item.get("id"), 100) or ""
        name = _TOOLS.get(tool) or _tool_name(tool, item)
        call = HarnessEvent("tool_call", _describe(tool, item), name, item)
        if kind == "item.started":
            self._open.add(identity)
            return [call]
        if kind == "item.updated":
            return []
        result = HarnessEvent("tool_result", _result(item), name, item)
        # Some tools are only reported when they are done.
        events = [result] if identity in self._open else [call, result]
        self._open.discard(identity)
        return events

    def finish(self, exit_code: int, stderr_tail: str) -> Outcome:
        error = self._failure or self._noise
        if exit_code == 0 and error is None:
            return Outcome(True, None, self._payload)
        return Outcome(False, _plain(error or last_words(stderr_tail, exit_code, self.name)), self._payload)


def _tool_name(tool: str, item: Mapping[str, object]) -> str:
    parts = [as_text(item.get(key), 100) for key in ("server", "tool")]
    return ".".join(part for part in parts if part) or tool


def _describe(tool: str, item: Mapping[str, object]) -> str | None:
    if tool == "file_change":
        paths = [as_text(as_object(change).get("path"), 200) for change in as_list(item.get("changes"))[:10]]
        return as_text("Editing " + ", ".join(path for path in paths if path))
    return as_text(item.get("command")) or as_text(item.get("query"))


def _result(item: Mapping[str, object]) -> str | None:
    output = as_text(item.get("aggregated_output")) or as_text(as_object(item.get("error")).get("message"))
    return output or as_text(item.get("status"), 100)


def _plain(error: str) -> str:
    """The CLI's own words; where they mean "no login", what to do comes first."""
    return f"{SIGN_IN} ({error})"[:MAX_ERROR] if "401 Unauthorized" in error else error
