"""Who is calling: the checks that every request passes before the MCP server sees it."""
