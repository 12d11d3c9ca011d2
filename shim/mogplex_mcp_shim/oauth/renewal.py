"""Getting a credential in place of one that was refused, in a thread of its own: requests wait for it only so long."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

from mogplex_mcp_shim.auth_file import AuthFile
from mogplex_mcp_shim.credentials import FORBIDDEN, UNAUTHORIZED, Failed, Retry
from mogplex_mcp_shim.file_lock import FileLock
from mogplex_mcp_shim.grant import Grant
from mogplex_mcp_shim.log import say
from mogplex_mcp_shim.oauth import pending
from mogplex_mcp_shim.oauth.errors import SignInError, UnreachableError
from mogplex_mcp_shim.oauth.job import Job
from mogplex_mcp_shim.oauth.refresh import refresh
from mogplex_mcp_shim.options import Options

WAIT = 7.5
"""Seconds that a request waits for a person. Hosts end servers that are slow: Codex after ten."""

_WAIT_AGAIN = 1.0  # s, once a first request has waited in vain
_LOOK = 0.1  # s
_STARTS = 4  # times the sign-in process is started, should it keep ending without a word
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_RUN = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from mogplex_mcp_shim.oauth.process import main; sys.exit(main())"
)


class Renewal:
    """One renewal, shared by all requests of this process that were refused for the same reason.

    Args:
        options: What the shim is asked to do.
        file: auth.json, for the MCP server.
        used: The credential that was refused.
        challenge: What the server said.
        step_up: Whether it is good, but not for this.
        accepted: Whether the server has ever taken it from this process.
        always: Whether to sign in in any case (`--login`).
    """

    def __init__(
        self,
        options: Options,
        file: AuthFile,
        used: str | None,
        challenge: str,
        *,
        step_up: bool,
        accepted: bool,
        always: bool = False,
    ) -> None:
        self._options = options
        self._file = file
        self._used = used
        self._challenge = challenge
        self._step_up = step_up
        self._accepted = accepted
        self._always = always
        self._started = time.monotonic()
        self._done = threading.Event()
        self._outcome: Retry | Failed = Failed("Signing in ended unexpectedly; see the log file")
        self._link_said = False

    def start(self) -> None:
        """Begin."""
        if self._options.allow_http:
            say("--allow-http: tokens may go over connections that everybody on the way can read")
        threading.Thread(target=self._run, daemon=True).start()

    def is_over(self) -> bool:
        """Whether the outcome is there."""
        return self._done.is_set()

    def serves(self, used: str | None) -> bool:
        """Whether one whose credential was refused is helped by this renewal."""
        return not self._done.is_set() and used == self._used

    def wait(self) -> Retry | Failed:
        """The outcome, or after a while what the person has to do."""
        return self.wait_until(max(self._started + WAIT, time.monotonic() + _WAIT_AGAIN))

    def wait_until(self, deadline: float) -> Retry | Failed:
        """The outcome, or what the person has to do if there is none at this moment of the monotonic clock."""
        while not self._done.wait(_LOOK):
            link = self._link()
            if link is not None and self._options.no_browser and not self._link_said:
                self._link_said = True
                say(f"Sign in: {link}")
            if time.monotonic() < deadline:
                continue
            if link is None:
                return self._failed("Signing in takes longer than expected: try again in a moment")
            return self._failed(f"Sign in, then reconnect this server: {link}", link)
        return self._outcome

    def _link(self) -> str | None:
        found = pending.load(self._file.home, self._file.url)
        return found.link if found is not None else None

    def _failed(self, message: str, link: str | None = None) -> Failed:
        return Failed(message, link, FORBIDDEN if self._step_up else UNAUTHORIZED)

    def _run(self) -> None:
        try:
            self._outcome = self._renew()
        except UnreachableError as error:
            self._outcome = self._failed(f"{error}. Try again in a moment")
        except SignInError as error:
            self._outcome = self._failed(str(error))
        except OSError as error:
            self._outcome = self._failed(
                f"Signing in fails on this machine: {error.strerror or error} ({error.filename})"
            )
        finally:
            self._done.set()

    def _renew(self) -> Retry | Failed:
        grant = self._file.grant()
        if not (self._always or self._step_up) and grant is not None and grant.access_token == self._used:
            if self._accepted or not (grant.is_fresh() and grant.was_refreshed()):
                token = refresh(self._file, grant.access_token, allow_http=self._options.allow_http)
                if token is not None:
                    return Retry(token)
            if not self._accepted and grant.is_new():  # no loop: the next one would be refused as well
                return self._failed(
                    "The server refuses the token that was issued for it just now. "
                    "If that goes on: mogplex-mcp-shim --logout, then sign in anew"
                )
        if not self._options.interactive:
            missing = "for what this needs " if self._step_up else ""
            return self._failed(
                f"Not signed in {missing}to {self._file.url}: run mogplex-mcp-shim --login {self._file.url}"
            )
        return self._signed_in(grant)

    def _signed_in(self, before: Grant | None) -> Retry | Failed:
        """Follow the sign-in that is under way, whoever began it, or begin one; take it over if its process dies."""
        home, url = self._file.home, self._file.url
        failure_before = pending.load_failure(home, url)
        lock = FileLock(pending.signin_path(home, url, "lock"))
        followed = False
        for _start in range(_STARTS):
            if not lock.try_acquire():
                followed = True
                if not lock.wait(pending.LIFETIME + 60):
                    break
            try:
                grant = self._file.grant()
                if grant is not None and self._is_better(grant, before):
                    return Retry(grant.access_token)
                failure = pending.load_failure(home, url)
                if failure is not None and (failure != failure_before or (failure.is_recent() and not self._always)):
                    return self._failed(failure.message)
                self._start_process(lock, before, reopen=not followed)
                followed = True
            finally:
                lock.release()
        return self._failed("The sign-in process keeps ending; see the log file")

    def _is_better(self, grant: Grant, before: Grant | None) -> bool:
        if self._step_up or self._always:
            return grant.grant_id != (before.grant_id if before is not None else None)
        return grant.access_token != self._used

    def _start_process(self, lock: FileLock, before: Grant | None, *, reopen: bool) -> None:
        """Start the sign-in process, which inherits the lock: nobody else can lead in between."""
        posix = os.name == "posix"
        job = Job(
            url=self._file.url,
            home=self._file.home,
            challenge=self._challenge,
            held_scope=before.scope if before is not None and self._step_up else None,
            allow_http=self._options.allow_http,
            no_browser=self._options.no_browser,
            lock_fd=lock.fd if posix else None,
            reopen=reopen,
        )
        environ = {name: value for name, value in self._options.environ.items() if name != "MOGPLEX_API_KEY"}
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", _RUN, _PACKAGE],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # the host's pipe must not stay open through us
            stderr=subprocess.DEVNULL,
            env=environ,
            cwd=self._file.home,
            pass_fds=(lock.fd,) if posix else (),
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
            | getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        lock.release()
        threading.Thread(target=child.wait, daemon=True).start()  # so that none is left as a zombie
        try:
            if child.stdin is not None:
                child.stdin.write(job.dump())
                child.stdin.close()
        except BrokenPipeError:
            return  # it died: the lock is free again, and whoever gets it sees to that
        if not posix:
            time.sleep(1)  # it takes the lock itself; a second one that comes too early ends at once
