"""The README's generated tables are what the code says today."""

import re
from pathlib import Path

from mogplex_mcp.settings import configuration_table
from mogplex_mcp.tools.registry import tools_table

README = (Path(__file__).parent.parent / "README.md").read_text()


def generated(name: str) -> str:
    found = re.search(rf"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", README, re.DOTALL)
    assert found is not None, f"README.md has no {name} table"
    return found[1]


def test_the_configuration_table_is_the_settings() -> None:
    assert generated("configuration") == configuration_table(), "record it with: make tables"


def test_the_tools_table_is_the_registry() -> None:
    assert generated("tools") == tools_table(), "record it with: make tables"
