"""Writes what is generated anew: tables of README and docs/storage.md, OAuth table and examples. ``make tables``."""

from pathlib import Path

from mogplex_mcp.settings import configuration_table
from mogplex_mcp.store.storage_page import storage_tables
from mogplex_mcp.tools.registry import tools_table
from tests.oauth.examples import write_examples
from tests.oauth.requirements import DOCUMENT, requirements_table

ROOT = Path(__file__).parent.parent
GENERATED = (
    (ROOT / "README.md", "configuration", configuration_table),
    (ROOT / "README.md", "tools", tools_table),
    (ROOT / "docs" / "storage.md", "tables", storage_tables),
)

if __name__ == "__main__":
    for file, name, table in GENERATED:
        text = file.read_text()
        begin, end = text.index(f"<!-- {name}: begin -->\n"), text.index(f"<!-- {name}: end -->")
        file.write_text(f"{text[:begin]}<!-- {name}: begin -->\n{table()}\n{text[end:]}")
    DOCUMENT.write_text(requirements_table())
    write_examples()
