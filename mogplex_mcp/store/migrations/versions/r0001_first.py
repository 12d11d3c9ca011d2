"""The first schema: accounts, credentials, clients, grants, tokens and what leads to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _people()
    _clients_and_requests()
    _signins()
    _grants()
    _tokens()
    _audit()


def _people() -> None:
    op.create_table(
        "keys",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("signed_in_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("issuer", "subject", name="accounts_subject"),
    )
    op.create_table(
        "credentials",
        sa.Column("account_id", sa.Text, sa.ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("token", sa.LargeBinary, nullable=False),
        sa.Column("token_hash", sa.Text, nullable=False),
        sa.Column("refresh_token", sa.LargeBinary),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("client_id", sa.Text),
        sa.Column("refused_at", sa.BigInteger),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("lease_holder", sa.Text),
        sa.Column("lease_until", sa.BigInteger),
    )
    op.create_table(
        "sessions",
        sa.Column("id_hash", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Text, sa.ForeignKey("accounts.id", ondelete="CASCADE")),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("sessions_by_account", "sessions", ["account_id", "expires_at"])
    op.create_index("sessions_by_expiry", "sessions", ["expires_at"])


def _clients_and_requests() -> None:
    op.create_table(
        "clients",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("redirect_uris", sa.Text, nullable=False),
        sa.Column("auth_method", sa.Text, nullable=False),
        sa.Column("secret_sha256", sa.Text),
        sa.Column("scope", sa.Text),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("authorized_at", sa.BigInteger),
        sa.Column("cached_until", sa.BigInteger),
    )
    op.create_index("clients_unauthorized", "clients", ["authorized_at", "created_at"])
    op.create_table(
        "requests",
        sa.Column("id_hash", sa.Text, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("requests_by_age", "requests", ["created_at"])


def _signins() -> None:
    op.create_table(
        "signin_codes",
        sa.Column("code_hash", sa.Text, primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "signin_failures",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "upstream_signins",
        sa.Column("state_hash", sa.Text, primary_key=True),
        sa.Column("browser", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("upstream_signins_by_age", "upstream_signins", ["created_at"])
    op.create_table(
        "upstream_clients",
        sa.Column("issuer", sa.Text, primary_key=True),
        sa.Column("callback", sa.Text, primary_key=True),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("client_secret", sa.LargeBinary),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )


def _grants() -> None:
    op.create_table(
        "grants",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Text, sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
        sa.Column("client_id", sa.Text, sa.ForeignKey("clients.client_id"), nullable=False),
        sa.Column("redirect_uri", sa.Text, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("requested", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("last_used_at", sa.BigInteger),
        sa.Column("last_used_from", sa.Text),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("revoked_why", sa.Text),
    )
    op.create_index("grants_by_account", "grants", ["account_id", "expires_at"])
    op.create_index("grants_by_client", "grants", ["client_id"])
    op.create_index("grants_by_expiry", "grants", ["expires_at"])
    op.create_table(
        "codes",
        sa.Column("code_hash", sa.Text, primary_key=True),
        sa.Column("grant_id", sa.Text, sa.ForeignKey("grants.id", ondelete="CASCADE"), nullable=False),
        sa.Column("code_challenge", sa.Text, nullable=False),
        sa.Column("redirect_uri_given", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
    )
    op.create_index("codes_by_grant", "codes", ["grant_id"])


def _tokens() -> None:
    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", sa.Text, primary_key=True),
        sa.Column("grant_id", sa.Text, sa.ForeignKey("grants.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
        sa.Column("spent_at", sa.BigInteger),
        sa.Column("successor_hash", sa.Text),
        sa.Column("successor", sa.LargeBinary),
    )
    op.create_index("refresh_tokens_by_expiry", "refresh_tokens", ["expires_at"])
    op.create_index("refresh_tokens_by_grant", "refresh_tokens", ["grant_id"])
    op.create_index("refresh_tokens_by_successor", "refresh_tokens", ["successor_hash"])
    op.create_table(
        "access_tokens",
        sa.Column("token_hash", sa.Text, primary_key=True),
        sa.Column("grant_id", sa.Text, sa.ForeignKey("grants.id", ondelete="CASCADE"), nullable=False),
        sa.Column("refresh_hash", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("access_tokens_by_expiry", "access_tokens", ["expires_at"])
    op.create_index("access_tokens_by_grant", "access_tokens", ["grant_id"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text),
        sa.Column("client_id", sa.Text),
        sa.Column("grant_id", sa.Text),
        sa.Column("address", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_by_age", "audit", ["at"])
