"""What an event may show (Mogplex documentation, /web/api/runs)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mogplex_mcp.local.sanitize import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_STRING,
    REDACTED,
    clean_payload,
    clean_text,
)

SECRETS = [
    "mog_AbCdEf1234567890aBcDeF1234567890",
    "sk-ant-api03-abcdefghijklmnopqrstuvwxyz",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "github_pat_11ABCDEFG0abcdefghijklmnop",
    "xoxb-123456789012-abcdefghijkl",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(), inner, max_size=40),
    max_leaves=60,
)


def cleaned(**payload: object) -> dict[str, object]:
    value: dict[str, object] = json.loads(clean_payload(payload))
    return value


@pytest.mark.parametrize(
    "key",
    [
        *("env", "envVars", "env_vars", "environment", "Authorization", "api_key", "apiKey", "API-KEY", "password"),
        *("githubToken", "GITHUB_TOKEN", "access_token", "clientSecret", "aiBillingSource", "billing_source"),
        *("cookie", "Set-Cookie", "privateKey", "credentials", "passphrase"),
    ],
)
@pytest.mark.parametrize("value", ["text", {"A": "b"}, ["a"]])
def test_sensitive_keys_are_redacted_whatever_they_hold(key: str, value: object) -> None:
    assert cleaned(**{key: value}) == {key: REDACTED}
    assert cleaned(outer={key: value}) == {"outer": {key: REDACTED}}


def test_counts_of_tokens_and_plain_words_stay() -> None:
    usage = {
        "input_tokens": 812,
        "output_tokens": 3,
        "cached": True,
        "path": "src/env.py",
        "monkey": "x",
    }
    assert cleaned(usage=usage) == {"usage": usage}
    assert cleaned(token=None) == {"token": None}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("template", ["{}", "use {} now", "a={};", '"{}"', "https://x:{}@host/"])
def test_what_looks_like_a_credential_is_redacted_in_text(secret: str, template: str) -> None:
    text = clean_text(template.format(secret))
    assert secret not in text
    assert REDACTED in text
    assert secret not in clean_payload({"command": [template.format(secret)], template.format(secret): 1})


@pytest.mark.parametrize("text", ["DB_PASSWORD=hunter2", "GH_TOKEN=abc run", "Authorization: Bearer abcdefgh1234"])
def test_assigned_and_carried_secrets_are_redacted(text: str) -> None:
    assert not any(secret in clean_text(text) for secret in ("hunter2", "=abc", "abcdefgh1234"))


def test_a_credential_across_the_cut_does_not_leave_a_half() -> None:
    text = clean_text("x" * (MAX_STRING - 10) + " " + SECRETS[0])
    assert "mog_" not in text


def test_long_strings_are_cut() -> None:
    (value,) = cleaned(text="y" * 5000).values()
    assert isinstance(value, str)
    assert len(value) == MAX_STRING
    assert cleaned(text="y" * MAX_STRING) == {"text": "y" * MAX_STRING}


def test_items_depth_and_size_are_capped() -> None:
    value = cleaned(items=list(range(100)), deep={"a": {"b": {"c": 1}}}, **{f"k{n}": n for n in range(100)})
    assert len(value) == MAX_ITEMS
    assert value["items"] == list(range(MAX_ITEMS))
    assert value["deep"] == {"a": {"b": "[truncated]"}}
    large = clean_payload({str(n): "z" * 1900 for n in range(25)})
    assert len(large.encode()) <= MAX_BYTES
    assert json.loads(large)["truncated"] is True


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=40))
def test_any_payload_becomes_bounded_json(payload: dict[str, object]) -> None:
    text = clean_payload(payload)
    assert len(text.encode()) <= MAX_BYTES
    value = json.loads(text)
    assert isinstance(value, dict)
    assert depth(value) <= MAX_DEPTH


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@settings(deadline=None)
@given(st.text(), st.integers(2, 100))
def test_text_never_exceeds_its_limit(text: str, limit: int) -> None:
    assert len(clean_text(text, limit)) <= limit
