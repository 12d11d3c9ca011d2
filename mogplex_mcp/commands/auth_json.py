"""The Mogplex CLI's credential: ``auth.json`` in Mogplex's home directory, written by its sign-in (``/login``).

The documentation (/cli/guides/authentication, /cli/guides/configuration-and-flags) says that the file has mode 0600 and
holds a ``mogplex`` credential beside others, and names no field: a token is taken as the credential itself, or as the
member of it that other command lines use. Nothing else in the file is looked at, and nothing is ever written.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

CREDENTIAL = "mogplex"
TOKEN_FIELDS = ("access_token", "accessToken", "access", "token", "api_key", "apiKey", "key")
"""As in the stdio shim, which reads the same file."""
MAX_BYTES = 1024 * 1024


class AuthFileError(Exception):
    """The file is there and cannot be used; the message says what to do, and quotes nothing of it."""


def stored_token(path: Path) -> str | None:
    """The Mogplex CLI's token.

    Args:
        path: The file.

    Returns:
        The token; None when there is no file, or no ``mogplex`` credential in it.

    Raises:
        AuthFileError: Others may read it, or it is not what it has to be.
    """
    try:
        # Not to wait for a writer, should it be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise AuthFileError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise AuthFileError(f"{path} is not a file.")
        if found.st_mode & 0o077:
            raise AuthFileError(f"Other users of this computer may read {path}: chmod 600 {path}")
        text = os.read(descriptor, MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    return _token(_parsed(path, text))


def _parsed(path: Path, text: bytes) -> object:
    try:
        if len(text) <= MAX_BYTES:
            return json.loads(text)
    except (ValueError, RecursionError):
        pass
    # Outside the ``except``, whose exception holds the text.
    raise AuthFileError(f"{path} is not the JSON that a sign-in writes. Sign in anew: mogplex, then /login.")


def _token(whole: object) -> str | None:
    credential = whole.get(CREDENTIAL) if isinstance(whole, dict) else None
    if isinstance(credential, dict):
        credential = next((value for name in TOKEN_FIELDS if (value := credential.get(name))), None)
    return credential if isinstance(credential, str) and _is_token(credential) else None


def _is_token(text: str) -> bool:
    """Whether it can stand in a header by itself."""
    return text.isascii() and text.isprintable() and " " not in text and text != ""
