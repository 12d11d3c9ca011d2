"""The documents of ``.well-known-examples/``: written by ``make tables``."""

import json
from pathlib import Path

from mogplex_mcp.auth.authorization.metadata import MetadataDocuments

DIRECTORY = Path(__file__).parent.parent.parent / ".well-known-examples"
ISSUER = "https://mcp.example.com"


def examples() -> dict[str, str]:
    """Each file and its text."""
    documents = MetadataDocuments(ISSUER)
    found = {
        "oauth-protected-resource.json": documents.protected_resource(),
        "oauth-authorization-server.json": documents.authorization_server(),
        "openid-configuration.json": documents.openid_configuration(),
        "mogplex-mcp-shim.json": documents.shim(),
    }
    return {name: json.dumps(document, indent=2) + "\n" for name, document in found.items()}


def write_examples() -> None:
    """Write the files anew."""
    DIRECTORY.mkdir(exist_ok=True)
    for name, text in examples().items():
        (DIRECTORY / name).write_text(text)
