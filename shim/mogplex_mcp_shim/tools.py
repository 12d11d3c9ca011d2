"""What ``tools/list`` has taught: which arguments go into headers, and which calls may be repeated."""

from __future__ import annotations

from mogplex_mcp_shim import log
from mogplex_mcp_shim.mirrored import annotated, parameter_headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mogplex_mcp_shim.json_rpc import Json
    from mogplex_mcp_shim.mirrored import Path

TOOLS_LIMIT = 10_000
"""Tools remembered; a server that lists more gets no headers for the rest."""

REPEATABLE = frozenset({
    "initialize", "ping", "server/discover", "tools/list", "prompts/list", "prompts/get", "resources/list",
    "resources/templates/list", "resources/read", "resources/subscribe", "resources/unsubscribe", "completion/complete",
    "logging/setLevel", "tasks/get", "tasks/list", "tasks/result",
})  # fmt: skip
"""Methods that change nothing, or nothing more when they come twice."""


class Tools:
    """The tools of the server, as far as it has listed them."""

    def __init__(self) -> None:
        self._headers: dict[str, dict[Path, str]] = {}
        self._repeatable: set[str] = set()
        self._reported: set[str] = set()

    def learn(self, answer: Json, *, mirrored: bool) -> bool:
        """Take in an answer to ``tools/list``.

        Args:
            answer: The message; tools with invalid annotations are taken out of it.
            mirrored: Whether this revision mirrors arguments into headers.

        Returns:
            Whether tools were taken out.
        """
        result = answer.get("result")
        if not isinstance(result, dict) or not isinstance(tools := result.get("tools"), list):
            return False
        kept = [tool for tool in tools if self._learn_tool(tool, mirrored=mirrored)]
        if len(kept) == len(tools):
            return False
        result["tools"] = kept
        return True

    def headers(self, params: Json) -> list[tuple[str, str]]:
        """The ``Mcp-Param-*`` headers of a call."""
        name = params.get("name")
        known = self._headers.get(name) if isinstance(name, str) else None
        return parameter_headers(known, params.get("arguments")) if known else []

    def may_repeat(self, method: str, params: Json) -> bool:
        """Whether a request does no harm when it reaches the server twice."""
        return method in REPEATABLE or (method == "tools/call" and params.get("name") in self._repeatable)

    def _learn_tool(self, tool: object, *, mirrored: bool) -> bool:
        if not isinstance(tool, dict) or not isinstance(name := tool.get("name"), str):
            return True
        try:
            headers = annotated(tool.get("inputSchema")) if mirrored else {}
        except ValueError as error:
            self._headers.pop(name, None)
            if name not in self._reported and len(self._reported) < TOOLS_LIMIT:
                self._reported.add(name)
                log.say(f"the tool {name} is left out: {error}")
            return False
        hints = tool.get("annotations")
        if isinstance(hints, dict) and (hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True):
            if len(self._repeatable) < TOOLS_LIMIT:
                self._repeatable.add(name)
        else:
            self._repeatable.discard(name)
        if mirrored and len(self._headers) < TOOLS_LIMIT:
            self._headers[name] = headers
        return True
