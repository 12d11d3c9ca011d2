"""Secrets at rest: encryption with keys that can be changed, and keyed hashes of what must be found again."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from mogplex_mcp.store.database import make_private_directory

KEY_FILE = "secret.key"
_MAX_KEY_FILE = 65_536
_HOW_TO_MAKE = "a key is 32 random bytes in base64, as `openssl rand -base64 32` prints them"


class VaultError(Exception):
    """Secrets cannot be encrypted or decrypted; the message says what to do and carries no key."""


class Vault:
    """Encrypts with the first key of a list and decrypts with any (Fernet: AES-128-CBC with HMAC-SHA-256)."""

    __slots__ = ("_ciphers", "_hash_key")

    def __init__(self, keys: tuple[str, ...], hash_key: bytes) -> None:
        """Args:
        keys: 32 bytes in base64 each; at least one.
        hash_key: of :meth:`keyed_hash`.

        Raises:
            VaultError: a key is not one.
        """
        self._ciphers = cipher(keys)
        self._hash_key = hash_key

    def encrypt(self, secret: bytes | str) -> bytes:
        return self._ciphers.encrypt(secret.encode() if isinstance(secret, str) else secret)

    def decrypt(self, sealed: bytes) -> str:
        """Raises:
        VaultError: no key of the list made it.
        """
        return unsealed(self._ciphers, sealed).decode()

    def keyed_hash(self, text: str) -> str:
        """HMAC-SHA-256 in hexadecimal: the same for the same text, and without the key nobody can try texts."""
        return hmac.new(self._hash_key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def cipher(keys: tuple[str, ...]) -> MultiFernet:
    """What encrypts with the first of these keys and decrypts with any.

    Raises:
        VaultError: there is none, or one is no key.
    """
    ciphers = []
    for position, key in enumerate(keys, start=1):
        try:
            # Fernet wants the URL-safe alphabet; most tools print the other one.
            ciphers.append(Fernet(key.strip().replace("+", "-").replace("/", "_").rstrip("=") + "="))
        except ValueError:
            raise VaultError(f"Key {position} of {len(keys)} is no key: {_HOW_TO_MAKE}.") from None
    if not ciphers:
        raise VaultError(f"There is no key: {_HOW_TO_MAKE}.")
    return MultiFernet(ciphers)


def unsealed(ciphers: MultiFernet | Fernet, sealed: bytes) -> bytes:
    """The decrypted bytes.

    Raises:
        VaultError: no key fits.
    """
    try:
        return ciphers.decrypt(sealed)
    except InvalidToken:
        raise VaultError(
            "What is stored was encrypted with another key. Add the former key to the end of MOGPLEX_MCP_SECRET_KEY, "
            f"or put the former {KEY_FILE} back. Without it nobody stays signed in: begin with a new database."
        ) from None


def split_keys(text: str) -> tuple[str, ...]:
    """The keys of ``MOGPLEX_MCP_SECRET_KEY``, comma-separated."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def make_key() -> str:
    """A new key."""
    return Fernet.generate_key().decode()


def key_file(directory: Path, *, create: bool) -> tuple[str, ...]:
    """The keys of ``secret.key``, one a line or comma-separated; made, 0600, when it is missing and may be.

    Several processes that make it at once get the same key: a whole file is linked to its name, once.

    Raises:
        VaultError: other users can read it, it is missing though secrets were encrypted with it, or it holds no key.
    """
    path = directory / KEY_FILE
    if not path.exists():
        if not create:
            raise VaultError(
                f"{path} is missing, and what is stored was encrypted with it. Put it back, or set "
                "MOGPLEX_MCP_SECRET_KEY. Without it nobody stays signed in: begin with a new database."
            )
        make_key_file(path)
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode) or stat.S_IMODE(state.st_mode) & 0o077:
            raise VaultError(f"Other users may read {path}, which encrypts credentials: chmod 600 {path}")
        content = file.read(_MAX_KEY_FILE)
    try:
        keys = split_keys(content.decode("ascii").replace("\n", ","))
        cipher(keys)
    except (UnicodeDecodeError, VaultError):
        raise VaultError(f"{path} holds something that is no key: {_HOW_TO_MAKE}.") from None
    return keys


def make_key_file(path: Path) -> None:
    """Makes a key file, 0600 and whole from its first moment, unless another process was faster."""
    make_private_directory(path.parent)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(make_key() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return  # another process was faster; its key is the key
    finally:
        draft.unlink(missing_ok=True)
