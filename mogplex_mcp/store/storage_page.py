"""What ``docs/storage.md`` says of the tables, made from their definitions by ``make tables``."""

from __future__ import annotations

from mogplex_mcp.store.tables import metadata


def storage_tables() -> str:
    """Every table with its lifetime and fields, in Markdown."""
    sections = []
    for table in metadata.tables.values():
        rows = [f"### `{table.name}`", "", f"Lifetime: {table.info['lifetime']}.", ""]
        rows += ["| field | what | kept |", "| --- | --- | --- |"]
        rows += [f"| `{column.name}` | {column.doc} | {column.info.get('kept', '')} |" for column in table.columns]
        sections.append("\n".join(rows))
    return "\n\n".join(sections)
