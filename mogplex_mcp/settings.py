"""Every environment variable this program reads, once.

A field named ``mcp_port`` is the variable ``MOGPLEX_MCP_PORT``. Command-line options override the variable of the same
meaning. The table in the README is generated from this module by ``make tables``.
"""

from __future__ import annotations

import ipaddress
import shlex
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEFAULT_MOGPLEX_URL = "https://mogplex.com"
"""The apex: ``www.mogplex.com`` answers 308, and no credential follows a redirect."""


class Settings(BaseSettings):
    """The configuration of one process, read from ``MOGPLEX_*`` variables."""

    model_config = SettingsConfigDict(env_prefix="MOGPLEX_", env_ignore_empty=True, frozen=True, extra="ignore")

    # Where things are
    home: Path = Field(Path("~/.mogplex"), description="Mogplex's directory, shared with the Mogplex CLI.")
    mcp_data_dir: Path | None = Field(
        None, description="This server's data directory; unset, `mcp` inside `MOGPLEX_HOME`. Option `--data-dir`."
    )

    codex_home: Path | None = Field(
        None,
        validation_alias="CODEX_HOME",
        description="Deprecated: where `auth.json` is when `MOGPLEX_HOME` is not set and has none.",
    )

    # The way upstream
    transport: str | None = Field(
        None,
        description="Way to Mogplex: `process` or `live` (embedded), `daemon` (Unix socket), `hosted` (HTTPS). Unset: "
        "hosted when `MOGPLEX_URL` or `MOGPLEX_API_KEY` is set, else embedded.",
    )
    daemon_socket: Path | None = Field(
        None, description="Unix socket of a running daemon; unset, `daemon.sock` in the data directory."
    )
    url: str | None = Field(None, description=f"Base URL of hosted Mogplex; unset, `{DEFAULT_MOGPLEX_URL}`.")
    api_key: SecretStr | None = Field(
        None,
        description="A Mogplex token (`mog_…`) for `stdio` and the command line. Never a credential for callers of "
        "`serve`.",
    )
    dev: bool = Field(False, description="Development: allow `http://` for a Mogplex on loopback.")
    api_connect_timeout: float = Field(5.0, gt=0, le=60, description="Seconds to connect to Mogplex.")
    api_read_timeout: float = Field(30.0, gt=0, le=300, description="Seconds to wait for Mogplex to send something.")
    api_rate_limit: int = Field(
        60, ge=0, description="Requests per rolling 60 s and token that Mogplex takes; 0 is no limit."
    )
    api_max_connections: int = Field(200, ge=1, le=200, description="Connections to Mogplex kept in the pool.")

    # The MCP server
    mcp_host: str = Field("127.0.0.1", description="Address to bind. Option `--host`.")
    mcp_port: int = Field(8747, ge=0, le=65535, description="Port to bind; 0 takes a free one. Option `--port`.")
    mcp_public_url: str | None = Field(
        None, description="The address people use, when a proxy stands in front (`https://mcp.example.com`)."
    )
    mcp_allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Browser origins that may call this server, comma-separated (`https://app.example.com`)."
    )
    mcp_call_timeout: float = Field(
        25.0, gt=0, le=600, description="Seconds within which a tool call ends, retries included."
    )
    mcp_trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses or networks of proxies whose forwarded headers count, comma-separated."
    )
    mcp_log_format: str = Field("auto", pattern="^(auto|json|console)$", description="`auto`, `json` or `console`.")
    mcp_log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level logged.")

    # Signing in
    mcp_signin: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Ways to sign in, comma-separated: `local`, `mogplex`, `pat`. Unset: `local` for the embedded "
        "Mogplex (`pat` where that is refused), `mogplex,pat` for hosted.",
    )
    mcp_pat_auth: Literal["allow", "deny"] = Field(
        "allow", description="Whether a Mogplex token (`mog_…`) is accepted as bearer."
    )
    mcp_cimd: Literal["on", "off"] = Field("on", description="Whether clients may identify by a metadata document.")
    mcp_clients_file: Path | None = Field(
        None, description="JSON file of clients known beforehand, and of further redirect URIs of others."
    )
    mcp_database_url: SecretStr | None = Field(
        None,
        description="Database of sign-ins and grants (`postgresql+psycopg://…`); unset, SQLite in the data directory.",
    )
    mcp_secret_key: SecretStr | None = Field(
        None,
        description="Keys that encrypt stored credentials, comma-separated, the first encrypts; unset, `secret.key` "
        "in the data directory.",
    )

    # The embedded Mogplex
    local_harness: Literal["codex", "claude-code", "demo"] | None = Field(
        None, description="Harness used whatever a run asks for; `demo` runs the bundled demonstration everywhere."
    )
    local_codex_command: str = Field(
        "codex exec --json --sandbox workspace-write -", description="Command of the `codex` harness."
    )
    local_claude_command: str = Field(
        "claude -p --output-format stream-json --verbose --permission-mode acceptEdits",
        description="Command of the `claude-code` harness.",
    )
    local_max_concurrent_runs: int = Field(4, ge=1, le=64, description="Runs that execute at once; others wait.")
    local_run_timeout: float = Field(3600.0, gt=0, le=86_400, description="Seconds after which a run fails.")
    local_stall_timeout: float = Field(
        120.0, gt=0, le=86_400, description="Seconds of nothing but reconnect or error lines after which a run fails."
    )
    local_cancel_grace: float = Field(5.0, gt=0, le=60, description="Seconds from SIGTERM to SIGKILL on cancel.")
    local_rate_limit: int = Field(60, ge=0, description="Requests per rolling 60 s and token; 0 is no limit.")
    local_run_starts_per_minute: int = Field(10, ge=0, description="Run starts per minute; 0 is no limit.")
    local_run_starts_per_hour: int = Field(30, ge=0, description="Run starts per hour; 0 is no limit.")
    local_run_starts_per_day: int = Field(150, ge=0, description="Run starts per day; 0 is no limit.")

    @field_validator("home", "mcp_data_dir", "codex_home", "daemon_socket", "mcp_clients_file")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("mcp_allowed_origins", "mcp_trusted_proxies", "mcp_signin", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("mcp_allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # Browsers send an origin's scheme and host in lower case.
        return tuple(origin.lower() for origin in value)

    @field_validator("local_codex_command", "local_claude_command")
    @classmethod
    def _command(cls, value: str) -> str:
        if not shlex.split(value):
            raise ValueError("must name a program")
        return value

    @field_validator("mcp_public_url")
    @classmethod
    def _public_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if (
            parts.scheme not in {"http", "https"}
            or not parts.hostname
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise ValueError("must be an address like https://mcp.example.com")
        return value.rstrip("/")

    @cached_property
    def data_dir(self) -> Path:
        """The directory that holds this server's state (0700)."""
        return self.mcp_data_dir or self.home / "mcp"

    @cached_property
    def auth_file(self) -> Path:
        """The Mogplex CLI's credentials (documentation, /cli/guides/authentication, "Resolution order")."""
        own = self.home / "auth.json"
        if "home" in self.model_fields_set or self.codex_home is None or own.exists():
            return own
        return self.codex_home / "auth.json"

    @cached_property
    def socket_path(self) -> Path:
        """The Unix socket of the daemon."""
        return self.daemon_socket or self.data_dir / "daemon.sock"


def is_loopback(host: str) -> bool:
    """Whether a URL's or header's host (without port, brackets allowed) names this machine only."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def configuration_table() -> str:
    """The README's configuration table, in Markdown."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        variable = field.validation_alias or f"MOGPLEX_{name.upper()}"
        rows.append(f"| `{variable}` | {default} | {field.description} |")
    return "\n".join(rows)
