"""TLS, and a machine that slept."""

from __future__ import annotations

import datetime
import ipaddress
import signal
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mogplex_mcp_shim.connection import IDLE_LIMIT, Connection

from tests.shim.pipe.scripted_server import Legacy, Received, Reply, scripted_server
from tests.shim.pipe.shim_process import running_shim


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    file.write_bytes(
        made.public_bytes(encoding) + key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    )
    return file


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_everything_passes_through_tls(certificate: Path, tmp_path: Path) -> None:
    closed: list[bool] = []

    def handler(request: Received, reply: Reply) -> None:
        if request.rpc == "large":
            reply.result({"text": "x" * (10 * 2**20)})
        elif request.rpc == "long":
            reply.stream()
            reply.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})
            closed.append(reply.await_close())
            reply.is_open = False
        else:
            reply.result({})

    with scripted_server(handler, tls(certificate)) as server:
        url = server.url.replace("http:", "https:")
        with running_shim(tmp_path / "h", url, variables={"SSL_CERT_FILE": str(certificate)}) as shim:
            for _ in range(10):
                assert shim.call("x") == {}
            assert server.connections <= 2
            assert len(shim.call("large")["text"]) == 10 * 2**20
            asked = shim.modern("long")
            shim.receive()
            shim.notify("notifications/cancelled", {"requestId": asked})
            server.await_requests(lambda: bool(closed))
            assert closed == [True]
            assert shim.close() < 2.0


def test_a_certificate_nobody_vouches_for_is_refused(certificate: Path, tmp_path: Path) -> None:
    with scripted_server(lambda _, reply: reply.result({}), tls(certificate)) as server:
        url = server.url.replace("http:", "https:")
        with running_shim(tmp_path / "h", url, variables={"MOGPLEX_API_KEY": "mog_key"}) as shim:
            error = shim.answer(shim.request("x"))["error"]
            assert error["data"] == {"reason": "tls"}
            assert "self-signed" in error["message"]
            assert server.requests == []


def test_after_a_sleep_calls_and_the_standalone_stream_go_on(tmp_path: Path) -> None:
    """The shim stands still, its connections are lost meanwhile, and the server has a new session to give."""
    streams: list[str] = []

    def on_get(request: Received, reply: Reply) -> None:
        streams.append(request.headers["mcp-session-id"])
        reply.stream()
        reply.event(retry=20)
        reply.await_close(60)
        reply.is_open = False

    legacy = Legacy(own={"GET": on_get})
    with scripted_server(legacy) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.initialize()
        shim.call("x")
        server.await_requests(lambda: len(streams) == 1)
        shim.process.send_signal(signal.SIGSTOP)
        server.stop()
        legacy.sessions.clear()
        server.start()
        asked = [shim.request("tools/call", {"name": "write"}) for _ in range(5)]
        shim.process.send_signal(signal.SIGCONT)
        assert {shim.receive()["id"] for _ in asked} == set(asked)
        assert all("result" in each for each in shim.seen)
        server.await_requests(lambda: "session-2" in streams)
        assert legacy.begun == 2


def test_a_connection_that_slept_too_long_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a sleep a connection may seem alive that the network has forgotten; only the wall clock tells."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(ours)
        now = 1000.0
        monkeypatch.setattr("mogplex_mcp_shim.connection.time.time", lambda: now)
        connection.idle_since = now - IDLE_LIMIT / 2
        assert connection.is_alive()
        connection.idle_since = now - IDLE_LIMIT - 1
        assert not connection.is_alive()
        connection.idle_since = now + 60  # the clock was set back
        assert not connection.is_alive()
        connection.idle_since = now
        theirs.close()
        assert not connection.is_alive()
