"""Records every tool's wire schema anew: ``make snapshots``."""

import json
from pathlib import Path

from mogplex_mcp.tools.registry import TOOLS

SNAPSHOTS = Path(__file__).parent / "schemas"

if __name__ == "__main__":
    SNAPSHOTS.mkdir(exist_ok=True)
    for stale in SNAPSHOTS.glob("*.json"):
        stale.unlink()
    for name, tool in TOOLS.items():
        wire = tool.declaration().model_dump(mode="json", by_alias=True, exclude_none=True)
        (SNAPSHOTS / f"{name}.json").write_text(json.dumps(wire, indent=2, sort_keys=True) + "\n")
