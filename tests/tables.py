"""Writes what is generated anew: the README's tables, the OAuth table and examples. ``make tables``."""

from pathlib import Path

from mogplex_mcp.settings import configuration_table
from mogplex_mcp.tools.registry import tools_table
from tests.oauth.examples import write_examples
from tests.oauth.requirements import DOCUMENT, requirements_table

README = Path(__file__).parent.parent / "README.md"

if __name__ == "__main__":
    text = README.read_text()
    for name, table in (("configuration", configuration_table()), ("tools", tools_table())):
        begin, end = text.index(f"<!-- {name}: begin -->\n"), text.index(f"<!-- {name}: end -->")
        text = f"{text[:begin]}<!-- {name}: begin -->\n{table}\n{text[end:]}"
    README.write_text(text)
    DOCUMENT.write_text(requirements_table())
    write_examples()
