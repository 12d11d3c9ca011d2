"""What goes wrong at the authorization endpoint, for the page that tells the person."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Problem:
    """An authorization request that is answered by a page.

    Attributes:
        kind: Which page (see ``web/problems.py``).
        status: HTTP status code.
        detail: One sentence in our words, or none; it quotes nothing of the request.
        client_name: What the client calls itself, untrusted text; None while the client is unknown.
        back: Where the page's button leads: the client's checked redirect URI with error, state and iss. None when no
            address is known to be the client's.
        retry_after: Seconds to wait, for ``too_many``.
    """

    kind: str
    status: int = 400
    detail: str = ""
    client_name: str | None = None
    back: str | None = field(default=None, repr=False)
    retry_after: int | None = None


class ProblemError(Exception):
    """Carries a problem to the page."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.kind)
        self.problem = problem
