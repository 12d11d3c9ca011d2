"""What the store refuses. The messages may be shown."""

from __future__ import annotations


class StoreError(Exception):
    """The store refuses something."""


class StoreFullError(StoreError):
    """A table has as many rows as it may."""


class TooManyTriesError(StoreFullError):
    """Too many wrong sign-in codes; the message says how long to wait."""


class UnknownAccountError(StoreError):
    """There is no such account (any more)."""


class UnknownClientError(StoreError):
    """There is no such client (any more)."""


class NoCredentialError(StoreError):
    """The account has nothing Mogplex accepts: the person has to sign in again."""
