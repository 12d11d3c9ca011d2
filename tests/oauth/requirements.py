"""The table of requirements: ``docs/oauth-requirements.md``, written by ``make tables`` from the tests' docstrings.

A test's docstring begins with where the requirement stands: ``RFC 6749 §4.1.2: a code is spent once``.
"""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parent.parent / "docs" / "oauth-requirements.md"

_STATED = re.compile(r"(?P<where>(?:RFC|OAuth|OpenID|MCP|draft-)[^:]*?): (?P<what>.+)")
_HEAD = """# OAuth: requirement, source, test

Each line is a test that speaks to the server from outside, over HTTP, as a stranger would. Run them with
`.venv/bin/pytest tests/oauth`. The table is written from the tests by `make tables`.

| requirement | source | test |
| --- | --- | --- |
"""


def requirements_table() -> str:
    """The document's text."""
    rows = sorted(row for path in HERE.glob("test_*.py") for row in _rows(path))
    return _HEAD + "".join(f"| {what} | {where} | `{test}` |\n" for where, what, test in rows)


def _rows(path: Path) -> list[tuple[str, str, str]]:
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            stated = _STATED.match(" ".join((ast.get_docstring(node) or "").split()))
            if stated is not None:
                what = stated["what"].rstrip(".").replace("|", "\\|")
                found.append((stated["where"], what, f"{path.stem}.{node.name}"))
    return found
