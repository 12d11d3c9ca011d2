"""The store: its database, its vault and its clock, opened together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy import Connection, Table, select, update

from mogplex_mcp.settings import Settings
from mogplex_mcp.store import vault as vaults
from mogplex_mcp.store.database import Database, DatabaseError, Schema, insert_into, open_engine
from mogplex_mcp.store.database_url import DatabaseUrlError, parse_database_url, sqlite_url
from mogplex_mcp.store.tables import credentials, keys, refresh_tokens, upstream_clients, upstream_signins
from mogplex_mcp.store.vault import Vault, VaultError

SCHEMA = Schema(
    head="0003",
    versions=Path(__file__).parent / "migrations" / "versions",
    version_table="mogplex_mcp_schema",
    advice="Upgrade mogplex-mcp, or choose another database (MOGPLEX_MCP_DATABASE_URL, --data-dir).",
)
DATABASE_FILE = "store.db"

_SEALED = (
    (credentials, "token"),
    (credentials, "refresh_token"),
    (upstream_clients, "client_secret"),
    (upstream_signins, "sealed"),
    (refresh_tokens, "successor"),
)
"""Every encrypted column but the key of hashes."""


def now_ms() -> int:
    """The present, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Store:
    """What every function of this package takes first."""

    db: Database
    vault: Vault
    clock: Callable[[], int] = now_ms

    def now(self) -> int:
        """The present, in milliseconds since 1970, as this store's clock has it."""
        return self.clock()

    def close(self) -> None:
        self.db.close()


def open_store(settings: Settings) -> Store:
    """Opens the database of sign-ins and the vault, making or migrating what is missing.

    Raises:
        DatabaseError: the database cannot be used (see :func:`open_engine`), or its URL cannot be read.
        VaultError: a key is none, or the stored secrets were encrypted with another one.
    """
    try:
        url = (
            sqlite_url(settings.data_dir / DATABASE_FILE)
            if settings.mcp_database_url is None
            else parse_database_url(settings.mcp_database_url.get_secret_value())
        )
    except DatabaseUrlError as error:
        raise DatabaseError(f"MOGPLEX_MCP_DATABASE_URL: {error}") from None
    database = Database(open_engine(url, SCHEMA))
    try:
        return Store(database, _open_vault(settings, database))
    except BaseException:
        database.close()
        raise


def _open_vault(settings: Settings, database: Database) -> Vault:
    with database.read() as connection:
        sealed = connection.execute(select(keys.c.sealed).where(keys.c.name == "hash")).scalar()
    if settings.mcp_secret_key is None:
        found = vaults.key_file(settings.data_dir, create=sealed is None)
    else:
        found = vaults.split_keys(settings.mcp_secret_key.get_secret_value())
    try:
        return _vault_of(database, found, sealed)
    except VaultError as error:
        if settings.mcp_secret_key is None:
            raise
        raise VaultError(f"MOGPLEX_MCP_SECRET_KEY: {error}") from None


def _vault_of(database: Database, found: tuple[str, ...], sealed: bytes | None) -> Vault:
    ciphers = vaults.cipher(found)
    if sealed is None:
        sealed = _make_hash_key(database, ciphers)
    vault = Vault(found, vaults.unsealed(ciphers, sealed))
    if len(found) > 1:
        _encrypt_anew(database, found)
    return vault


def _make_hash_key(database: Database, ciphers: MultiFernet) -> bytes:
    """Makes the key of hashes, unless another process was faster. Returns the one that is kept."""
    made = ciphers.encrypt(vaults.make_key().encode())
    with database.write() as connection:
        connection.execute(insert_into(connection, keys).values(name="hash", sealed=made).on_conflict_do_nothing())
        kept: bytes = connection.execute(select(keys.c.sealed).where(keys.c.name == "hash")).scalar_one()
    return kept


def _encrypt_anew(database: Database, found: tuple[str, ...]) -> None:
    """Encrypts with the first key what another one encrypted, so that the others can be dropped.

    At every start that knows several keys: another process may have used an older one until a moment ago.
    """
    ciphers, first = vaults.cipher(found), vaults.cipher(found[:1])
    with database.write() as connection:
        for table, name in (*_SEALED, (keys, "sealed")):
            _encrypt_column_anew(connection, table, name, ciphers, first)


def _encrypt_column_anew(
    connection: Connection, table: Table, name: str, ciphers: MultiFernet, first: MultiFernet
) -> None:
    identity = table.primary_key.columns.values()
    sealed = table.c[name]
    for row in connection.execute(select(sealed, *identity).where(sealed.is_not(None)).with_for_update()).all():
        if _opens(first, row[0]):
            continue
        same = [column == value for column, value in zip(identity, row[1:], strict=True)]
        connection.execute(update(table).where(*same).values({name: ciphers.rotate(row[0])}))


def _opens(ciphers: MultiFernet, sealed: bytes) -> bool:
    try:
        ciphers.decrypt(sealed)
    except InvalidToken:
        return False
    return True
