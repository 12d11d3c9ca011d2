"""The ways upstream, really taken: Unix socket, in-process, TLS, through a proxy."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mogplex_mcp.api import MogplexApi, MogplexError, open_upstream
from mogplex_mcp.settings import Settings
from tests.api.conftest import TOKEN, no_embedded, open_hosted
from tests.api.scripted_upstream import ScriptedUpstream, scripted_upstream


@pytest.fixture
def socket_path() -> Iterator[Path]:
    # A Unix socket's path has 107 bytes at most, and pytest's own directories are long.
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="mog-") as directory:
        yield Path(directory) / "daemon.sock"


async def test_the_daemon_is_reached_over_its_unix_socket(socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    settings = Settings(transport="daemon", daemon_socket=socket_path)
    async with scripted_upstream(socket_path) as daemon, open_upstream(settings, embedded=no_embedded) as way:
        assert len(await MogplexApi(way, TOKEN).list_repos()) == 1
    assert daemon.requests[0].headers["host"] == "localhost"


@pytest.mark.parametrize("leftover", [False, True])
async def test_a_daemon_that_is_not_there_is_an_error_with_its_reason(socket_path: Path, leftover: bool) -> None:
    if leftover:
        # What a killed daemon leaves: a socket that nobody listens on.
        with socket.socket(socket.AF_UNIX) as abandoned:
            abandoned.bind(str(socket_path))
    settings = Settings(transport="daemon", daemon_socket=socket_path)
    async with open_upstream(settings, embedded=no_embedded) as way:
        with pytest.raises(MogplexError) as caught:
            await MogplexApi(way, TOKEN).list_repos()
    assert caught.value.code == "UNREACHABLE"
    assert str(socket_path) in caught.value.message
    assert ("Connection refused" if leftover else "No such file") in caught.value.message
    assert "`mogplex-mcp local daemon`" in caught.value.suggestion


async def test_how_to_start_the_daemon_is_said_as_this_person_runs_it(
    socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [str(Path.cwd() / "bin" / "mogplex-mcp"), "serve"])
    settings = Settings(transport="daemon", mcp_data_dir=socket_path.parent)
    async with open_upstream(settings, embedded=no_embedded) as way:
        with pytest.raises(MogplexError) as caught:
            await MogplexApi(way, TOKEN).list_repos()
    command = f"MOGPLEX_MCP_DATA_DIR={socket_path.parent} bin/mogplex-mcp local daemon"
    assert f"`{command}`" in caught.value.suggestion


async def test_a_socket_path_that_is_too_long_is_an_error_not_a_crash() -> None:
    settings = Settings(transport="daemon", daemon_socket=Path("/tmp") / ("x" * 200))
    async with open_upstream(settings, embedded=no_embedded) as way:
        with pytest.raises(MogplexError) as caught:
            await MogplexApi(way, TOKEN).list_repos()
    assert caught.value.code == "UNREACHABLE"
    assert "too long" in caught.value.message


class InProcess(httpx2.AsyncBaseTransport):
    """An upstream in this process, as the embedded Mogplex is."""

    def __init__(self) -> None:
        self.seen: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        return httpx2.Response(200, json={"ok": True, "data": {"repos": []}})


async def test_the_embedded_mogplex_is_the_one_that_is_injected() -> None:
    transport, closed = InProcess(), []

    @asynccontextmanager
    async def embedded() -> AsyncIterator[httpx2.AsyncBaseTransport]:
        yield transport
        closed.append(True)

    async with open_upstream(Settings(), embedded=embedded) as way:
        assert way.route.kind == "embedded"
        assert await MogplexApi(way, TOKEN).list_repos() == []
        assert not closed
    assert closed
    assert str(transport.seen[0].url) == "http://localhost/api/v1/mogplex/repos"


async def test_one_line_says_which_way_was_taken_and_why(upstream: ScriptedUpstream) -> None:
    with structlog.testing.capture_logs() as lines:
        async with open_hosted(upstream.url, api_key="mog_secret_secret"):
            pass
    assert lines == [
        {
            "event": "upstream",
            "log_level": "info",
            "transport": "hosted",
            "address": upstream.url,
            "reason": "MOGPLEX_URL is set",
        }
    ]


async def test_an_unknown_transport_is_one_warning() -> None:
    with structlog.testing.capture_logs() as lines:
        async with open_upstream(Settings(transport="stdio"), embedded=no_embedded):
            pass
    assert [(line["event"], line["log_level"], line["transport"]) for line in lines] == [
        ("transport_fallback", "warning", "daemon")
    ]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
async def secure(certificate: Path) -> AsyncIterator[ScriptedUpstream]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with scripted_upstream(tls=tls) as server:
        yield server


async def test_hosted_is_reached_over_tls(
    secure: ScriptedUpstream, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with open_upstream(Settings(url=secure.url), embedded=no_embedded) as way:
        assert len(await MogplexApi(way, TOKEN).list_repos()) == 1


async def test_a_certificate_that_is_not_trusted_is_an_error_that_says_so(secure: ScriptedUpstream) -> None:
    async with open_upstream(Settings(url=secure.url), embedded=no_embedded) as way:
        with pytest.raises(MogplexError) as caught:
            await MogplexApi(way, TOKEN).list_repos()
    assert caught.value.code == "UNREACHABLE"
    assert "certificate" in caught.value.message.lower()
    assert secure.requests == []


@asynccontextmanager
async def tunnel() -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that knows CONNECT; its address, and what it was asked for."""
    asked: list[str] = []
    tasks: set[asyncio.Task[None]] = set()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head)
        host, port = head.split()[1].split(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(carry(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://me:pw@127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def test_hosted_goes_through_the_proxy_of_the_environment(
    secure: ScriptedUpstream, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with tunnel() as (proxy, asked):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        async with open_upstream(Settings(url=secure.url), embedded=no_embedded) as way:
            assert len(await MogplexApi(way, TOKEN).list_repos()) == 1
    assert asked[0].startswith(f"CONNECT {secure.url.removeprefix('https://')} ")
    assert TOKEN not in asked[0]


async def test_no_proxy_names_hosts_that_are_reached_directly(
    secure: ScriptedUpstream, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
    async with open_upstream(Settings(url=secure.url), embedded=no_embedded) as way:
        assert len(await MogplexApi(way, TOKEN).list_repos()) == 1


async def test_plain_http_to_this_machine_takes_no_proxy(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with open_hosted(upstream.url) as way:
        assert len(await MogplexApi(way, TOKEN).list_repos()) == 1


@pytest.mark.parametrize("proxy", ["socks5://me:secret@127.0.0.1:9", "ftp://127.0.0.1", "http://host:port"])
async def test_a_proxy_that_cannot_be_used_is_an_error(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(MogplexError, match="proxy") as caught:
        async with open_upstream(Settings(url="https://mogplex.example"), embedded=no_embedded):
            pass
    assert "secret" not in str(caught.value)
