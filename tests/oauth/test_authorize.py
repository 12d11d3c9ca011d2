"""The authorization endpoint: what gets to the consent page, what gets a page, and what the answer carries."""

import asyncio
from urllib.parse import urlencode, urlsplit

import pytest

from mogplex_mcp.auth.authorization import RequestGoneError, create_authorization, routes
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.audit import audit_events
from mogplex_mcp.store.credentials import delete_credential
from mogplex_mcp.store.errors import NoCredentialError
from mogplex_mcp.store.store import Store
from tests.oauth.site import CALLBACK, VERIFIER, Site, answer_in, challenge_of, running


async def test_a_good_request_leads_to_the_consent_page(site: Site) -> None:
    """RFC 6749 §4.1.1: the request waits for the person; nothing of it stands in the page's address."""
    client = await site.register(client_name="Agent")

    answer = await site.authorize(client["client_id"], scope="tools:read")

    assert answer.status_code == 303
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer_in(answer.headers["location"])) == {"request"}
    pending = await site.authorization.pending(answer_in(answer.headers["location"])["request"])
    assert pending is not None
    assert pending.request.scopes == ("tools:read",)
    assert pending.request.redirect_uri == CALLBACK
    assert pending.client.name == "Agent"


@pytest.mark.parametrize(
    ("scope", "asked"),
    [
        (None, ("tools:read", "agents:run")),
        ("openid offline_access profile", ("tools:read", "agents:run")),
        ("openid agents:run offline_access", ("agents:run",)),
        ("read", ("tools:read",)),
        ("read write", ("tools:read", "agents:run")),
        ("memories:write", ("tools:read", "agents:run")),
    ],
)
async def test_unknown_scopes_are_dropped_and_none_means_all(
    site: Site, scope: str | None, asked: tuple[str, ...]
) -> None:
    """RFC 6749 §3.3: a server may ignore scopes; hosts send what they like."""
    client = await site.register()

    pending = await site.authorization.pending(await site.request_id(client["client_id"], scope=scope))

    assert pending is not None
    assert pending.request.scopes == asked


@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": "s256"},
        {"code_challenge": "too-short"},
        {"code_challenge": "ä" * 43},
        {"code_challenge": challenge_of(VERIFIER) + "="},
    ],
)
async def test_every_client_needs_pkce_with_s256(site: Site, method: str, changes: dict[str, str | None]) -> None:
    """RFC 7636 §4.3, §4.4.1, OAuth 2.1 §4.1.1: PKCE missing or plain, of confidential clients too."""
    client = await site.register(token_endpoint_auth_method=method)

    problem = await site.refused(await site.authorize(client["client_id"], **changes))

    assert problem.kind == "invalid_request"
    assert problem.back is not None
    assert answer_in(problem.back)["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("changes", "kind", "error"),
    [
        ({"response_type": None}, "invalid_request", "invalid_request"),
        ({"response_type": "token"}, "invalid_request", "unsupported_response_type"),
        ({"response_type": "code id_token"}, "invalid_request", "unsupported_response_type"),
        ({"response_type": '"\\\u20ac'}, "invalid_request", "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request", "invalid_request"),
        ({"request": "eyJ"}, "invalid_request", "request_not_supported"),
        ({"request_uri": "https://a.example/r"}, "invalid_request", "request_uri_not_supported"),
        ({"prompt": "none"}, "interaction_required", "interaction_required"),
        ({"prompt": "consent none"}, "interaction_required", "interaction_required"),
        ({"resource": "https://other.example/mcp"}, "invalid_target", "invalid_target"),
    ],
)
async def test_an_error_is_a_page_with_a_way_back_and_never_a_redirect(
    site: Site, changes: dict[str, str | None], kind: str, error: str
) -> None:
    """RFC 6749 §4.1.2.1, RFC 9207 §2, RFC 9700 §4.11.2: no open redirect by an error or by prompt=none."""
    client = await site.register(client_name="Agent")

    problem = await site.refused(await site.authorize(client["client_id"], **changes))

    assert (problem.kind, problem.client_name) == (kind, "Agent")
    assert problem.back is not None
    assert problem.back.startswith(CALLBACK + "?")
    back = answer_in(problem.back)
    assert (back["error"], back["state"], back["iss"]) == (error, "st-1", site.base)
    assert "code" not in back


async def test_the_page_shows_the_way_back_as_a_link(site: Site) -> None:
    """RFC 9700 §4.11.2: the person goes back by a button of the page."""
    client = await site.register()

    answer = await site.authorize(client["client_id"], prompt="none")

    assert CALLBACK in answer.text
    assert "error=interaction_required" in answer.text


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody", "redirect_uri": "https://evil.example/"},
        {"client_id": "nobody", "redirect_uri": "https://evil.example/", "prompt": "none"},
        {"client_id": "x" * 5_000},
        {"client_id": "\x00"},
        {"client_id": None},
    ],
)
async def test_an_unknown_client_is_never_sent_anywhere(site: Site, changes: dict[str, str | None]) -> None:
    """RFC 6749 §4.1.2.1: without a known client nothing redirects, not even by a button."""
    problem = await site.refused(await site.authorize("", **changes))

    assert problem.kind == ("unknown_client" if changes["client_id"] else "invalid_request")
    assert problem.back is None


@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "state", "scope", "code_challenge", "response_type"])
async def test_a_repeated_parameter_is_refused(site: Site, name: str) -> None:
    """RFC 6749 §3.1: request parameters must not be included more than once."""
    client = await site.register()
    sent = urlencode([*site.parameters(client["client_id"], scope="tools:read").items(), (name, "again")])

    problem = await site.refused(await site.http.get(f"/oauth/authorize?{sent}"))

    assert problem.kind == ("bad_redirect" if name == "redirect_uri" else "invalid_request")
    assert (problem.back is None) == (name in {"client_id", "redirect_uri"})
    if name == "state":
        assert problem.back is not None
        assert "state" not in answer_in(problem.back)


async def test_an_empty_parameter_counts_as_absent(site: Site) -> None:
    """RFC 6749 §3.1: parameters without a value are treated as if they were omitted."""
    client = await site.register()

    pending = await site.authorization.pending(
        await site.request_id(client["client_id"], state="", scope="", prompt="")
    )

    assert pending is not None
    assert pending.request.state is None


@pytest.mark.parametrize("resource", ["{}", "{}/", "HTTP://{}", None])
async def test_the_resource_is_this_endpoint_however_it_is_spelt(site: Site, resource: str | None) -> None:
    """RFC 8707 §2: case of scheme and host and a trailing slash are forgiven; absent means this one."""
    client = await site.register()
    authority = site.resource.removeprefix("http://")
    spelt = None if resource is None else resource.format(authority if "://" in resource else site.resource)

    assert await site.request_id(client["client_id"], resource=spelt)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
async def test_the_names_of_loopback_are_one_audience(site: Site, name: str) -> None:
    """RFC 8707 §2: a host may have been given another name of this machine."""
    client = await site.register()

    assert await site.request_id(client["client_id"], resource=f"http://{name}:{site.base.rpartition(':')[2]}/mcp")


@pytest.mark.parametrize(
    "resource",
    [
        "http://127.0.0.1:1/mcp",
        "{}x",
        "{}/tools",
        "{}?a=b",
        "{}#f",
        "not a url",
        "http://[::1",
        "http://user@{}",
        "\u20ac",
    ],
)
async def test_another_resource_is_an_invalid_target(site: Site, resource: str) -> None:
    """RFC 8707 §2: invalid_target for what is not this endpoint."""
    client = await site.register()

    problem = await site.refused(await site.authorize(client["client_id"], resource=resource.format(site.resource)))

    assert problem.kind == "invalid_target"


async def test_allowing_gives_a_code_with_state_and_issuer(site: Site) -> None:
    """RFC 6749 §4.1.2, RFC 9207 §2: code, the exact state, and iss."""
    client = await site.register()
    state = "a b&c=%20\u20ac/?#"

    location = await site.authorization.approve(
        await site.request_id(client["client_id"], state=state),
        site.account_id,
        ["tools:read"],
        issuer=site.base,
        address="127.0.0.1",
    )

    assert location.startswith(CALLBACK + "?")
    answer = answer_in(location)
    assert set(answer) == {"code", "state", "iss"}
    assert (answer["state"], answer["iss"]) == (state, site.base)
    assert answer["code"].startswith("mgo_ac_")


async def test_denying_tells_the_client(site: Site) -> None:
    """RFC 6749 §4.1.2.1, RFC 9207 §2: access_denied with state and iss."""
    client = await site.register()

    location = await site.authorization.deny(
        await site.request_id(client["client_id"]), site.account_id, issuer=site.base, address="127.0.0.1"
    )

    answer = answer_in(location)
    assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", "st-1", site.base)
    assert "code" not in answer
    assert audit_events(site.store)[0].event == "consent_denied"


@pytest.mark.parametrize("ticked", [[], ["memories:write"], ["agents:run"]])
async def test_ticking_nothing_that_was_asked_for_is_a_denial(site: Site, ticked: list[str]) -> None:
    """RFC 6749 §3.3: what was not asked for cannot be granted."""
    client = await site.register()

    location = await site.authorization.approve(
        await site.request_id(client["client_id"], scope="tools:read"),
        site.account_id,
        ticked,
        issuer=site.base,
        address="127.0.0.1",
    )

    assert answer_in(location)["error"] == "access_denied"


async def test_another_failure_goes_back_with_state_and_issuer(site: Site) -> None:
    """RFC 6749 §4.1.2.1: server_error."""
    client = await site.register()

    location = await site.authorization.fail(
        await site.request_id(client["client_id"]), "server_error", issuer=site.base, address="127.0.0.1"
    )

    assert answer_in(location) == {"error": "server_error", "state": "st-1", "iss": site.base}


async def test_a_request_is_answered_once(site: Site) -> None:
    """RFC 9700 §4.5: a second press of the button gives no second code."""
    client = await site.register()
    request_id = await site.request_id(client["client_id"])
    await site.authorization.deny(request_id, site.account_id, issuer=site.base, address="127.0.0.1")

    assert await site.authorization.pending(request_id) is None
    with pytest.raises(RequestGoneError):
        await site.authorization.approve(
            request_id, site.account_id, ["tools:read"], issuer=site.base, address="127.0.0.1"
        )


async def test_without_a_credential_the_request_waits_for_a_new_sign_in(site: Site) -> None:
    """RFC 6749 §4.1.1: the person signs in again and then answers the same request."""
    client = await site.register()
    request_id = await site.request_id(client["client_id"])
    await site.store.db.call(delete_credential, site.store, site.account_id)

    with pytest.raises(NoCredentialError):
        await site.authorization.approve(
            request_id, site.account_id, ["tools:read"], issuer=site.base, address="127.0.0.1"
        )

    assert await site.authorization.pending(request_id) is not None


@pytest.mark.parametrize(
    "uri",
    [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "com.example.app:/cb",
        "app:///cb",
        "https://a.example/cb?x=1%202&y",
    ],
)
async def test_the_answer_leaves_the_redirect_uri_as_it_is(site: Site, uri: str) -> None:
    """RFC 6749 §3.1.2: the query of a redirect URI is retained, private schemes are not rewritten."""
    client = await site.register(redirect_uris=[uri])

    location = await site.authorization.deny(
        await site.request_id(client["client_id"], redirect_uri=uri), None, issuer=site.base, address="127.0.0.1"
    )

    assert location.startswith(uri + ("&" if "?" in uri else "?") + "error=access_denied")


async def test_the_only_redirect_uri_need_not_be_named(site: Site) -> None:
    """RFC 6749 §3.1.2.3: it may be left out when one is registered, not when there are two."""
    one = await site.register()
    two = await site.register(redirect_uris=[CALLBACK, "https://a.example/cb"])

    pending = await site.authorization.pending(await site.request_id(one["client_id"], redirect_uri=None))
    problem = await site.refused(await site.authorize(two["client_id"], redirect_uri=None))

    assert pending is not None
    assert pending.request.redirect_uri == CALLBACK
    assert problem.kind == "bad_redirect"


async def test_the_endpoint_reads_and_sets_no_cookie(site: Site) -> None:
    """RFC 9700 §4.7: the session's cookie stays on the pages' path."""
    client = await site.register()

    answer = await site.http.get(
        "/oauth/authorize", params=site.parameters(client["client_id"]), headers={"Cookie": "session=x"}
    )

    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "query",
    [
        "client_id=%FF",
        "client_id=%00",
        "=",
        "&&&",
        "client_id",
        "a" * 17_000,
        "&".join(f"p{n}=1" for n in range(70)),
        "%",
    ],
)
async def test_an_unreadable_request_gets_a_page(site: Site, query: str) -> None:
    """RFC 6749 §4.1.2.1: malformed requests never become a server error."""
    problem = await site.refused(await site.http.get(f"/oauth/authorize?{query}"))

    assert problem.back is None


async def test_an_address_that_asks_too_often_has_to_wait(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6585 §4: 429 with Retry-After, on a page."""
    monkeypatch.setattr(routes, "AUTHORIZATIONS_PER_ADDRESS", 3)
    async with running(store, await asyncio.to_thread(create_authorization, settings, store), settings) as site:
        for _ in range(3):
            assert (await site.http.get("/oauth/authorize")).status_code == 400

        answer = await site.http.get("/oauth/authorize")

    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert site.problems[-1].kind == "too_many"


async def test_the_issuer_is_the_name_that_the_browser_used(site: Site) -> None:
    """RFC 9207 §2.4: clients compare iss with the issuer of the metadata they read."""
    client = await site.register()
    authority = f"localhost:{urlsplit(site.base).port}"

    await site.http.get(
        "/oauth/authorize",
        params=site.parameters(client["client_id"], prompt="none"),
        headers={"Host": authority},
    )

    back = site.problems[-1].back
    assert back is not None
    assert answer_in(back)["iss"] == f"http://{authority}"
