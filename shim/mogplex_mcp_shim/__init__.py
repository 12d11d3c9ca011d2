"""A stdio shim for MCP: a pipe between a host that speaks stdio and a server that speaks Streamable HTTP."""

__version__ = "0.1.0"
