"""What every page and every form keeps to, whatever it is about."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from mogplex_mcp.auth.form import MAX_FORM_BYTES
from mogplex_mcp.auth.shown_text import destination, shown_name
from mogplex_mcp.store.store import Store
from tests.authorization_server import Mogplex
from tests.pages.conftest import hosted_site
from tests.pages.hosting import Client, Site, Visitor, hidden_fields

CONSENT = "/account/consent"
CONNECTIONS = "/account/connections"
FORMS = (
    "/account/signin/local",
    "/account/signin/pat",
    "/account/signout",
    CONSENT,
    f"{CONNECTIONS}/scopes",
    f"{CONNECTIONS}/revoke",
    f"{CONNECTIONS}/revoke-all",
    "/account/token",
)


async def every_page(site: Site) -> AsyncIterator[httpx2.Response]:
    """Each kind of page there is."""
    client = await Client.register(site)
    visitor = site.visitor()
    request = await client.begin(visitor)
    yield await visitor.get("/")
    yield await visitor.get("/account/signin")
    yield await visitor.get(f"/account/signin?request={request}")
    yield await visitor.get("/account/signin/local?code=ABCDE-FGHJK")
    yield await visitor.get("/account/nowhere")
    yield await visitor.get(f"{CONSENT}?request=gone")
    yield await visitor.get("/oauth/authorize?client_id=unknown")
    await site.sign_in_locally(visitor)
    yield await visitor.get(f"{CONSENT}?request={request}")
    yield await visitor.get(CONNECTIONS)


async def test_every_page_forbids_framing_scripts_and_caching(site: Site) -> None:
    async for page in every_page(site):
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["referrer-policy"] == "same-origin"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in page.headers


async def test_every_page_works_without_script_and_names_its_language(site: Site) -> None:
    async for page in every_page(site):
        assert '<html lang="en">' in page.text
        assert 'name="viewport"' in page.text
        assert "<main>" in page.text
        assert page.text.count("<h1") == 1
        assert "<script" not in page.text
        assert " style=" not in page.text
        assert " on" not in "".join(part.partition(">")[0] for part in page.text.split("<button")[1:])


async def test_only_a_page_whose_form_ends_elsewhere_leaves_form_action_open(site: Site, hosted: Site) -> None:
    client = await Client.register(site)
    visitor = site.visitor()
    request = await client.begin(visitor)
    await site.sign_in_locally(visitor, request)
    consent = await visitor.get(f"{CONSENT}?request={request}")
    connections = await visitor.get(CONNECTIONS)
    mogplex = await hosted.visitor().get("/account/signin")
    assert "form-action" not in consent.headers["content-security-policy"]
    assert "form-action" not in mogplex.headers["content-security-policy"]
    assert "form-action 'self'" in connections.headers["content-security-policy"]


async def test_the_stylesheet_is_served_under_an_address_of_its_content(site: Site) -> None:
    visitor = site.visitor()
    page = await visitor.get("/")
    address = page.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    sheet = await visitor.get(address)
    assert sheet.status_code == 200
    assert sheet.headers["content-type"].startswith("text/css")
    assert "immutable" in sheet.headers["cache-control"]


# The cookie.


async def test_the_cookie_is_for_the_account_pages_alone_and_out_of_reach_of_scripts(site: Site) -> None:
    answer = await site.visitor().get("/account/signin")
    (cookie,) = answer.headers.get_list("set-cookie")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"path=/account", "httponly", "samesite=lax"}
    assert cookie.partition("=")[2].partition(";")[0].isascii()


async def test_on_https_the_cookie_is_secure_and_named_so(home: Path, store: Store, mogplex: Mogplex) -> None:
    async with hosted_site(home, store, mogplex, mcp_public_url="https://mcp.example.com") as site:
        answer = await site.visitor().get("/account/signin", Host="mcp.example.com")
        (cookie,) = answer.headers.get_list("set-cookie")
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert cookie.startswith("__Secure-mogplex-mcp=")
        assert attributes == {"path=/account", "httponly", "samesite=lax", "secure"}


@pytest.mark.parametrize("path", ["/", "/oauth/authorize?client_id=x", "/.well-known/oauth-authorization-server"])
async def test_no_cookie_is_set_outside_the_account_pages(site: Site, path: str) -> None:
    assert "set-cookie" not in (await site.visitor().get(path)).headers


async def test_loading_pages_stores_nothing(site: Site, store: Store) -> None:
    for _ in range(5):
        await site.visitor().get("/account/signin")
    with store.db.read() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM sessions").scalar() == 0


@pytest.mark.parametrize("value", ["", "x", "'; DROP TABLE sessions; --", "%C3%A9" * 20, "A" * 5000])
async def test_a_cookie_that_is_none_of_ours_is_nobody(site: Site, value: str) -> None:
    name = f"mogplex-mcp-{site.base.rpartition(':')[2]}"
    answer = await site.visitor().get(CONNECTIONS, Cookie=f"{name}={value}")
    assert answer.status_code == 303


# Forms.


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://127.0.0.1:1", "https://127.0.0.1"])
async def test_a_form_from_another_origin_or_none_is_refused(site: Site, path: str, origin: str) -> None:
    visitor = site.visitor()
    await site.sign_in_locally(visitor)
    page = await visitor.get(CONNECTIONS)
    answer = await visitor.post(path, hidden_fields(page.text, "/account/signout"), origin=origin)
    assert answer.status_code == 403
    assert "location" not in answer.headers


@pytest.mark.parametrize("path", [path for path in FORMS if not path.endswith("/pat")])
async def test_a_form_without_its_token_or_with_another_forms_is_refused(site: Site, path: str) -> None:
    visitor = site.visitor()
    await site.sign_in_locally(visitor)
    page = await visitor.get(CONNECTIONS)
    others = {"csrf": "0" * 64} if path == "/account/signout" else hidden_fields(page.text, "/account/signout")
    for fields in ({}, {"csrf": ""}, others):
        answer = await visitor.post(path, {**fields, "code": await site.local_code(), "grant": "x"})
        assert answer.status_code == 403, fields
        assert "cannot be accepted" in answer.text


@pytest.mark.parametrize("path", ["/account/signin/pat", "/account/signin/mogplex"])
async def test_a_sign_in_that_another_page_wants_does_not_happen(hosted: Site, mogplex: Mogplex, path: str) -> None:
    token = "mog_" + "E" * 32
    mogplex.access[token] = "eve"
    visitor = hosted.visitor()
    form = hidden_fields((await visitor.get("/account/signin")).text, path)
    for fields in ({}, {"csrf": ""}, {**form, "request": "x"}):
        answer = await visitor.post(path, {**fields, "token": token})
        assert answer.status_code == 403, fields
        assert "cannot be accepted" in answer.text
    assert (await visitor.post(path, {**form, "token": token})).status_code == 303


async def test_a_form_token_of_one_browser_is_worth_nothing_in_another(site: Site) -> None:
    mine, theirs = site.visitor(), site.visitor()
    await site.sign_in_locally(mine)
    await site.sign_in_locally(theirs)
    page = await mine.get(CONNECTIONS)
    answer = await theirs.post("/account/signout", hidden_fields(page.text, "/account/signout"))
    assert answer.status_code == 403


async def test_a_form_token_of_one_request_is_worth_nothing_for_another(site: Site) -> None:
    client, other = await Client.register(site), await Client.register(site, "Other")
    visitor = site.visitor()
    await site.sign_in_locally(visitor)
    first, second = await client.begin(visitor), await other.begin(visitor)
    page = await visitor.get(f"{CONSENT}?request={first}")
    fields = {**hidden_fields(page.text, CONSENT), "request": second, "scope": "tools:read", "decision": "allow"}
    answer = await visitor.post(CONSENT, fields)
    assert answer.status_code == 403
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"a=" + b"x" * MAX_FORM_BYTES),
        ("application/x-www-form-urlencoded", b"&".join(b"a=b" for _ in range(500))),
        ("application/x-www-form-urlencoded", b"code=%00"),
        ("application/x-www-form-urlencoded", b"code=%ff%fe"),
        ("application/x-www-form-urlencoded", b"\xff\xfe"),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("application/json", b"{}"),
        ("text/plain", b"a=b"),
        ("", b""),
    ],
)
@pytest.mark.parametrize("path", [CONSENT, "/account/signin/local"])
async def test_what_is_no_form_is_a_clear_page(site: Site, path: str, content_type: str, body: bytes) -> None:
    visitor = site.visitor()
    headers = {"Origin": site.base, **({"Content-Type": content_type} if content_type else {})}
    answer = await visitor.http.post(site.base + path, content=body, headers=headers)
    assert answer.status_code == 400
    assert "cannot be read" in answer.text


@pytest.mark.parametrize("path", [*FORMS, "/", "/account/signin/mogplex/callback"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_do_nothing(site: Site, path: str, method: str) -> None:
    answer = await site.visitor().http.request(method, site.base + path, headers={"Origin": site.base})
    assert answer.status_code in {404, 405}


async def test_another_persons_agent_is_out_of_reach(hosted: Site, mogplex: Mogplex) -> None:
    mogplex.access |= {"mog_" + "A" * 32: "ada", "mog_" + "B" * 32: "bob"}
    ada, bob = hosted.visitor(), hosted.visitor()
    for visitor, letter in ((ada, "A"), (bob, "B")):
        page = await visitor.get("/account/signin")
        await visitor.submit(page, "/account/signin/pat", token="mog_" + letter * 32)
    client = await Client.register(hosted)
    request = await client.begin(ada)
    page = await ada.get(f"{CONSENT}?request={request}")
    await ada.submit(page, CONSENT, scope=["tools:read"], decision="allow")
    adas = hidden_fields((await ada.get(CONNECTIONS)).text, f"{CONNECTIONS}/revoke")
    assert (await bob.post(f"{CONNECTIONS}/revoke", adas)).status_code == 403
    assert "Test host" in (await ada.get(CONNECTIONS)).text


async def test_a_database_that_fails_is_a_clear_page_too(site: Site, store: Store) -> None:
    visitor = site.visitor()
    await site.sign_in_locally(visitor)
    with store.db.write() as conn:
        conn.exec_driver_sql("ALTER TABLE sessions RENAME TO lost")
    answer = await visitor.get(CONNECTIONS)
    assert answer.status_code == 500
    assert "Something went wrong here" in answer.text
    assert "sessions" not in answer.text


# DNS rebinding, redirects.


async def test_a_page_under_a_foreign_name_is_refused(site: Site) -> None:
    for path in ("/", "/account/signin", CONNECTIONS):
        assert (await site.visitor().get(path, Host="rebound.example.com")).status_code == 403


@pytest.mark.parametrize("request_id", ["//evil.example", "https://evil.example", "/\\evil.example", "x&why=y"])
async def test_no_parameter_leads_out_of_the_site(site: Site, request_id: str) -> None:
    visitor: Visitor = site.visitor()
    form = await visitor.get("/account/signin")
    fields = {**hidden_fields(form.text, "/account/signin/local"), "request": request_id}
    answer = await visitor.post("/account/signin/local", {**fields, "code": await site.local_code()})
    assert answer.status_code == 403
    for path in ("/account/signin", CONSENT):
        shown = await visitor.http.get(site.base + path, params={"request": request_id, "next": request_id})
        assert shown.status_code == 410


async def test_an_unknown_client_is_told_how_to_be_forgotten_and_led_nowhere(site: Site) -> None:
    address = "/oauth/authorize?client_id=gone&redirect_uri=https://evil.example/cb&response_type=code"
    answer = await site.visitor().get(address)
    assert answer.status_code == 400
    assert "claude mcp remove mogplex" in answer.text
    assert "evil.example" not in answer.text


async def test_an_error_of_a_known_client_is_a_page_with_a_button_that_goes_back(site: Site, client: Client) -> None:
    answer = await site.visitor().get(client.authorize_url(prompt="none"))
    assert answer.status_code == 400
    assert "location" not in answer.headers
    back = answer.text.partition('<a class="button" href="')[2].partition('"')[0]
    assert back.startswith(f"{client.redirect_uri}?")
    assert "error=interaction_required" in back
    assert f"state={client.state}" in back


# Text from outside.


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Claude Code", "Claude Code"),
        ("  a \n\t b  ", "a b"),
        ("\u202egnp.exe", "gnp.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("\u2067x\u2069", "x"),
        ("", "nobody"),
        (None, "nobody"),
        ("\u3164\u2800", "nobody"),
        ("\u0301\u0301", "nobody"),
        ("x" * 100, "x" * 59 + "…"),
        ("日本語のホスト", "日本語のホスト"),
        ("\ud800lone", "lone"),
        ("a" + "\u0335" * 9, "a\u0335\u0335"),
    ],
)
def test_a_name_is_made_fit_to_show(given: str | None, shown: str) -> None:
    assert shown_name(given, otherwise="nobody") == shown


@pytest.mark.parametrize(
    ("uri", "kind", "words"),
    [
        ("https://claude.ai/api/mcp/auth_callback", "web", "claude.ai"),
        ("https://xn--pypal-4ve.com/cb", "web", "xn--pypal-4ve.com"),
        ("https://p\u0430ypal.com/cb", "web", "xn--pypal-4ve.com"),
        ("http://localhost:4711/cb", "loopback", "localhost:4711"),
        ("http://127.0.0.1/cb", "loopback", "127.0.0.1"),
        ("http://[::1]:5/cb", "loopback", "[::1]:5"),
        ("cursor://anysphere.cursor-mcp/oauth/callback", "app", "cursor:"),
        ("com.example.app:/cb", "app", "com.example.app:"),
    ],
)
def test_a_destination_is_named_by_what_decides_who_gets_it(uri: str, kind: str, words: str) -> None:
    assert (destination(uri).kind, destination(uri).words) == (kind, words)
