"""JSON as it is written: compact, and always UTF-8."""

from __future__ import annotations

import json


def encode(value: object) -> str:
    """Compact JSON. A lone surrogate, which UTF-8 cannot carry, becomes U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
