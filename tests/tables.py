"""Writes the README's generated tables anew: ``make tables``."""

from pathlib import Path

from mogplex_mcp.settings import configuration_table
from mogplex_mcp.tools.registry import tools_table

README = Path(__file__).parent.parent / "README.md"

if __name__ == "__main__":
    text = README.read_text()
    for name, table in (("configuration", configuration_table()), ("tools", tools_table())):
        begin, end = text.index(f"<!-- {name}: begin -->\n"), text.index(f"<!-- {name}: end -->")
        text = f"{text[:begin]}<!-- {name}: begin -->\n{table}\n{text[end:]}"
    README.write_text(text)
