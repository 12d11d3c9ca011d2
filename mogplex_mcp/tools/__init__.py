"""What MCP shows: one module per tool, listed in one registry."""
