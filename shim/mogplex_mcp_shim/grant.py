"""What a sign-in gave us: the tokens for one resource of one issuer, and the client that obtained them."""

from __future__ import annotations

import time

Record = dict[str, object]


def text(record: Record, name: str) -> str | None:
    """The field `name` if it is a text that is not empty."""
    value = record.get(name)
    return value if isinstance(value, str) and value else None


def table(record: Record, name: str) -> Record:
    """The field `name` if it is an object, else an empty one."""
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def is_bearer(value: str) -> bool:
    """Whether a text can stand in an Authorization header (RFC 6750, section 2.1, taken generously)."""
    return bool(value) and len(value) <= 65_536 and all("!" <= char <= "~" for char in value)


class Grant:
    """One entry of ours in auth.json, found by issuer and resource. Times are in s since 1970."""

    __slots__ = ("issuer", "record", "resource")

    def __init__(self, issuer: str, resource: str, record: Record) -> None:
        self.issuer = issuer
        self.resource = resource
        self.record = record

    @property
    def access_token(self) -> str:
        return text(self.record, "access_token") or ""

    @property
    def refresh_token(self) -> str | None:
        return text(self.record, "refresh_token")

    @property
    def grant_id(self) -> str | None:
        """Names the sign-in: refreshing keeps it, signing in again changes it."""
        return text(self.record, "grant_id")

    @property
    def scope(self) -> str | None:
        """What was granted, or asked for where the server did not say."""
        return text(self.record, "scope")

    @property
    def expires_at(self) -> float | None:
        value = self.record.get("expires_at")
        return float(value) if isinstance(value, int | float) else None

    @property
    def issued_at(self) -> float:
        value = self.record.get("issued_at")
        return float(value) if isinstance(value, int | float) else 0.0

    def is_fresh(self) -> bool:
        """Whether the access token was issued a moment ago."""
        return self._is_recent("issued_at")

    def was_refreshed(self) -> bool:
        """Whether the access token came from a refresh, not from the sign-in itself."""
        return self.record.get("signed_in_at") != self.record.get("issued_at")

    def is_new(self) -> bool:
        """Whether the person signed in a moment ago."""
        return self._is_recent("signed_in_at")

    def _is_recent(self, name: str) -> bool:
        """Less than a minute ago if the token should still be good; some servers' tokens are expired on arrival."""
        value = self.record.get(name)
        now = time.time()
        expired = self.expires_at is not None and self.expires_at <= now
        return isinstance(value, int | float) and 0 <= now - value < (15 if expired else 60)


def grant_for(section: Record, url: str) -> Grant | None:
    """Our newest entry for exactly this MCP server URL."""
    found: list[Grant] = []
    for issuer, resources in table(section, "grants").items():
        if isinstance(resources, dict):
            for resource, record in resources.items():
                if (
                    isinstance(record, dict)
                    and record.get("url") == url
                    and is_bearer(text(record, "access_token") or "")
                ):
                    found.append(Grant(issuer, resource, record))
    return max(found, key=lambda grant: grant.issued_at, default=None)
