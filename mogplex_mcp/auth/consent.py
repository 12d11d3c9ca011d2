"""What a person is asked before a client may act, and what the answer means.

Asked at every authorization, never remembered. Reads are ticked; what executes or writes is not, unless this client
already holds it (Mogplex documentation, /extend/mcp-server: "Default grant is read-only").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mogplex_mcp.auth.scopes import READING, SCOPES
from mogplex_mcp.auth.shown_text import Destination, destination, document_host, shown_name
from mogplex_mcp.store.clients import StoredClient
from mogplex_mcp.store.requests import AuthorizationRequest


@dataclass(frozen=True)
class Asker:
    """A client, as a page names it.

    Attributes:
        name: What it calls itself, made fit to show. Anybody may call himself anything.
        host: The site that vouches for it: the host of its document; None for a registered client.
        known: Whoever runs this server has configured it.
    """

    name: str
    host: str | None
    known: bool

    @classmethod
    def of(cls, client_id: str, name: str, kind: str) -> Asker:
        """The client as a page names it.

        Args:
            client_id: For a document, its address.
            name: What it calls itself.
            kind: ``registered``, ``document`` or ``configured``.
        """
        return cls(shown_name(name), document_host(client_id) if kind == "document" else None, kind == "configured")


@dataclass(frozen=True)
class Choice:
    """One box to tick.

    Attributes:
        scope: Its name in the protocol.
        words: What it allows.
        ticked: Whether it is from the start.
        acts: Whether it executes or writes.
    """

    scope: str
    words: str
    ticked: bool
    acts: bool


@dataclass(frozen=True)
class Question:
    """The question of one authorization request."""

    request_id: str
    asker: Asker
    destination: Destination
    choices: tuple[Choice, ...]


def question(request: AuthorizationRequest, client: StoredClient, held: Iterable[str]) -> Question:
    """What to ask the person.

    Args:
        request: What the client asked for.
        client: The client.
        held: Scopes that this client holds for this account already.
    """
    ticked = READING.union(held)
    return Question(
        request.id,
        Asker.of(client.client_id, client.name, client.kind),
        destination(request.redirect_uri),
        choices(request.scopes, ticked),
    )


def choices(scopes: Iterable[str], ticked: Iterable[str]) -> tuple[Choice, ...]:
    """A box for each scope, in the order given; one that has no words is not shown."""
    on = frozenset(ticked)
    return tuple(Choice(scope, SCOPES[scope], scope in on, scope not in READING) for scope in scopes if scope in SCOPES)


def chosen(answer: Iterable[str], offered: Iterable[str]) -> tuple[str, ...]:
    """Those of the offered scopes that the answer ticks; what was not offered cannot be chosen."""
    given = frozenset(answer)
    return tuple(scope for scope in offered if scope in given)
