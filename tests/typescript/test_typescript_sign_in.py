"""Both generations of the TypeScript SDK's OAuth client against the real server and somebody who follows its links."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.node_runtime import node
from tests.oauth.document_host import Certificate, document, document_host, make_certificate
from tests.pages.hosting import query_of
from tests.running_server import RunningServer, running_server
from tests.scripted_person import Person, person_at

pytestmark = pytest.mark.slow

REDIRECT = "http://localhost:49152/callback"
LONGEST_LINE = 1_000_000
SECONDS = 90.0


@dataclass(frozen=True)
class Program:
    """One client: its program, its version negotiation, how it identifies, and how often it asks the person."""

    file: str
    mode: str | None
    by_document: bool

    def __str__(self) -> str:
        return f"{self.file} {self.mode} {'document' if self.by_document else 'registration'}"

    @property
    def steps_up(self) -> bool:
        """Whether a 403 makes it ask the person; 1.x refreshes its token instead, which gives no more, and gives up."""
        return self.file != "sign_in_sdk1.mjs"


PROGRAMS = [
    Program(file, mode, by_document)
    for file, mode in (("sign_in_sdk1.mjs", None), ("sign_in_client2.mjs", "legacy"), ("sign_in_client2.mjs", "auto"))
    for by_document in (False, True)
]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(certificate: Certificate) -> Iterator[RunningServer]:
    with running_server(MOGPLEX_DEV="1", SSL_CERT_FILE=str(certificate.certificate)) as server:
        yield server


@pytest.fixture
async def person(server: RunningServer) -> AsyncIterator[Person]:
    async with person_at(server) as person:
        yield person


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
async def test_a_host_signs_in_refreshes_gets_more_and_signs_in_again(
    program: Program, person: Person, certificate: Certificate
) -> None:
    async with document_host(certificate) as site:
        url = site.address(host="localhost")
        site.says(document(url, client_name="TypeScript host", redirect_uris=[REDIRECT]))
        job = {"url": person.server.url, "document": url if program.by_document else None, "mode": program.mode}
        report = await _run(program, job, person)
    asked = query_of(report["link"])
    assert asked["resource"] == person.server.url
    assert asked["client_id"] == report["clientId"]
    assert (report["clientId"] == url) is program.by_document

    signed_in, refreshed, more, revoked = (report[part] for part in ("signedIn", "refreshed", "more", "revoked"))
    for part in (signed_in, refreshed, revoked):
        assert [repo["full_name"] for repo in part["answer"]["structuredContent"]["repos"]] == ["demo/hello"]
    assert more["answer"]["structuredContent"]["error"]["code"] == "NOT_FOUND"
    assert signed_in["scope"] == refreshed["scope"] == "tools:read"
    assert signed_in["refresh_token"] != refreshed["refresh_token"]
    assert [signed_in["links"], refreshed["links"]] == [1, 1]
    assert [more["links"], revoked["links"]] == ([2, 3] if program.steps_up else [1, 2])
    if program.steps_up:
        assert set(more["scope"].split()) == {"tools:read", "agents:run"}
    else:
        assert "403" in more["refused"]


async def _run(program: Program, job: dict[str, Any], person: Person) -> dict[str, Any]:
    """Run the program and do what it asks for, one line after the other; its report."""
    command = [node(), str(Path(__file__).with_name(program.file))]
    links = 0
    with anyio.fail_after(SECONDS):
        async with await anyio.open_process(command, stderr=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            lines = BufferedByteReceiveStream(process.stdout)
            while True:
                asked = json.loads(await _line(lines, process))
                answer: object = None
                match asked:
                    case {"report": found}:
                        return dict(found)
                    case {"job": _}:
                        answer = job
                    case {"open": link}:
                        # At first the person keeps to what is ticked; a host that comes back for more gets it.
                        answer = {
                            "callback": await person.decide(link, query_of(link)["scope"].split() if links else ())
                        }
                        links += 1
                    case {"tick": scopes}:
                        await person.tick_everywhere(scopes)
                    case {"revoke": _}:
                        await person.revoke_everything()
                await process.stdin.send(json.dumps(answer).encode() + b"\n")


async def _line(lines: BufferedByteReceiveStream, process: Process) -> bytes:
    """The program's next line; a program that ends instead fails the test with what it said."""
    try:
        return await lines.receive_until(b"\n", LONGEST_LINE)
    except anyio.IncompleteRead:
        assert process.stderr is not None
        pytest.fail(b"".join([piece async for piece in process.stderr]).decode())
