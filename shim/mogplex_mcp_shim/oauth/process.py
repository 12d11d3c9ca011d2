"""The sign-in process: it holds the lock, waits for the person's browser and writes auth.json.

It lives apart from the shim that started it, so that a host that stops the shim does not stop the sign-in.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from dataclasses import replace
from threading import Thread

from mogplex_mcp_shim.auth_file import KEY, auth_path, read_whole
from mogplex_mcp_shim.auth_update import inner, keep_grant, update
from mogplex_mcp_shim.file_lock import FileLock
from mogplex_mcp_shim.grant import Grant, Record, table
from mogplex_mcp_shim.oauth import pending as record
from mogplex_mcp_shim.oauth.authorization import answers, authorization_request, redirect_uri, scope_to_ask
from mogplex_mcp_shim.oauth.browser import open_in_browser
from mogplex_mcp_shim.oauth.callback import NOT_SIGNED_IN, SIGNED_IN, Answer, Listener, Page
from mogplex_mcp_shim.oauth.challenge import bearer_challenge
from mogplex_mcp_shim.oauth.clients import Client, configured_client, register, stored_client
from mogplex_mcp_shim.oauth.discovery import AuthorizationServer, discover
from mogplex_mcp_shim.oauth.errors import RefusedError, SignInError, UnreachableError
from mogplex_mcp_shim.oauth.job import Job
from mogplex_mcp_shim.oauth.pending import Pending, signin_path
from mogplex_mcp_shim.oauth.scopes import covers, union
from mogplex_mcp_shim.oauth.tokens import redeem
from mogplex_mcp_shim.oauth.wire import Wire

_MAX_JOB = 1_000_000


def main() -> int:
    """Do the job on standard input. The exit status is for nobody: how it ended is on disk."""
    job = Job.load(sys.stdin.buffer.read(_MAX_JOB))
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    path = signin_path(job.home, job.url, "lock")
    if job.lock_fd is not None:
        lock = FileLock.adopt(path, job.lock_fd)
    else:
        lock = FileLock(path)
        if not lock.acquire(5):
            return 0  # another one leads
    try:
        SignIn(job).run()
    except SignInError as error:
        record.save_failure(job.home, job.url, str(error))
        return 1
    except OSError as error:
        record.save_failure(job.home, job.url, f"The sign-in could not be kept: {error.strerror or error}")
        return 1
    return 0


class SignIn:
    """One sign-in, from discovery or from a record that another process left, to the tokens."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._wire = Wire(job.url, allow_http=job.allow_http)

    def run(self) -> None:
        """Go through with it.

        Raises:
            SignInError: It failed; the message is for the person.
            OSError: A file could not be written.
        """
        pending = record.load(self._job.home, self._job.url)
        listener = Listener.bind(pending.port) if pending is not None else None
        if pending is not None and listener is not None:
            self._await(pending, listener, opens=self._job.reopen)
        else:
            record.claim(self._job.home, self._job.url)  # its port is gone, and so is the way to finish it
            pending, listener = self._begin()
            self._await(pending, listener, opens=True)
        answer = self._next_answer(pending, listener)
        try:
            self._finish(pending, answer)
        except RefusedError as error:
            if error.code != "invalid_client" or not pending.stored_client:
                raise
            pending, listener = self._begin(listener)  # the client was forgotten there: once more, as a new one
            self._await(pending, listener, opens=False)
            answer.show(Page(303, "One more step", "", location=pending.link))
            answer = self._next_answer(pending, listener)
            self._finish(pending, answer)
        finally:
            answer.show(NOT_SIGNED_IN)

    def _begin(self, listener: Listener | None = None) -> tuple[Pending, Listener]:
        """Find out whom to ask, as whom, and listen for the answer.

        Args:
            listener: Where we listen already: then the stored registration is no good.
        """
        challenge = bearer_challenge(self._job.challenge)
        server = discover(self._wire, self._job.url, challenge.get("resource_metadata"))
        scope = scope_to_ask(server, union(self._job.held_scope, challenge.get("scope")))
        section = self._section()
        client = configured_client(os.environ, server, section)
        if client is not None:
            self._remember_configured(client, server)
            listener = self._listen(_fixed_port(), may_move=_fixed_port() == 0)
            return self._asked(server, client, listener, scope, stored=False), listener
        client = stored_client(section, server) if listener is None else None
        if client is not None and client.scope is not None and not covers(client.scope, scope):
            client = None  # it registered for less
        if client is not None and client.redirect_uri is not None:
            listener = self._listen(_fixed_port() or _port_of(client.redirect_uri), may_move=True)
            pending = self._asked(server, client, listener, scope, stored=True)
            moved = pending.redirect_uri != client.redirect_uri
            if not (moved or not client.is_confirmed()) or self._is_accepted(pending):
                return pending, listener
        if listener is None:
            listener = self._listen(_fixed_port(), may_move=True)
        client = register(self._wire, server, redirect_uri(listener.port), scope)
        self._keep_client(server.issuer, client)
        return self._asked(server, client, listener, scope, stored=False), listener

    def _asked(
        self, server: AuthorizationServer, client: Client, listener: Listener, scope: str | None, *, stored: bool
    ) -> Pending:
        pending = authorization_request(self._job.url, server, client, listener.port, scope, stored_client=stored)
        self._wire.check_opened(pending.link, "the authorization endpoint")
        return pending

    def _listen(self, port: int, *, may_move: bool) -> Listener:
        listener = Listener.bind(port)
        if listener is None and may_move:
            listener = Listener.bind(0)
        if listener is None:
            raise SignInError(
                f"Port {port} on 127.0.0.1, where the sign-in comes back to, is taken (MOGPLEX_CALLBACK_PORT)"
            )
        return listener

    def _is_accepted(self, pending: Pending) -> bool:
        """Whether the authorization server would take this request: one asked from another port, or as a client of old.

        A person would only see an error page, and we would wait for an answer that never comes.
        """
        try:
            answer = self._wire.get(pending.link, "the authorization endpoint")
        except UnreachableError:
            return True  # the browser may have better luck
        return answer.status not in (400, 401)

    def _await(self, pending: Pending, listener: Listener, *, opens: bool) -> None:
        """Make the request known, then open it: the listener must expect the answer before anybody can send it."""
        listener.expect(lambda query: answers(pending, query))
        pending.save(self._job.home)
        if opens and not self._job.no_browser:
            Thread(target=open_in_browser, args=(pending.link, os.environ), daemon=True).start()

    def _next_answer(self, pending: Pending, listener: Listener) -> Answer:
        home, url = self._job.home, self._job.url
        answer = listener.wait(pending.expires_at, lambda: record.exists(home, url))
        if answer is None:
            given_up = not record.exists(home, url)
            record.claim(home, url)
            raise SignInError("The sign-in was given up" if given_up else "Nobody signed in within 10 minutes")
        if not record.claim(home, url):
            answer.show(NOT_SIGNED_IN)
            raise SignInError("The sign-in was given up")
        error = answer.query.get("error", [""])[0]
        if error:
            answer.show(NOT_SIGNED_IN)
            if error == "access_denied":
                raise SignInError("The sign-in was declined in the browser")
            raise SignInError(str(RefusedError("The sign-in", 302, error)).replace("HTTP 302, ", ""))
        return answer

    def _finish(self, pending: Pending, answer: Answer) -> None:
        """Redeem the code and keep the tokens."""
        client = Client.from_record(pending.client)
        if client is None:
            raise SignInError("The record of the sign-in is damaged")
        form = {
            "grant_type": "authorization_code",
            "code": answer.query["code"][0],
            "redirect_uri": pending.redirect_uri,
            "code_verifier": pending.verifier,
            "resource": pending.resource,
        }
        endpoint = str(pending.endpoints["token_endpoint"])
        try:
            tokens = redeem(self._wire, endpoint, client, form)
        except UnreachableError as error:
            if error.sent:  # the code may be used up, and using it again would end what it gave
                raise
            tokens = redeem(self._wire, endpoint, client, form)
        self._keep(pending, client, tokens)
        answer.show(SIGNED_IN)

    def _keep(self, pending: Pending, client: Client, tokens: Record) -> None:
        client = replace(client, confirmed_at=time.time())
        if client.kind == "registered":
            self._keep_client(pending.issuer, client)
        kept: Record = {"url": pending.url, "grant_id": secrets.token_hex(8), "client": client.record()}
        if pending.scope is not None:
            kept["scope"] = pending.scope
        grant = Grant(
            pending.issuer,
            pending.resource,
            {**kept, **pending.endpoints, **tokens, "signed_in_at": tokens["issued_at"]},
        )
        keep_grant(self._job.home, grant)

    def _section(self) -> Record:
        return table(read_whole(auth_path(self._job.home)), KEY)

    def _keep_client(self, issuer: str, client: Client) -> None:
        def change(section: Record) -> None:
            inner(section, "clients")[issuer] = client.record()

        update(self._job.home, change)

    def _remember_configured(self, client: Client, server: AuthorizationServer) -> None:
        def change(section: Record) -> None:
            inner(section, "configured_clients")[client.client_id] = server.issuer

        if client.kind == "configured":
            update(self._job.home, change)


def _fixed_port() -> int:
    """The port that the environment asks for, 0 for none."""
    value = os.environ.get("MOGPLEX_CALLBACK_PORT", "")
    if not value:
        return 0
    if not (value.isascii() and value.isdecimal() and 0 < int(value[:6]) < 65536):
        raise SignInError("MOGPLEX_CALLBACK_PORT is not a port number")
    return int(value)


def _port_of(uri: str) -> int:
    try:
        return int(uri.split(":")[2].partition("/")[0])
    except (IndexError, ValueError):
        return 0
