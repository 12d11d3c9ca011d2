"""What an event may show (Mogplex documentation, /web/api/runs, "Event payloads are sanitized server-side").

Sensitive keys are redacted, strings over 2,000 characters cut, arrays and objects capped at 25 items, depth 3, 20 KB.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

MAX_STRING: Final = 2_000
MAX_ITEMS: Final = 25
MAX_DEPTH: Final = 3
MAX_BYTES: Final = 20 * 1024
MAX_MESSAGE: Final = 4_000
"""Characters of an event's message: twice a payload's string, so that an agent's closing words arrive whole."""

REDACTED: Final = "[redacted]"
_CUT: Final = "[truncated]"
_MAX_KEY: Final = 200

_ALWAYS_SECRET = re.compile(
    r"^(env|environ|environment|env_?vars?|environment_?variables)$"
    r"|passw(or)?d|passphrase|secret|credential|authorization|cookie|api_?key|private_?key|access_?key"
    r"|(ai_?)?billing_?source",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"token|bearer", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"\b(?:"
    r"mog_[A-Za-z0-9]{16,}"
    r"|sk-[A-Za-z0-9_-]{16,}"
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
    r"|xox[abeprs]-[A-Za-z0-9-]{10,}"
    r"|npm_[A-Za-z0-9]{30,}"
    r"|AKIA[A-Z0-9]{16}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
    r")"
)
_ASSIGNED = re.compile(r"\b([A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|PASSWD|API_KEY|ACCESS_KEY|PRIVATE_KEY)[A-Z0-9_]*)=(\S+)")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)


def clean_text(value: str, limit: int = MAX_STRING) -> str:
    """Text with everything that looks like a credential redacted, cut to ``limit`` characters."""
    # A credential that straddles the cut must go too, so look a little further than what is kept.
    text = value[: limit + 500].encode("utf-8", "replace").decode()
    text = _SECRET_TEXT.sub(REDACTED, text)
    text = _ASSIGNED.sub(rf"\1={REDACTED}", text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    return text if len(value) <= limit and len(text) <= limit else text[: limit - 1] + "…"


def clean_payload(payload: Mapping[str, object]) -> str:
    """A payload as the JSON text that is stored and shown, at most 20 KB of it."""
    text = _dump(_clean(dict(payload), depth=1))
    if len(text.encode()) <= MAX_BYTES:
        return text
    return _dump({"truncated": True, "bytes": len(text.encode()), "preview": text[:MAX_STRING]})


def _clean(value: object, depth: int) -> object:
    if isinstance(value, Mapping | Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return _clean_container(value, depth) if depth <= MAX_DEPTH else _CUT
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return clean_text(str(value))


def _clean_container(value: Mapping[object, object] | Iterable[object], depth: int) -> object:
    if isinstance(value, Mapping):
        items = islice(value.items(), MAX_ITEMS)
        return {clean_text(str(key), _MAX_KEY): _member(str(key), item, depth) for key, item in items}
    return [_clean(item, depth + 1) for item in islice(value, MAX_ITEMS)]


def _member(key: str, value: object, depth: int) -> object:
    # `input_tokens: 812` is a count, `token: "…"` is a secret.
    plain = key.replace("-", "_")
    if _ALWAYS_SECRET.search(plain) or (_TOKEN.search(plain) and not isinstance(value, bool | int | float)):
        return value if value is None else REDACTED
    return _clean(value, depth + 1)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
