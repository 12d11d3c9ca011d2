"""What signing in leaves behind: accounts, credentials, clients, grants, tokens. It knows nothing of MCP or the web."""
