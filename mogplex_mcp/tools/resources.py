"""Resources: the guide that explains runs to a model or a person."""

from __future__ import annotations

from importlib.resources import files

import mcp_types as types

GUIDE_URI = "mogplex://guide"


def list_resources() -> list[types.Resource]:
    """Every resource."""
    return [
        types.Resource(
            uri=GUIDE_URI,
            name="guide",
            title="Working with Mogplex runs",
            description="Branches, statuses, limits and errors of agent runs.",
            mime_type="text/markdown",
        )
    ]


def read_resource(uri: str) -> types.ReadResourceResult | None:
    """The resource's content, or None when there is no such resource."""
    if uri != GUIDE_URI:
        return None
    text = files("mogplex_mcp.tools").joinpath("guide.md").read_text(encoding="utf-8")
    return types.ReadResourceResult(
        contents=[types.TextResourceContents(uri=GUIDE_URI, mime_type="text/markdown", text=text)]
    )
