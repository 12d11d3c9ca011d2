"""The body of POST /runs: its bounds, and the hash that tells a repeat from another request.

Fields as in the Mogplex documentation, /web/api/runs. Unknown ones are ignored: the hosted service grows.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, ValidationError
from pydantic.alias_generators import to_camel

from mogplex_mcp.local import git
from mogplex_mcp.local.errors import ApiError, bad_request

MAX_PROMPT = 100_000
MAX_KEY = 200
_MAX_HINT = 200
_MAX_PATH = 1_000


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _whole(value: str) -> str:
    """JSON can write half of a surrogate pair, which no file and no database takes."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode") from error
    return value


Text = Annotated[str, AfterValidator(_whole)]
Required = Annotated[Text, AfterValidator(_not_blank)]
Hint = Annotated[Text | None, Field(None, max_length=_MAX_HINT)]


class StartRunBody(BaseModel):
    """What a caller asks for. Everything but the first two may be left out or null."""

    model_config = ConfigDict(alias_generator=to_camel, strict=True, frozen=True, extra="ignore")

    repo_id: Annotated[Required, Field(max_length=_MAX_HINT)]
    prompt: Annotated[Required, Field(max_length=MAX_PROMPT)]
    harness: Hint
    base_branch: Hint
    working_branch: Hint
    create_branch: StrictBool | None = None
    root_directory: Annotated[Text | None, Field(None, max_length=_MAX_PATH)]
    conversation_id: Hint
    workspace_session_id: Hint
    mode: Hint


def parse_json(body: bytes) -> dict[str, object]:
    """The request's JSON object.

    Raises:
        ApiError: BAD_REQUEST; it is not JSON (RFC 8259), not an object, or nested beyond reason.
    """
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ApiError("BAD_REQUEST", "The body must be valid JSON.") from error
    if not isinstance(value, dict):
        raise ApiError("BAD_REQUEST", "The body must be a JSON object.")
    return value


def canonical_hash(body: dict[str, object]) -> str:
    """A hash that is the same for the same JSON, however it was written down."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_key(key: str | None) -> str:
    """The idempotency key (Mogplex documentation, /web/api/authentication).

    Raises:
        ApiError: BAD_REQUEST; it is missing or longer than 200 characters.
    """
    if not key:
        raise ApiError("BAD_REQUEST", "Idempotency-Key is required")
    if len(key) > MAX_KEY:
        raise ApiError("BAD_REQUEST", f"Idempotency-Key: must have at most {MAX_KEY} characters")
    return key


def parse_body(body: dict[str, object]) -> StartRunBody:
    """The validated body.

    Raises:
        ApiError: BAD_REQUEST that names the first field that is wrong.
    """
    try:
        request = StartRunBody.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        problem = {
            "missing": "is required",
            "string_type": "must be a string",
            "bool_type": "must be true or false",
        }.get(first["type"])
        if problem is None and first["type"] == "string_too_long":
            problem = f"must have at most {first['ctx']['max_length']} characters"
        raise bad_request(str(first["loc"][0]), problem or first["msg"].removeprefix("Value error, ")) from None
    for field, name in (("baseBranch", request.base_branch), ("workingBranch", request.working_branch)):
        _check_branch(field, name)
    if request.root_directory:
        try:
            git.check_root_directory(request.root_directory)
        except ValueError as error:
            raise bad_request("rootDirectory", str(error)) from error
    return request


def _check_branch(field: str, name: str | None) -> None:
    if name is None:
        return
    try:
        git.check_branch_name(name)
    except git.InvalidBranch as error:
        raise bad_request(field, str(error)) from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
