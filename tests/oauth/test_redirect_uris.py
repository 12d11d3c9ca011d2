"""Redirect URIs: which a client may have, and every trick to be sent elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mogplex_mcp.auth.authorization.redirect_uris import RedirectUriError, check_redirect_uri, matches
from tests.oauth.site import Site

GOOD = (
    "https://claude.ai/api/mcp/auth_callback",
    "https://vscode.dev/redirect",
    "https://www.cursor.com/agents/mcp/oauth/callback",
    "https://a.example:8443/cb?x=1",
    "https://a.example",
    "https://[2001:db8::1]/cb",
    "http://localhost/callback",
    "http://localhost:3118/callback",
    "http://127.0.0.1:33418/",
    "http://127.0.0.1",
    "http://[::1]:9/cb",
    "cursor://anysphere.cursor-mcp/oauth/callback",
    "com.example.app:/cb",
    "vscode://ms.id/cb",
    "myapp:///cb",
)
BAD = (
    "",
    "/cb",
    "//a.example/cb",
    "a.example/cb",
    "https:",
    "https://",
    "https:/a.example/cb",
    "https:a.example",
    "https:///cb",
    "HTTPS://a.example/cb",
    "https://a.example/cb#f",
    "https://a.example/cb#",
    "https://user@a.example/cb",
    "https://user:pw@a.example/cb",
    "https://a.example@evil.example/cb",
    "https://*.example/cb",
    "https://a.example/*",
    "https://a.example\\@evil.example/cb",
    "https://a.example\\cb",
    "https://a.example/c b",
    "https://a.example/\t",
    "https://a.example/\x00",
    "https://\u0430.example/cb",
    "https://a%2eexample/cb",
    "https://a.example:0/cb",
    "https://a.example:99999/cb",
    "https://a.example:x/cb",
    "https://a.example:/cb",
    "https://-a.example/cb",
    "https://a.example/%zz",
    "http://a.example/cb",
    "http://localhost.evil.example/cb",
    "http://localhost@evil.example/cb",
    "http://127.0.0.1.evil.example/cb",
    "http://127.0.0.2/cb",
    "http://127.1/cb",
    "http://2130706433/cb",
    "http://0x7f000001/cb",
    "http://0.0.0.0/cb",
    "http://[::]/cb",
    "http://[::ffff:127.0.0.1]/cb",
    "http://LOCALHOST/cb",
    "http://localhost./cb",
    "http://192.168.1.1/cb",
    "http:localhost/cb",
    "cursor:",
    "cursor:/",
    "cursor://",
    "cursor:callback",
    "cursor://user@host/cb",
    "urn:ietf:wg:oauth:2.0:oob",
    "https://a.example/" + "x" * 2_000,
)
FORBIDDEN = (
    "javascript",
    "JavaScript",
    "data",
    "vbscript",
    "file",
    "blob",
    "about",
    "mailto",
    "tel",
    "sms",
    "ms-settings",
    "ms-msdt",
    "search-ms",
    "intent",
    "view-source",
    "ftp",
    "ws",
    "wss",
    "chrome",
    "chrome-extension",
    "moz-extension",
    "filesystem",
    "jar",
    "smb",
    "ssh",
    "ldap",
    "itms-services",
    "web+app",
)


@pytest.mark.parametrize("uri", GOOD)
def test_what_hosts_use_is_accepted(uri: str) -> None:
    """RFC 8252 §7.1, §7.2, §7.3: https, loopback and private schemes."""
    assert check_redirect_uri(uri) == uri
    assert matches([uri], uri)


@pytest.mark.parametrize("uri", [*BAD, *(f"{scheme}://host/cb" for scheme in FORBIDDEN), "javascript:/alert(1)"])
async def test_what_could_lead_elsewhere_cannot_be_registered(site: Site, uri: str) -> None:
    """RFC 7591 §3.2.2, RFC 9700 §4.1: fragment, userinfo, wildcard, encoded, backslash, browser and system schemes."""
    answer = await site.http.post("/oauth/register", json={"redirect_uris": ["https://a.example/cb", uri]})

    assert (answer.status_code, site.error(answer)) == (400, "invalid_redirect_uri")


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("http://localhost/callback", "http://localhost:51234/callback"),
        ("http://localhost:3118/callback", "http://localhost:51234/callback"),
        ("http://localhost:3118/callback", "http://localhost/callback"),
        ("http://127.0.0.1:1/", "http://127.0.0.1:65535/"),
        ("http://[::1]/cb?x=1", "http://[::1]:8080/cb?x=1"),
    ],
)
async def test_on_loopback_the_port_may_differ(site: Site, registered: str, asked: str) -> None:
    """RFC 8252 §7.3: any port at the time of the request; also the portless registration of Claude Code."""
    client = await site.register(redirect_uris=[registered])

    pending = await site.authorization.pending(await site.request_id(client["client_id"], redirect_uri=asked))

    assert pending is not None
    assert pending.request.redirect_uri == asked


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("http://localhost:3118/callback", "http://127.0.0.1:3118/callback"),
        ("http://127.0.0.1/callback", "http://localhost/callback"),
        ("http://localhost/callback", "http://localhost/callback/"),
        ("http://localhost/callback", "http://localhost/CALLBACK"),
        ("http://localhost/callback", "http://localhost/callback?x=1"),
        ("http://localhost/callback", "http://localhost:1/other"),
        ("http://localhost/callback", "http://localhost:1@evil.example/callback"),
        ("http://localhost/callback", "http://localhost:1#@evil.example/callback"),
        ("http://localhost/callback", "http://localhost.evil.example/callback"),
        ("http://localhost/callback", "http://localhost:99999/callback"),
        ("http://localhost/callback", "http://localhost:0/callback"),
        ("http://localhost/callback", "https://localhost/callback"),
        ("http://localhost/callback", "http://localhost:80:80/callback"),
        ("http://localhost/callback", "http://localhost:\u0661/callback"),
        ("http://localhost/callback", "http:\\\\localhost/callback"),
        ("https://a.example/cb", "https://a.example:443/cb"),
        ("https://a.example/cb", "https://a.example:8443/cb"),
        ("https://a.example/cb", "https://user@a.example/cb"),
        ("https://a.example/cb", "https://A.example/cb"),
        ("https://a.example/cb", "https://b.a.example/cb"),
        ("https://a.example/cb", "https://a.example.evil.example/cb"),
        ("https://a.example/cb", "https://a.example/cb/../x"),
        ("https://a.example/cb", "https://a.example/cb/x"),
        ("https://a.example/cb", "https://a.example/%63b"),
        ("https://a.example/cb", "https://a.example/cb?x"),
        ("https://a.example/cb", "https://a.example/cb#x"),
        ("https://a.example/cb", "https://a.example/cb%00"),
        ("https://a.example/cb", "https://a.example\\@evil.example/cb"),
        ("https://a.example/cb", "http://a.example/cb"),
        ("https://a.example/cb", " https://a.example/cb"),
        ("https://a.example/cb", "//a.example/cb"),
        ("https://a.example/cb", "javascript:alert(1)"),
        ("cursor://app/cb", "cursor://app:1/cb"),
        ("cursor://app/cb", "cursor://app/cb/"),
        ("cursor://app/cb", "CURSOR://app/cb"),
    ],
)
async def test_otherwise_the_match_is_exact(site: Site, registered: str, asked: str) -> None:
    """RFC 9700 §2.1, §4.1.3: every redirect trick gets a page without a way back."""
    client = await site.register(redirect_uris=[registered])

    problem = await site.refused(await site.authorize(client["client_id"], redirect_uri=asked))

    assert (problem.kind, problem.back) == ("bad_redirect", None)


@given(st.text(max_size=60))
def test_no_text_breaks_the_check(text: str) -> None:
    """RFC 7591 §3.2.2: a redirect URI is accepted or refused, whatever it is."""
    try:
        check_redirect_uri(text)
    except RedirectUriError:
        assert not matches([text], text)
    else:
        assert matches([text], text)
