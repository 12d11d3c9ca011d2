"""Fields of a request that Streamable HTTP mirrors into headers (MCP 2026-07-28, "Request Metadata")."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Path = tuple[str, ...]

SENTINEL = ("=?base64?", "?=")
LARGEST_INTEGER = 2**53 - 1

NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""The parameter that names what a method is about; for the tasks extension it is ``taskId``."""

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_ONE = frozenset({
    "items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames", "unevaluatedProperties", "not",
    "if", "then", "else", "contentSchema", "additionalItems",
})  # fmt: skip
_SEVERAL = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
_NAMED_SCHEMAS = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})


def standard_headers(version: str, method: str, params: dict[str, Any]) -> list[tuple[str, str]]:
    """``MCP-Protocol-Version``, ``Mcp-Method`` and, where the method has one, ``Mcp-Name``."""
    headers = [("MCP-Protocol-Version", encoded(version)), ("Mcp-Method", encoded(method))]
    key = NAMED.get(method) or ("taskId" if method.startswith("tasks/") else "")
    name = params.get(key)
    if isinstance(name, str):
        headers.append(("Mcp-Name", encoded(name)))
    return headers


def encoded(value: str) -> str:
    """The value, in Base64 if it would not come through a header as it is."""
    plain = value.isascii() and value.isprintable() and value == value.strip(" ")
    if plain and not (value.startswith(SENTINEL[0]) and value.endswith(SENTINEL[1])):
        return value
    from binascii import b2a_base64

    octets = value.encode("utf-8", "surrogatepass")
    return SENTINEL[0] + b2a_base64(octets, newline=False).decode("ascii") + SENTINEL[1]


def annotated(schema: object) -> dict[Path, str]:
    """Where the arguments are that a tool wants mirrored, with the name of each one's header.

    Raises:
        ValueError: An annotation breaks a rule: the tool is to be left out.
    """
    found: dict[Path, str] = {}
    for path, node in _positions(schema):
        if "x-mcp-header" not in node:
            continue
        name = node["x-mcp-header"]
        where = ".".join(path) if path else "the schema"
        if not path:
            raise ValueError("x-mcp-header stands where no chain of properties leads")
        if not isinstance(name, str) or not name or set(name) - _TOKEN:
            raise ValueError(f"x-mcp-header of {where} is no header name")
        if node.get("type") not in ("string", "integer", "boolean"):
            raise ValueError(f"x-mcp-header of {where} is on no string, integer or boolean")
        if name.lower() in {known.lower() for known in found.values()}:
            raise ValueError(f"x-mcp-header {name!r} is there twice")
        found[path] = name
    return found


def parameter_headers(headers: dict[Path, str], arguments: object) -> list[tuple[str, str]]:
    """The ``Mcp-Param-*`` headers of a call; a value that is not there, or null, has none."""
    made = []
    for path, name in headers.items():
        value = arguments
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        text = _text(value)
        if text is not None:
            made.append((f"Mcp-Param-{name}", encoded(text)))
    return made


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and abs(value) <= LARGEST_INTEGER:
        return str(value)
    return repr(value) if isinstance(value, float) else None


def _positions(root: object) -> Iterator[tuple[Path | None, dict[str, Any]]]:
    """Every schema in a schema, with the chain of properties that leads there; None when something else does."""
    stack: list[tuple[Path | None, object]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, dict):
            continue
        yield path, node
        for key, value in node.items():
            if key == "properties" and isinstance(value, dict):
                stack += [((*path, name) if path is not None else None, below) for name, below in value.items()]
            elif key in _SEVERAL and isinstance(value, list):
                stack += [(None, below) for below in value]
            elif key in _ONE:
                stack.append((None, value))
            elif key in _NAMED_SCHEMAS and isinstance(value, dict):
                stack += [(None, below) for below in value.values()]
