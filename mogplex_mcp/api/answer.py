"""Reading one answer: bounded, unpacked, parsed, and the error in it (documentation, /web/api/errors)."""

from __future__ import annotations

import json
import re
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2
from pydantic_core import from_json

from mogplex_mcp.api.errors import MogplexError

MAX_BYTES = 8 * 1024 * 1024
"""The largest answer that is read, counted both as it travels and unpacked."""
MAX_MESSAGE = 1000
MAX_RETRY_AFTER = 86_400.0
MAX_REQUEST_ID = 128

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-vercel-id", "x-correlation-id", "cf-ray", "x-amzn-trace-id")
_TOKEN = re.compile(r"mog_[A-Za-z0-9_-]{8,}")
_HUGE_NUMBER = re.compile(rb"[0-9][eE]\+?[0-9]{3,}[\s,}\]]|[0-9]{309}")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class TooLargeError(Exception):
    """The answer is larger than ``MAX_BYTES``."""


async def read_body(response: httpx2.Response) -> bytes:
    """The answer's body, unpacked.

    Raises:
        TooLargeError: It is larger than ``MAX_BYTES``; the rest was not read.
        httpx2.HTTPError: The connection broke, or the packing is not what it says.
    """
    coding = length = None
    for name, value in response.headers.raw:
        lowered = name.lower()
        if lowered == b"content-encoding":
            # Layers of compression could make much work out of little data.
            coding = value if coding is None else b","
        elif lowered == b"content-length":
            length = value
    if length is not None and (not length.isdigit() or int(length[:12]) > MAX_BYTES):
        raise TooLargeError
    if coding is not None and b"," in coding:
        raise httpx2.DecodingError("more than one content coding")
    chunks: list[bytes] = []
    size = 0
    # A transport in this process may give the body at once, with nothing left to stream.
    as_it_comes = coding is None and not response.is_stream_consumed
    async with aclosing(response.aiter_raw() if as_it_comes else response.aiter_bytes()) as stream:
        async for chunk in stream:
            size += len(chunk)
            if max(size, response.num_bytes_downloaded) > MAX_BYTES:
                raise TooLargeError
            chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def parse(body: bytes) -> object:
    """The JSON value in an answer's body.

    Half of a surrogate pair, which JavaScript leaves when it cuts a text inside an emoji, becomes U+FFFD.

    Raises:
        ValueError: It is not JSON, is nested too deeply, or holds a number past all bounds.
    """
    try:
        value: object = from_json(body, allow_inf_nan=False)
    except ValueError:
        return _parse_broken_text(body)
    if _HUGE_NUMBER.search(body):
        # Such a number becomes infinity, which is no JSON for whoever gets it next.
        json.dumps(value, allow_nan=False)
    return value


def _parse_broken_text(body: bytes) -> object:
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False, allow_nan=False)
    except RecursionError:
        text = ""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return from_json(whole, allow_inf_nan=False)


def envelope_data(status: int, value: object) -> dict[str, object] | None:
    """The ``data`` of a success; None when this is not one."""
    if isinstance(value, dict) and value.get("ok") is True and 200 <= status < 300:
        data = value.get("data")
        if isinstance(data, dict):
            return data
    return None


def envelope_error(response: httpx2.Response, value: object, credential: str) -> MogplexError | None:
    """The error that Mogplex answered with; None when this is no error envelope.

    Args:
        response: The answer, for status and headers.
        value: Its parsed body.
        credential: Never shown, should the answer quote it.
    """
    if not isinstance(value, dict) or value.get("ok") is not False or not isinstance(value.get("error"), dict):
        return None
    error: dict[str, object] = value["error"]
    code = error.get("code")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return None
    message = error.get("message")
    text = _shown(message, credential) if isinstance(message, str) else ""
    return answer_error(response, code, text or f"Mogplex answered {code} without a message.", credential)


def not_an_envelope(response: httpx2.Response, what: str, credential: str) -> MogplexError:
    """The error for an answer that Mogplex itself would not give.

    Args:
        response: The answer, for status and headers.
        what: What came instead, for example ``an HTML page``.
        credential: Never shown, should the answer quote it.
    """
    status = response.status_code
    code = "INVALID_RESPONSE" if 200 <= status < 300 else "HTTP_ERROR"
    return answer_error(
        response, code, f"HTTP {status} with {what} came instead of an answer of Mogplex's.", credential
    )


def answer_error(
    response: httpx2.Response, code: str, message: str, credential: str, suggestion: str | None = None
) -> MogplexError:
    """An error with what the answer's status and headers tell."""
    return MogplexError(
        code,
        message,
        status=response.status_code,
        retry_after=_retry_after(response.headers),
        request_id=_request_id(response.headers, credential),
        suggestion=suggestion,
    )


def describe(response: httpx2.Response, body: bytes) -> str:
    """What kind of thing came instead of JSON, without quoting it."""
    start = body[:256].lstrip().lower()
    if not start:
        return "nothing in it"
    if b"html" in response.headers.get("content-type", "").lower().encode() or start.startswith(b"<"):
        return "an HTML page"
    return "something that is not whole JSON"


def _shown(text: str, credential: str) -> str:
    """A message fit to be shown: one bounded line without control characters and tokens."""
    # Cut only after the tokens are out: half a token is still a secret.
    safe = _without_tokens(text[: 16 * MAX_MESSAGE], credential, "mog_…")
    line = " ".join("".join(char if char.isprintable() else " " for char in safe).split())
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 1] + "…"


def _without_tokens(text: str, credential: str, instead: str) -> str:
    return _TOKEN.sub(instead, text.replace(credential, instead))


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds, from either form of the header (RFC 9110, section 10.2.3); None when absent or senseless."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", value):
        return min(float(value), MAX_RETRY_AFTER)
    until = _http_date(value)
    if until is None:
        return None
    # Against the answer's own clock, where it tells it: ours may be wrong.
    now = _http_date(headers.get("date", "")) or datetime.now(UTC)
    return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def _http_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value[:64])
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _request_id(headers: httpx2.Headers, credential: str) -> str | None:
    for name in _REQUEST_ID_HEADERS:
        value = headers.get(name, "").strip()[: 4 * MAX_REQUEST_ID]
        value = _without_tokens(value, credential, "")
        value = re.sub(r"[^A-Za-z0-9._:/=+@-]", "", value)[:MAX_REQUEST_ID]
        if value:
            return value
    return None
