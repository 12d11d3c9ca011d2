"""Each way it goes wrong, in words: what happened and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Explanation:
    """A page of its own for something that went wrong.

    Attributes:
        kind: Its name, for tests and for people who search.
        status: HTTP status code.
        title: What happened, in a few words.
        words: What it means and what to do, a paragraph each.
        forget: Show how to make each host forget its registration.
    """

    kind: str
    status: int
    title: str
    words: tuple[str, ...]
    forget: bool = False


_FROM_THE_HOST = "Go back to your agent host and connect again from there."
_HOST_FAULT = "This is a fault of the program that sent you here, not of yours. Nothing was granted."

_ALL = (
    # What a client sent to the authorization endpoint.
    Explanation(
        "unknown_client",
        400,
        "This server does not know that client",
        (
            "The program that sent you here uses a registration that this server does not have. It may have been made "
            "with another server, or was removed because it was never used.",
            "Make the program forget it, then connect again:",
        ),
        forget=True,
    ),
    Explanation(
        "bad_redirect",
        400,
        "That client may not send you there",
        (
            "The program that sent you here wants the answer at an address that it has not registered. The answer is "
            "sent nowhere, because somebody else might be listening there.",
            "If you trust the program, make it forget its registration and connect again:",
        ),
        forget=True,
    ),
    Explanation("invalid_request", 400, "This request cannot be read", (_HOST_FAULT, _FROM_THE_HOST)),
    Explanation(
        "invalid_target",
        400,
        "The request is for another server",
        ("The client asks for access to a resource that is not this server.", _HOST_FAULT),
    ),
    Explanation(
        "interaction_required",
        400,
        "You have to be asked",
        ("The client wants an answer without you seeing a page. Consent is never given that way here.",),
    ),
    Explanation(
        "client_document",
        400,
        "The client's document cannot be used",
        ("The client identifies itself by a document on the web, and that document cannot be read or is not valid.",),
    ),
    # What went wrong on our pages.
    Explanation(
        "request_gone",
        410,
        "This request has ended",
        ("It was answered already, or it is older than ten minutes.", _FROM_THE_HOST),
    ),
    Explanation(
        "form_refused",
        403,
        "This form cannot be accepted",
        (
            "It was not sent from this server's own page in this browser, or the page is out of date.",
            "Go back, load the page anew and try again. Cookies have to be allowed for this address.",
        ),
    ),
    Explanation("form_unreadable", 400, "This form cannot be read", ("Go back, load the page anew and try again.",)),
    Explanation(
        "local_refused",
        403,
        "Sign-in by code is only for this computer",
        (
            "It works where the server listens on this computer only and is called by this computer's own name, with "
            "no proxy in between.",
        ),
    ),
    Explanation(
        "way_refused", 404, "That way to sign in is not offered here", ("Choose one of those that are offered.",)
    ),
    Explanation(
        "too_many",
        429,
        "Too many attempts",
        ("Wait a few minutes, then try again.",),
    ),
    # Signing in with Mogplex.
    Explanation(
        "mogplex_state",
        400,
        "This sign-in was not started here",
        (
            "Mogplex sent you back with an answer that this browser did not ask for, that was used already, or that "
            "is older than ten minutes. It was not used.",
            "Start again, in one browser.",
        ),
    ),
    Explanation(
        "mogplex_issuer",
        400,
        "The answer does not come from Mogplex",
        ("It names another sender than the Mogplex that was asked. It was not used.",),
    ),
    Explanation("mogplex_denied", 403, "Mogplex did not let you in", ("You, or Mogplex, declined the sign-in.",)),
    Explanation(
        "mogplex_failed",
        502,
        "Signing in with Mogplex failed",
        ("Mogplex answered in a way that cannot be used. Try again; if it stays so, tell who runs this server.",),
    ),
    Explanation(
        "mogplex_unreachable",
        503,
        "Mogplex cannot be reached",
        ("Try again in a minute; if it stays so, tell who runs this server.",),
    ),
    Explanation(
        "wrong_method",
        405,
        "This address is not opened that way",
        ("A page sends something here, or a program does; there is nothing to see.",),
    ),
    Explanation("not_found", 404, "There is no such page", ("The address may have a typing error.",)),
    Explanation("server_error", 500, "Something went wrong here", ("Nothing was granted. Try again.",)),
)

EXPLANATIONS = MappingProxyType({found.kind: found for found in _ALL})
"""Every problem by its kind."""


def explanation(kind: str) -> Explanation:
    """What to say of a problem of this kind.

    Raises:
        KeyError: There is none: a mistake in this program.
    """
    return EXPLANATIONS[kind]
