"""The person's own MCP servers, from a JSON file (Mogplex documentation, /web/api/mcp-servers).

The file holds secrets: nothing of its content goes into a message or a log.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_MAX_FILE = 1024 * 1024
_MAX_SERVERS = 200


class _Server(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    name: str = Field(min_length=1, max_length=200)
    enabled: bool = True
    config: dict[str, object]


def read_mcp_servers(path: Path) -> list[dict[str, object]]:
    """The servers of the file, disabled ones too; none when there is no file.

    Args:
        path: a JSON list of ``{name, enabled, config}``, or an object that holds one as ``servers``.

    Raises:
        ValueError: the file cannot be used; the message says where, not what.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror}") from None
    if len(text) > _MAX_FILE:
        raise ValueError(f"{path.name} is larger than {_MAX_FILE} bytes")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{path.name} is not valid JSON") from None
    servers = value.get("servers") if isinstance(value, dict) else value
    if not isinstance(servers, list) or len(servers) > _MAX_SERVERS:
        raise ValueError(f"{path.name} must be a list of at most {_MAX_SERVERS} servers")
    return [_checked(path, number, server) for number, server in enumerate(servers, 1)]


def _checked(path: Path, number: int, server: object) -> dict[str, object]:
    try:
        return _Server.model_validate(server).model_dump()
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"]) or "server"
        raise ValueError(f"{path.name}: server {number}: {where} is not as documented") from None
