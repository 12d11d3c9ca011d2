"""An MCP server for Mogplex: start, watch and cancel agent runs from any agent host."""

__version__ = "0.1.0"
