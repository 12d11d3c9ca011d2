"""`--login`, `--logout` and `--status`."""

from __future__ import annotations

import json
import sys
import time

from mogplex_mcp_shim.auth_file import KEY, AuthFile, auth_path, read_whole
from mogplex_mcp_shim.auth_update import forget, inner, update
from mogplex_mcp_shim.credentials import Failed
from mogplex_mcp_shim.file_lock import FileLock
from mogplex_mcp_shim.grant import Grant, Record, grant_for, table, text
from mogplex_mcp_shim.http import HttpError, request
from mogplex_mcp_shim.log import say
from mogplex_mcp_shim.oauth import pending
from mogplex_mcp_shim.oauth.clients import Client
from mogplex_mcp_shim.oauth.errors import SignInError
from mogplex_mcp_shim.oauth.renewal import Renewal
from mogplex_mcp_shim.oauth.tokens import revoke
from mogplex_mcp_shim.oauth.wire import Wire
from mogplex_mcp_shim.options import Options

_PROBE = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def login(options: Options) -> int:
    """Sign in, waiting for the person as long as it takes. The exit status is 0 when it succeeded."""
    if not options.interactive:
        return _report(
            options,
            {"ok": False, "error": "--login asks a person: it cannot be used with --no-interactive or --json"},
            1,
        )
    file = AuthFile(options.home, options.url)
    try:
        challenge = _challenge(options)
    except (HttpError, ValueError) as error:
        return _report(options, {"ok": False, "error": f"{options.url} does not answer: {error}"}, 1)
    grant = file.grant()
    used = grant.access_token if grant is not None else None
    renewal = Renewal(options, file, used, challenge, step_up=False, accepted=False, always=True)
    renewal.start()
    if not options.no_browser:
        say("Sign in in your browser")
    try:
        outcome = renewal.wait_until(time.monotonic() + pending.LIFETIME + 30)
    except KeyboardInterrupt:
        pending.claim(options.home, options.url)
        return _report(options, {"ok": False, "error": "The sign-in was given up"}, 130)
    if isinstance(outcome, Failed):
        return _report(options, {"ok": False, "error": outcome.message}, 1)
    return _report(options, {"ok": True, "message": f"Signed in to {options.url}"}, 0)


def logout(options: Options) -> int:
    """Revoke our tokens at the server and forget them here. What cannot be revoked is forgotten nevertheless."""
    lock = FileLock(pending.signin_path(options.home, options.url, "refresh"))
    held = lock.acquire(30)  # a refresh under way would bring the entry back
    try:
        pending.claim(options.home, options.url)  # a sign-in under way ends with its record
        section = table(read_whole(auth_path(options.home)), KEY)
        grant = grant_for(section, options.url)
        if grant is None:
            return _report(options, {"ok": True, "message": f"Not signed in to {options.url}"}, 0)
        problem = _revoked(options, grant)

        def change(section: Record) -> None:
            forget(section, options.url)
            configured = inner(section, "configured_clients")
            for client_id in [name for name, issuer in configured.items() if issuer == grant.issuer]:
                del configured[client_id]

        update(options.home, change)
    finally:
        if held:
            lock.release()
    message = f"Signed out of {options.url}" + (f", but the server may not know: {problem}" if problem else "")
    return _report(options, {"ok": True, "message": message}, 0)


def status(options: Options) -> int:
    """Say which credential would be used. The exit status is 0 when there is one."""
    file = AuthFile(options.home, options.url)
    grant = file.grant()
    found: Record = {"url": options.url, "credential": None}
    if options.has_own_authorization:
        found["credential"] = "header"
    elif options.api_key is not None:
        found["credential"] = "MOGPLEX_API_KEY"
    elif grant is not None:
        found |= {"credential": "sign-in", "issuer": grant.issuer, "resource": grant.resource, "scope": grant.scope}
        found |= {"expires_at": grant.expires_at, "refreshable": grant.refresh_token is not None}
    elif options.trusted_origin and file.cli_token() is not None:
        found["credential"] = "mogplex CLI"
    waiting = pending.load(options.home, options.url)
    if waiting is not None:
        found["sign_in_link"] = waiting.link
    code = 0 if found["credential"] is not None else 1
    words = f"{options.url}: " + (f"signed in with {found['credential']}" if code == 0 else "not signed in")
    if grant is not None and found["credential"] == "sign-in":
        words = f"{options.url}: signed in at {grant.issuer}" + (f" for {grant.scope}" if grant.scope else "")
    if waiting is not None:
        words += f"; a sign-in waits: {waiting.link}"
    return _report(options, {"ok": code == 0, "message": words, **found}, code)


def _challenge(options: Options) -> str:
    """What the server says to one who is not signed in: it may name its metadata and the scopes that it wants."""
    headers = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]
    answer = request("POST", options.url, headers, json.dumps(_PROBE).encode(), timeout=20, max_bytes=1_000_000)
    return ", ".join(answer.headers.get_all("www-authenticate")) if answer.status == 401 else ""


def _revoked(options: Options, grant: Grant) -> str | None:
    """Revoke both tokens; why that was not possible, or None."""
    endpoint = text(grant.record, "revocation_endpoint")
    client = Client.from_record(table(grant.record, "client"))
    if endpoint is None or client is None:
        return "it has no revocation endpoint"
    wire = Wire(options.url, allow_http=options.allow_http)
    try:
        if grant.refresh_token is not None:
            revoke(wire, endpoint, client, grant.refresh_token, "refresh_token")
        revoke(wire, endpoint, client, grant.access_token, "access_token")
    except SignInError as error:
        return str(error)
    return None


def _report(options: Options, result: Record, code: int) -> int:
    """The result on stdout for programs, on stderr for people."""
    if options.json:
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
    else:
        say(str(result.get("message") or result.get("error")))
    return code
