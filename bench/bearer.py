"""``python -m bench.bearer``: what checking an access token costs, with a million of them stored.

``warm`` is the check of a token seen in the last five seconds, ``stored`` and ``unknown`` the look-up in the database.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median, quantiles

import click
from pydantic import SecretStr
from sqlalchemy import insert

from mogplex_mcp.auth.access import AccessTokens
from mogplex_mcp.auth.credentials import Credentials
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.accounts import sign_in_account
from mogplex_mcp.store.bounds import ACCESS_LIFE, REFRESH_LIFE
from mogplex_mcp.store.clients import StoredClient, put_client
from mogplex_mcp.store.credentials import Credential, put_credential
from mogplex_mcp.store.opaque import ACCESS_PREFIX, digest, new_id, new_opaque
from mogplex_mcp.store.store import Store, open_store
from mogplex_mcp.store.tables import access_tokens, grants
from mogplex_mcp.store.tokens import find_access_token

SAMPLE = 2_000
TOKENS_PER_GRANT = 100
BATCH = 20_000


@click.command()
@click.option("--tokens", type=click.IntRange(SAMPLE, 10_000_000), default=1_000_000, show_default=True, help="Stored.")
@click.option("--limit", type=click.FloatRange(1), help="Fail when a warm check takes more microseconds (median).")
@click.option("--database-url", help="An empty PostgreSQL database; unset, SQLite in a temporary directory.")
def main(tokens: int, limit: float | None, database_url: str | None) -> None:
    """Measure the check of access tokens, in microseconds."""
    with _store(database_url) as store:
        started = time.perf_counter()
        sample = _fill(store, tokens)
        click.echo(f"{tokens:,} tokens stored in {time.perf_counter() - started:.0f} s")
        stored = _times(lambda token: _found(store, token), sample)
        unknown = _times(lambda token: find_access_token(store, token), [new_opaque(ACCESS_PREFIX) for _ in sample])
        warm = asyncio.run(_warm(store, sample[:100]))
    click.echo(f"{'check':10}{'median µs':>12}{'p99 µs':>12}")
    for name, found in (("warm", warm), ("stored", stored), ("unknown", unknown)):
        click.echo(f"{name:10}{median(found):12.1f}{quantiles(found, n=100)[98]:12.1f}")
    if limit is not None and median(warm) > limit:
        raise click.ClickException(f"a warm check takes {median(warm):.1f} µs, more than {limit:.0f}")


@contextmanager
def _store(database_url: str | None) -> Iterator[Store]:
    url = None if database_url is None else SecretStr(database_url)
    with tempfile.TemporaryDirectory(prefix="mogplex-bench-") as name:
        settings = Settings(mcp_data_dir=Path(name), mcp_database_url=url)
        with closing(open_store(settings)) as store:
            yield store


def _fill(store: Store, count: int) -> list[str]:
    """Store that many live tokens; a random sample of them is returned."""
    account = sign_in_account(store, issuer="bench", subject="bench", label="bench")
    put_credential(store, account.id, Credential("pat", "mog_bench"))
    client = put_client(store, StoredClient("bench", "registered", "bench", ("http://localhost/",), "none"))
    now, grant_id = store.now(), ""
    grant = {
        "account_id": account.id,
        "client_id": client.client_id,
        "redirect_uri": "http://localhost/",
        "resource": "http://localhost/mcp",
        "requested": "tools:read agents:run",
        "scopes": "tools:read agents:run",
        "created_at": now,
        "expires_at": now + REFRESH_LIFE,
    }
    token = {"refresh_hash": "", "created_at": now, "expires_at": now + ACCESS_LIFE}
    kept: list[str] = []
    for start in range(0, count, BATCH):
        new_grants: list[dict[str, object]] = []
        rows: list[dict[str, object]] = []
        for number in range(start, min(start + BATCH, count)):
            if number % TOKENS_PER_GRANT == 0:
                grant_id = new_id()
                new_grants.append(grant | {"id": grant_id})
            plain = new_opaque(ACCESS_PREFIX)
            rows.append(token | {"token_hash": digest(plain), "grant_id": grant_id})
            if len(kept) < SAMPLE:
                kept.append(plain)
            elif (place := random.randrange(number + 1)) < SAMPLE:  # noqa: S311 - which ones are timed is no secret
                kept[place] = plain
        with store.db.write() as conn:
            conn.execute(insert(grants), new_grants)
            conn.execute(insert(access_tokens), rows)
    return kept


def _found(store: Store, token: str) -> None:
    record = find_access_token(store, token)
    if record is None or not record.is_usable(store.now()):
        raise RuntimeError("A stored token was not found.")


def _times(check: Callable[[str], object], tokens: Sequence[str]) -> list[float]:
    found = []
    for token in tokens:
        started = time.perf_counter()
        check(token)
        found.append((time.perf_counter() - started) * 1e6)
    return found


async def _warm(store: Store, tokens: Sequence[str]) -> list[float]:
    access = AccessTokens(store, Credentials(store, None))
    found = []
    for token in tokens:
        await access.find(token, "127.0.0.1")
    for _ in range(SAMPLE // len(tokens)):
        for token in tokens:
            started = time.perf_counter()
            seen = await access.find(token, "127.0.0.1")
            found.append((time.perf_counter() - started) * 1e6)
            if seen is None:
                raise RuntimeError("A stored token was not found.")
    return found


if __name__ == "__main__":
    main()
