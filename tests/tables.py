"""Writes the README's generated tables anew: ``make tables``."""

import re
from pathlib import Path

from mogplex_mcp.settings import configuration_table
from mogplex_mcp.tools.registry import tools_table

README = Path(__file__).parent.parent / "README.md"

if __name__ == "__main__":
    text = README.read_text()
    for name, table in (("configuration", configuration_table()), ("tools", tools_table())):
        marks = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
        text = marks.sub(lambda mark, table=table: f"{mark[1]}{table}\n{mark[2]}", text)
    README.write_text(text)
