"""Forms as browsers send them, read within bounds (WHATWG URL standard, application/x-www-form-urlencoded)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

MAX_FORM_BYTES = 16 * 1024
MAX_FIELDS = 64
READ_SECONDS = 10.0


class FormError(ValueError):
    """The body is no form, too large, too slow, or not text."""


@dataclass(frozen=True)
class Form:
    """What a form held; never shown in logs, because a field may be a secret."""

    fields: Mapping[str, tuple[str, ...]] = field(repr=False)

    def one(self, name: str) -> str:
        """The only value of a field; empty when there is none or more than one."""
        values = self.fields.get(name, ())
        return values[0] if len(values) == 1 else ""

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a field."""
        return self.fields.get(name, ())


async def read_form(request: Request) -> Form:
    """The form in a request's body.

    Raises:
        FormError: It is not a form of at most 16 KiB and 64 fields that arrives within 10 s.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise FormError("not application/x-www-form-urlencoded")
    body = bytearray()
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_FORM_BYTES:
                    raise FormError("too large")
    except TimeoutError:
        raise FormError("too slow") from None
    except ClientDisconnect:
        raise FormError("not complete") from None
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        # Outside the handler's chain on purpose: the error would quote what was typed.
        pairs = None
    if pairs is None or any("\x00" in name or "\x00" in value for name, value in pairs):
        raise FormError("not text")
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        fields[name] = (*fields.get(name, ()), value)
    return Form(fields)
