"""A real HTTPS server that hosts client documents, with a certificate of its own making."""

import asyncio
import datetime
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mogplex_mcp.auth.authorization import create_authorization
from mogplex_mcp.auth.authorization.authorize import Authorization
from mogplex_mcp.auth.authorization.client_documents import (
    ClientDocuments,
)
from mogplex_mcp.auth.authorization.document_fetch import DocumentFetcher, IpAddress
from mogplex_mcp.auth.authorization.rate_limits import RateLimit
from mogplex_mcp.auth.authorization.routes import create_authorization_server
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store
from tests.oauth.site import Site, running

NAME = "client.example"
PORTLESS = "http://localhost/callback"


@dataclass(frozen=True)
class Certificate:
    """A certificate for ``client.example`` and ``localhost``, in files."""

    certificate: Path
    key: Path

    def trusting(self) -> ssl.SSLContext:
        """A client's context that trusts it and nothing else."""
        return ssl.create_default_context(cafile=str(self.certificate))


def make_certificate(directory: Path) -> Certificate:
    """Make a self-signed certificate that lasts for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(NAME), x509.DNSName("localhost")])
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    made = Certificate(directory / "certificate.pem", directory / "key.pem")
    made.certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


@dataclass
class DocumentHost:
    """Answers every request with what a test says, and remembers what was asked.

    Attributes:
        port: Its port on 127.0.0.1.
        answer: Raw bytes of the whole HTTP answer.
        delay: Seconds before it answers.
        requests: Request heads, as they came.
        server_names: Names asked for in TLS.
    """

    port: int
    answer: bytes = b""
    delay: float = 0.0
    requests: list[str] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)

    def address(self, path: str = "/client.json", host: str = NAME) -> str:
        """The https address of a document here."""
        return f"https://{host}:{self.port}{path}"

    def says(self, body: bytes, *headers: str, status: str = "200 OK", kind: str = "application/json") -> None:
        """Answer with this body from now on."""
        head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
        self.answer = "\r\n".join([*head, "Connection: close", "", ""]).encode() + body


@asynccontextmanager
async def document_host(certificate: Certificate | None) -> AsyncIterator[DocumentHost]:
    """Serve documents until the block is left; without a certificate, over plain http."""
    made = DocumentHost(0)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            made.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await asyncio.sleep(made.delay)
            writer.write(made.answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the client hung up, which is what some tests want
        finally:
            writer.close()

    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        context.sni_callback = lambda _socket, name, _context: made.server_names.append(name)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


@dataclass
class Names:
    """A resolver whose answers a test sets, one for each time it is asked; the last one stays."""

    answers: list[list[str]]
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[IpAddress]:
        """The addresses of a name."""
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append((host, port))
        return [ipaddress.ip_address(address) for address in answer]


def document(client_id: str, /, **changes: object) -> bytes:
    """A good document, changed."""
    given = {"client_id": client_id, "client_name": "Agent", "redirect_uris": [PORTLESS], **changes}
    return json.dumps({name: value for name, value in given.items() if value is not None}).encode()


def fetcher(certificate: Certificate, names: Names, *, development: bool = True) -> DocumentFetcher:
    """A fetcher with its own resolver; development, because these hosts are on loopback."""
    return DocumentFetcher(development=development, resolve=names, context=certificate.trusting())


@asynccontextmanager
async def documented(
    settings: Settings, store: Store, fetch: DocumentFetcher, **more: RateLimit
) -> AsyncIterator[Site]:
    """A site that fetches documents this way."""
    made: Authorization = await asyncio.to_thread(create_authorization, settings, store)
    clients = replace(made.clients, documents=ClientDocuments(fetch, development=True, **more))
    async with running(store, Authorization(store, clients, create_authorization_server(clients)), settings) as site:
        yield site
