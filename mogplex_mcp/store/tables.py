"""The tables of signing in, with what ``docs/storage.md`` says of each: lifetime, and what is hashed or encrypted.

Times are milliseconds since 1970. The schema that is really made stands in ``migrations/``; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

HASHED = {"kept": "SHA-256"}
KEYED = {"kept": "keyed hash (HMAC-SHA-256)"}
ENCRYPTED = {"kept": "encrypted"}

keys = Table(
    "keys",
    metadata,
    Column("name", Text, primary_key=True, doc="`hash`: the key of every keyed hash."),
    Column("sealed", LargeBinary, nullable=False, doc="The key.", info=ENCRYPTED),
    info={"lifetime": "as long as the database"},
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", Text, primary_key=True, doc="Random."),
    Column("issuer", Text, nullable=False, doc="Who vouched for the person: Mogplex's issuer, `pat` or `local`."),
    Column("subject", Text, doc="The issuer's name for the person; for a pasted token its keyed hash; may be none."),
    Column("label", Text, nullable=False, doc="What pages show."),
    Column("created_at", BigInteger, nullable=False, doc="First sign-in."),
    Column("signed_in_at", BigInteger, nullable=False, doc="Latest sign-in."),
    UniqueConstraint("issuer", "subject", name="accounts_subject"),
    info={"lifetime": "until 30 days after the last sign-in, once it has no session, credential or grant"},
)

credentials = Table(
    "credentials",
    metadata,
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True, doc="Whose it is."),
    Column("kind", Text, nullable=False, doc="`local`, `pat` or `mogplex`."),
    Column("token", LargeBinary, nullable=False, doc="What calls Mogplex.", info=ENCRYPTED),
    Column("token_hash", Text, nullable=False, doc="To tell whether it is still this one.", info=KEYED),
    Column("refresh_token", LargeBinary, doc="What renews it.", info=ENCRYPTED),
    Column("expires_at", BigInteger, doc="When it has to be renewed; none: never."),
    Column("client_id", Text, doc="Our registration at Mogplex that it was given to; only that one renews it."),
    Column("refused_at", BigInteger, doc="When Mogplex refused it for good."),
    Column("updated_at", BigInteger, nullable=False, doc="When it was put here."),
    Column("lease_holder", Text, doc="The process that is renewing it."),
    Column("lease_until", BigInteger, doc="When another process may."),
    info={"lifetime": "until the account's last grant ends, or a day without any grant or session"},
)

clients = Table(
    "clients",
    metadata,
    Column("client_id", Text, primary_key=True, doc="Random, or the address of the client's document."),
    Column("kind", Text, nullable=False, doc="`registered`, `document` or `configured`."),
    Column("name", Text, nullable=False, doc="What the client calls itself; not trusted."),
    Column("redirect_uris", Text, nullable=False, doc="JSON list."),
    Column("auth_method", Text, nullable=False, doc="How it authenticates at the token endpoint."),
    Column("secret_sha256", Text, doc="Its secret, should it have one.", info=HASHED),
    Column("scope", Text, doc="Scopes it registered for; none: any."),
    Column("metadata", Text, nullable=False, doc="JSON: the rest of what it registered."),
    Column("created_at", BigInteger, nullable=False, doc="First seen."),
    Column("authorized_at", BigInteger, doc="First authorization by anybody."),
    Column("cached_until", BigInteger, doc="When its document is fetched again."),
    info={"lifetime": "30 days when never authorized, else kept"},
)
Index("clients_unauthorized", clients.c.authorized_at, clients.c.created_at)

requests = Table(
    "requests",
    metadata,
    Column("id_hash", Text, primary_key=True, doc="Its random id.", info=HASHED),
    Column("document", Text, nullable=False, doc="JSON: what the client asked for; no secret."),
    Column("created_at", BigInteger, nullable=False, doc="When the client asked."),
    info={"lifetime": "10 minutes, one use"},
)
Index("requests_by_age", requests.c.created_at)

signin_codes = Table(
    "signin_codes",
    metadata,
    Column("code_hash", Text, primary_key=True, doc="The one-time code.", info=KEYED),
    Column("created_at", BigInteger, nullable=False, doc="When it was made."),
    info={"lifetime": "10 minutes, one use"},
)

signin_failures = Table(
    "signin_failures",
    metadata,
    Column("id", Text, primary_key=True, doc="Random."),
    Column("at", BigInteger, nullable=False, doc="When a wrong code was tried."),
    info={"lifetime": "10 minutes"},
)

upstream_signins = Table(
    "upstream_signins",
    metadata,
    Column("state_hash", Text, primary_key=True, doc="The `state` sent to Mogplex.", info=HASHED),
    Column("browser", Text, nullable=False, doc="The session of the browser that began it.", info=HASHED),
    Column("sealed", LargeBinary, nullable=False, doc="Request, PKCE verifier and callback.", info=ENCRYPTED),
    Column("created_at", BigInteger, nullable=False, doc="When the button was pressed."),
    info={"lifetime": "10 minutes, one use"},
)
Index("upstream_signins_by_age", upstream_signins.c.created_at)

upstream_clients = Table(
    "upstream_clients",
    metadata,
    Column("issuer", Text, primary_key=True, doc="Mogplex's authorization server."),
    Column("callback", Text, primary_key=True, doc="Our redirect URI there."),
    Column("client_id", Text, nullable=False, doc="Our name there."),
    Column("client_secret", LargeBinary, doc="Our secret there.", info=ENCRYPTED),
    Column("created_at", BigInteger, nullable=False, doc="When we registered."),
    info={"lifetime": "until Mogplex forgets it"},
)

sessions = Table(
    "sessions",
    metadata,
    Column("id_hash", Text, primary_key=True, doc="The cookie's random id.", info=HASHED),
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), doc="Who signed in; none: nobody yet."),
    Column("created_at", BigInteger, nullable=False, doc="When it began."),
    Column("expires_at", BigInteger, nullable=False, doc="When it ends."),
    info={"lifetime": "8 hours; 1 hour when nobody signed in"},
)
Index("sessions_by_account", sessions.c.account_id, sessions.c.expires_at)
Index("sessions_by_expiry", sessions.c.expires_at)

grants = Table(
    "grants",
    metadata,
    Column("id", Text, primary_key=True, doc="Random."),
    Column("account_id", Text, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, doc="Who allowed it."),
    Column("client_id", Text, ForeignKey("clients.client_id"), nullable=False, doc="Who may act."),
    Column("redirect_uri", Text, nullable=False, doc="Where the person was sent back."),
    Column("resource", Text, nullable=False, doc="The audience of its tokens."),
    Column("requested", Text, nullable=False, doc="Scopes asked for."),
    Column("scopes", Text, nullable=False, doc="Scopes granted now."),
    Column("created_at", BigInteger, nullable=False, doc="When it was allowed."),
    Column("expires_at", BigInteger, nullable=False, doc="When its code or refresh token lapses."),
    Column("last_used_at", BigInteger, doc="Latest call, to the minute."),
    Column("last_used_from", Text, doc="Address of that call."),
    Column("revoked_at", BigInteger, doc="When it was revoked."),
    Column("revoked_why", Text, doc="Why."),
    info={"lifetime": "until 30 days after it lapsed or was revoked"},
)
Index("grants_by_account", grants.c.account_id, grants.c.expires_at)
Index("grants_by_client", grants.c.client_id)
Index("grants_by_expiry", grants.c.expires_at)

codes = Table(
    "codes",
    metadata,
    Column("code_hash", Text, primary_key=True, doc="The authorization code.", info=HASHED),
    Column("grant_id", Text, ForeignKey("grants.id", ondelete="CASCADE"), nullable=False, doc="What it gives."),
    Column("code_challenge", Text, nullable=False, doc="PKCE challenge, S256."),
    Column("redirect_uri_given", Boolean, nullable=False, doc="Whether the request named its redirect URI."),
    Column("created_at", BigInteger, nullable=False, doc="When it was made."),
    Column("used_at", BigInteger, doc="When it was spent; the row stays to tell a second use."),
    info={"lifetime": "60 seconds, one use; the row as long as its grant"},
)
Index("codes_by_grant", codes.c.grant_id)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("token_hash", Text, primary_key=True, doc="The refresh token.", info=HASHED),
    Column("grant_id", Text, ForeignKey("grants.id", ondelete="CASCADE"), nullable=False, doc="Its grant."),
    Column("created_at", BigInteger, nullable=False, doc="When it was issued."),
    Column("expires_at", BigInteger, nullable=False, doc="When it lapses."),
    Column("used_at", BigInteger, doc="First use of it or of an access token issued with it."),
    Column("spent_at", BigInteger, doc="When it was exchanged; the row stays to tell a later use."),
    Column("successor_hash", Text, doc="The refresh token it was exchanged for.", info=HASHED),
    Column(
        "successor",
        LargeBinary,
        doc="That answer, until 30 s after the exchange and until its first use, so that a lost answer is given again.",
        info=ENCRYPTED,
    ),
    info={"lifetime": "30 days, one use"},
)
Index("refresh_tokens_by_grant", refresh_tokens.c.grant_id)
Index("refresh_tokens_by_successor", refresh_tokens.c.successor_hash)
Index("refresh_tokens_by_expiry", refresh_tokens.c.expires_at)

access_tokens = Table(
    "access_tokens",
    metadata,
    Column("token_hash", Text, primary_key=True, doc="The access token.", info=HASHED),
    Column("grant_id", Text, ForeignKey("grants.id", ondelete="CASCADE"), nullable=False, doc="Its grant."),
    Column("refresh_hash", Text, nullable=False, doc="The refresh token issued with it.", info=HASHED),
    Column("scopes", Text, doc="What a down-scoped token was asked for; none: all of the grant's."),
    Column("created_at", BigInteger, nullable=False, doc="When it was issued."),
    Column("expires_at", BigInteger, nullable=False, doc="When it lapses."),
    info={"lifetime": "1 hour"},
)
Index("access_tokens_by_grant", access_tokens.c.grant_id)
Index("access_tokens_by_expiry", access_tokens.c.expires_at)

known_runs = Table(
    "known_runs",
    metadata,
    Column("account", Text, primary_key=True, doc="Who started it or asked about it."),
    Column("run_id", Text, primary_key=True, doc="Mogplex's name for the run."),
    Column("repo_id", Text, doc="Its repository."),
    Column("status", Text, nullable=False, doc="As it was seen last."),
    Column("detail", Text, nullable=False, doc="JSON: the run as Mogplex showed it last."),
    Column("created_at", BigInteger, nullable=False, doc="When it was started, as far as Mogplex says."),
    Column("noted_at", BigInteger, nullable=False, doc="When it was seen last."),
    info={"lifetime": "90 days after it was seen last; the latest 1,000 of an account"},
)
Index("known_runs_by_age", known_runs.c.account, known_runs.c.created_at, known_runs.c.run_id)
Index("known_runs_noted", known_runs.c.noted_at)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Text, primary_key=True, doc="Random; means nothing to another account."),
    Column("account", Text, nullable=False, doc="Who may ask for it."),
    Column("run_id", Text, nullable=False, doc="Mogplex's name for the run whose state is the task's."),
    Column("replayed", Boolean, nullable=False, doc="Whether an earlier start had made the run."),
    Column("created_at", BigInteger, nullable=False, doc="When the call was made."),
    Column("expires_at", BigInteger, nullable=False, doc="Until when it can be asked for."),
    info={"lifetime": "3 days; at most 1,000 of an account, then no new ones"},
)
Index("tasks_by_account", tasks.c.account, tasks.c.expires_at)
Index("tasks_by_expiry", tasks.c.expires_at)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True, doc="Order."),
    Column("at", BigInteger, nullable=False, doc="When."),
    Column("event", Text, nullable=False, doc="What happened."),
    Column("account_id", Text, doc="To whom."),
    Column("client_id", Text, doc="By which client."),
    Column("grant_id", Text, doc="Under which grant."),
    Column("address", Text, doc="From where."),
    Column("detail", Text, nullable=False, doc="JSON; never a secret."),
    info={"lifetime": "90 days, at most 100,000 rows"},
    sqlite_autoincrement=True,
)
Index("audit_by_age", audit.c.at)
