"""Signing in with a Mogplex token, pasted once into our page: checked, encrypted, and never shown again.

An account is the token's keyed hash, because no route of Mogplex says whose a token is (documentation,
/web/api/authentication).
"""

from __future__ import annotations

import re

from mogplex_mcp.auth.credentials import Credentials
from mogplex_mcp.auth.pat import TokenChecks
from mogplex_mcp.store.accounts import Account, change_subject, sign_in_account
from mogplex_mcp.store.credentials import Credential
from mogplex_mcp.store.store import Store

ISSUER = "pat"
MAX_TOKEN = 512

_TOKEN = re.compile(r"mog_[\x21-\x7e]{1,508}")
"""As in the bearer check: the documentation's examples disagree on the length."""


class PatSignIn:
    """Signs people in by a token of theirs.

    Args:
        store: Where accounts are kept.
        checks: Asks Mogplex about a token, and limits guessing.
        credentials: Where the token goes.
    """

    def __init__(self, store: Store, checks: TokenChecks, credentials: Credentials) -> None:
        self._store = store
        self._checks = checks
        self._credentials = credentials

    async def sign_in(self, typed: str, address: str) -> Account | None:
        """The account of a token, or None when it is no token or Mogplex refuses it.

        Args:
            typed: What was pasted.
            address: Where from, to limit guessing.

        Raises:
            TooManyRefusalsError: Too many refused tokens from this address.
            MogplexError: Mogplex could not be asked.
        """
        token = await self._checked(typed, address)
        if token is None:
            return None
        account = await self._store.db.call(
            sign_in_account,
            self._store,
            issuer=ISSUER,
            subject=self._subject(token),
            label=self._label(token),
            address=address,
        )
        await self._credentials.put(account.id, Credential("pat", token))
        return account

    async def replace(self, account: Account, typed: str, address: str) -> bool | None:
        """Give an account another token; the agents connected to it go on with that one.

        Returns:
            True when done, None when it is no token or Mogplex refuses it, False when another account has it.

        Raises:
            TooManyRefusalsError: Too many refused tokens from this address.
            MogplexError: Mogplex could not be asked.
        """
        token = await self._checked(typed, address)
        if token is None:
            return None
        changed = await self._store.db.call(
            change_subject,
            self._store,
            account.id,
            self._subject(token),
            label=self._label(token),
            address=address,
        )
        if not changed:
            return False
        await self._credentials.put(account.id, Credential("pat", token))
        return True

    async def _checked(self, typed: str, address: str) -> str | None:
        token = typed.strip()
        if not _TOKEN.fullmatch(token):
            return None
        return None if await self._checks.check(token, address) is None else token

    def _subject(self, token: str) -> str:
        return self._store.vault.keyed_hash(token)

    def _label(self, token: str) -> str:
        # Tells two accounts apart, and nothing of the token to anybody without the key.
        return f"Mogplex token (mark {self._subject(token)[:6]})"
