"""What ``claude -p --output-format stream-json --verbose`` prints (Claude Code 2.1.197), read into events.

``system`` (``init``; ``api_retry`` while the service cannot be reached), ``assistant`` and ``user`` messages whose
content blocks are text, tool calls and tool results, at last one ``result``. Its ``subtype`` says ``success`` also when
the answer is an error; ``is_error`` tells.
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

SIGN_IN = "Claude Code is not signed in: run `claude` and sign in with /login, or set ANTHROPIC_API_KEY."
_KEPT = ("usage", "modelUsage", "total_cost_usd", "num_turns", "duration_ms", "session_id", "permission_denials")
_MAX_OPEN_CALLS = 1_000


class ClaudeCodeReader:
    """Reads one run of ``claude -p --output-format stream-json``."""

    def __init__(self) -> None:
        self._error: str | None = None
        self._last_error: str | None = None
        self._done = False
        self._payload: dict[str, object] = {}
        self._calls: dict[str, str] = {}

    def feed(self, line: str) -> list[HarnessEvent]:
        said = json_object(line)
        if said is None:
            return raw_line(line)
        match said.get("type"):
            case "system":
                return [self._system(said)]
            case "assistant":
                return self._assistant(said)
            case "user":
                return self._user(said)
            case "result":
                return [self._result(said)]
            case kind:
                return [unknown(kind, said)]

    def _system(self, said: dict[str, object]) -> HarnessEvent:
        match said.get("subtype"):
            case "init":
                kept: dict[str, object] = {
                    key: said[key] for key in ("model", "permissionMode", "claude_code_version") if key in said
                }
                self._payload["model"] = as_text(said.get("model"), 200)
                return HarnessEvent("stream_started", "claude-code started", payload=kept)
            case "api_retry":
                of = f"{said.get('attempt')}/{said.get('max_retries')}"
                reason = as_text(said.get("error"), 200) or "unknown"
                status = said.get("error_status")
                told = f"Retrying the API, attempt {of[:50]} ({reason}{f', HTTP {status}' if status else ''})"
                self._last_error = told[:MAX_ERROR]
                return HarnessEvent("log", self._last_error, payload=said, stalled=True)
            case kind:
                return unknown(kind or "system", said)

    def _assistant(self, said: dict[str, object]) -> list[HarnessEvent]:
        message = as_object(said.get("message"))
        failed = as_text(said.get("error"), 200) is not None
        if not failed:
            self._last_error = None
        events = []
        for block in map(as_object, as_list(message.get("content"))):
            match block.get("type"):
                case "text" if failed:
                    # Not the model's words but the CLI's about a call that failed.
                    self._last_error = as_text(block.get("text"), MAX_ERROR) or self._last_error
                    events.append(HarnessEvent("log", self._last_error, payload=block, stalled=True))
                case "text":
                    events.append(HarnessEvent("assistant_message", as_text(block.get("text")), payload=block))
                case "tool_use":
                    events.append(self._call(block))
                case "thinking":
                    events.append(HarnessEvent("log", as_text(block.get("thinking"))))
                case kind:
                    events.append(unknown(kind or "assistant", block))
        return events

    def _call(self, block: dict[str, object]) -> HarnessEvent:
        name = as_text(block.get("name"), 200)
        identity = as_text(block.get("id"), 200)
        if name and identity and len(self._calls) < _MAX_OPEN_CALLS:
            self._calls[identity] = name
        return HarnessEvent("tool_call", _describe(as_object(block.get("input"))), name, block)

    def _user(self, said: dict[str, object]) -> list[HarnessEvent]:
        content = as_object(said.get("message")).get("content")
        events = []
        for block in map(as_object, as_list(content)):
            if block.get("type") == "tool_result":
                name = self._calls.pop(as_text(block.get("tool_use_id"), 200) or "", None)
                events.append(HarnessEvent("tool_result", _text_of(block.get("content")), name, block))
            else:
                events.append(unknown(block.get("type") or "user", block))
        return events

    def _result(self, said: dict[str, object]) -> HarnessEvent:
        self._payload |= {key: said[key] for key in _KEPT if said.get(key) is not None}
        words = as_text(said.get("result"), MAX_ERROR)
        told = [as_text(error, MAX_ERROR) for error in as_list(said.get("errors"))]
        self._done = True
        if said.get("is_error") is not False:
            listed = "; ".join(error for error in told if error)[:MAX_ERROR]
            self._error = words or listed or self._last_error or as_text(said.get("subtype"), 200) or "failed"
        else:
            self._error = None
        return HarnessEvent("log", self._error or "claude-code finished", payload=said)

    def finish(self, exit_code: int, stderr_tail: str) -> Outcome:
        error = self._error if self._done else self._last_error
        if exit_code == 0 and error is None:
            return Outcome(True, None, self._payload)
        return Outcome(False, _plain(error or last_words(stderr_tail, exit_code, "claude-code")), self._payload)


def _describe(arguments: Mapping[str, object]) -> str | None:
    keys = ("description", "command", "file_path", "path", "pattern", "query", "url", "prompt")
    return next((text for key in keys if (text := as_text(arguments.get(key), 500))), None)


def _text_of(content: object) -> str | None:
    if isinstance(content, str):
        return as_text(content)
    texts = [as_text(as_object(part).get("text")) for part in as_list(content)]
    return as_text("\n".join(text for text in texts if text))


def _plain(error: str) -> str:
    """The CLI's own words; where they mean "no login", what to do comes first."""
    unsigned = any(sign in error for sign in ("Please run /login", "Invalid API key", "Failed to authenticate"))
    return f"{SIGN_IN} ({error})"[:MAX_ERROR] if unsigned else error
