"""The credential that goes with every request, and what to do when the server refuses it.

The order: `MOGPLEX_API_KEY`; our own entry in auth.json for exactly this server; the Mogplex CLI's credential there; a
sign-in. What renews a credential is imported only when one was refused.
"""

from __future__ import annotations

import threading

from mogplex_mcp_shim.auth_file import AuthFile
from mogplex_mcp_shim.log import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mogplex_mcp_shim.oauth.renewal import Renewal
    from mogplex_mcp_shim.options import Options

UNAUTHORIZED = -32001
FORBIDDEN = -32003

STEP_UPS = 2
"""Times that one set of scopes is asked for."""


class Retry:
    """Send the request again, with this credential."""

    __slots__ = ("bearer",)

    def __init__(self, bearer: str) -> None:
        self.bearer = bearer


class Failed:
    """The request cannot be authorized. The message says what to do and holds no secret."""

    __slots__ = ("code", "link", "message")

    def __init__(self, message: str, link: str | None = None, code: int = UNAUTHORIZED) -> None:
        self.message = message
        self.link = link
        self.code = code


class Credentials:
    """One per process; thread-safe."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._file = AuthFile(options.home, options.url)
        self._lock = threading.Lock()  # guards what follows
        self._renewals: dict[str, Renewal] = {}
        self._step_ups: dict[str, int] = {}
        self._accepted: str | None = None
        self._ignored = False

    def bearer(self) -> str | None:
        """The credential to send now. A sign-in or refresh of another process is seen at once."""
        if self._options.has_own_authorization:
            return None
        if self._options.api_key is not None:
            return self._options.api_key
        grant = self._file.grant()
        if grant is not None:
            return grant.access_token
        token = self._file.cli_token()
        if token is not None and not self._options.trusted_origin:
            token = None
            if not self._ignored:
                self._ignored = True
                say(f"The Mogplex CLI's credential is not sent to {self._options.url}: it is for Mogplex's own server")
        return token

    def on_accepted(self, used: str) -> None:
        """The server took this credential: if it refuses it later, a sign-in may help."""
        self._accepted = used

    def on_unauthorized(self, used: str | None, www_authenticate: str) -> Retry | Failed:
        """What to do after a 401: refresh, or sign in.

        Args:
            used: The credential that was refused, None if there was none.
            www_authenticate: The answer's field of that name; several joined by commas; may be empty.

        Returns:
            Within 8 s: another credential, or why there is none yet.
        """
        if failed := self._refused_for_good(used):
            return failed
        grant = self._file.grant()
        if grant is not None and grant.access_token != used:
            return Retry(grant.access_token)
        if grant is None and used is not None and used == self._file.cli_token():
            return Failed(
                "The server refused the credential that the Mogplex CLI keeps in auth.json. "
                "Sign in anew there (/login), remove it (/logout), or sign in here: mogplex-mcp-shim --login"
            )
        return self._renewed("401", used, www_authenticate, step_up=False)

    def on_insufficient_scope(self, used: str | None, www_authenticate: str) -> Retry | Failed:
        """What to do after a 403 with `insufficient_scope`: ask the person for the scopes that are missing.

        Arguments and result are those of `on_unauthorized`.
        """
        if used is None or self._options.has_own_authorization or self._options.api_key is not None:
            return Failed("The credential does not allow this: use one with more scopes", code=FORBIDDEN)
        grant = self._file.grant()
        if grant is not None and grant.access_token != used:
            return Retry(grant.access_token)
        if grant is None:
            return Failed(
                "The Mogplex CLI's credential does not allow this. Sign in here: mogplex-mcp-shim --login",
                code=FORBIDDEN,
            )
        from mogplex_mcp_shim.oauth.challenge import bearer_challenge

        wanted = " ".join(sorted(bearer_challenge(www_authenticate).get("scope", "").split()))
        with self._lock:
            running = self._renewals.get(wanted)
            if running is None or running.is_over():
                if self._step_ups.get(wanted, 0) >= STEP_UPS:
                    return Failed(
                        f"The server does not grant what this needs: {wanted or 'more scopes'}", code=FORBIDDEN
                    )
                self._step_ups[wanted] = self._step_ups.get(wanted, 0) + 1
        return self._renewed(wanted, used, www_authenticate, step_up=True)

    def _refused_for_good(self, used: str | None) -> Failed | None:
        """What the person gave us themselves is not replaced behind their back."""
        if self._options.has_own_authorization:
            return Failed("The server refused the Authorization header that --header sets: change it or leave it out")
        if self._options.api_key is not None and used == self._options.api_key:
            return Failed(
                "The server refused MOGPLEX_API_KEY: set it anew, or unset it to sign in "
                "(unset MOGPLEX_API_KEY, or remove it from this server's `env` in the host's configuration)"
            )
        return None

    def _renewed(self, kind: str, used: str | None, challenge: str, *, step_up: bool) -> Retry | Failed:
        """Join the renewal that is under way, or begin one: those who were refused together share its outcome."""
        from mogplex_mcp_shim.oauth.renewal import Renewal

        with self._lock:
            renewal = self._renewals.get(kind)
            if renewal is None or not renewal.serves(used):
                accepted = used is not None and used == self._accepted
                renewal = Renewal(self._options, self._file, used, challenge, step_up=step_up, accepted=accepted)
                self._renewals[kind] = renewal
                renewal.start()
        return renewal.wait()
