"""What the shim is asked to do: its arguments and its environment, read once."""

from __future__ import annotations

from mogplex_mcp_shim.urls import parse_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mogplex_mcp_shim.urls import Url

HOSTED = "https://mogplex.com"
ENDPOINT = "/api/v1/mogplex/mcp"

USAGE = """\
Usage: mogplex-mcp-shim [OPTIONS] [URL]

Connects a host that starts MCP servers as programs (stdio) to an MCP server on the network, and signs in to it once.
URL is the server's; without it MOGPLEX_MCP_URL, else MOGPLEX_URL or https://mogplex.com, with /api/v1/mogplex/mcp.

  --login             Sign in, and end.
  --logout            Sign out: at the server, and here. With --attach, go on then.
  --status            Say which credential would be used, and end.
  --no-browser        Print the sign-in link instead of opening a browser.
  --no-interactive    Never ask anybody: fail at once, with a reason.
  --json              Status and errors for programs; implies --no-interactive.
  --attach RUN_ID     Attach to a run (or MOGPLEX_ATTACH_RUN_ID).
  --header NAME:VALUE Add a header to every request; ${VARIABLE} in the value is replaced. Can be repeated.
  --allow-http        Allow http to other machines than this one.
  --log-file FILE     Append what happens to a file; never what is said.
  --version           Print the version.
  --help              Print this.
"""

FLAGS = {
    "--login", "--logout", "--status", "--no-browser", "--no-interactive", "--json", "--allow-http", "--help",
    "--version",
}  # fmt: skip
VALUED = {"--attach", "--header", "--log-file"}

RESERVED_HEADERS = {
    "accept", "connection", "content-length", "content-type", "host", "last-event-id", "mcp-protocol-version",
    "mcp-session-id", "mogplex-attach-run", "transfer-encoding", "upgrade",
}  # fmt: skip
"""Headers that the transport sets itself."""

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class UsageError(Exception):
    """The arguments or the environment cannot be used. The text is for the person, and holds no value of theirs."""


class Options:
    """What the shim is asked to do. Read only.

    Attributes:
        url: The MCP server's URL.
        commands: Of ``login``, ``logout``, ``status``, ``help``, ``version`` those that were given.
        attach: The run to attach to.
        headers: Headers for every request, their values complete.
        allow_http: Whether http may go to other machines.
        no_browser: Whether to print the sign-in link instead of opening a browser.
        interactive: Whether somebody may be asked.
        json: Whether status and errors are for programs.
        log_file: Where to append what happens.
        home: ``$MOGPLEX_HOME`` or ``~/.mogplex``.
        api_key: ``MOGPLEX_API_KEY``, if it may go to this server.
        trusted_origin: Whether Mogplex's credentials may go to this server.
        environ: The environment.
    """

    __slots__ = (
        "allow_http", "api_key", "attach", "commands", "environ", "headers", "home", "interactive", "json", "log_file",
        "no_browser", "server", "trusted_origin", "url", "warnings",
    )  # fmt: skip

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        """Read them.

        Raises:
            UsageError: They cannot be used.
        """
        flags, values, words = _split(arguments)
        self.environ = environ
        self.warnings: list[str] = []
        self.commands = tuple(name for name in ("help", "version", "login", "logout", "status") if f"--{name}" in flags)
        self.json = "--json" in flags
        self.interactive = not (self.json or "--no-interactive" in flags)
        self.no_browser = "--no-browser" in flags
        self.allow_http = "--allow-http" in flags
        self.log_file = values["--log-file"][-1] if values["--log-file"] else None
        self.attach = _run_id(values["--attach"][-1] if values["--attach"] else environ.get("MOGPLEX_ATTACH_RUN_ID"))
        self.headers = tuple(_header(text, environ) for text in values["--header"])
        self.home = environ.get("MOGPLEX_HOME") or _default_home(environ)
        self.server = _server_url(words, environ)
        self.url = str(self.server)
        if self.server.scheme == "http" and not self.server.is_loopback:
            if not self.allow_http:
                raise UsageError(f"{self.server.origin} is not encrypted. Use https, or allow it with --allow-http.")
            self.warnings.append(
                f"{self.server.origin} is not encrypted: everybody on the way can read and change what is said"
            )
        self.trusted_origin = self.server.is_loopback or self.server.origin in _trusted_origins(environ)
        key = environ.get("MOGPLEX_API_KEY", "").strip() or None
        self.api_key = key if self.trusted_origin else None
        if key and not self.trusted_origin:
            self.warnings.append(
                f"MOGPLEX_API_KEY is not sent to {self.server.origin}: it is for the server of MOGPLEX_MCP_URL, "
                "MOGPLEX_URL or mogplex.com"
            )
        if self.api_key and not all("!" <= each <= "~" for each in self.api_key):
            raise UsageError("MOGPLEX_API_KEY holds characters that no key has. Set it anew, or unset it.")

    @property
    def has_own_authorization(self) -> bool:
        """Whether ``--header`` brings the credential: then no other is used."""
        return any(name.lower() == "authorization" for name, _ in self.headers)


def _split(arguments: Sequence[str]) -> tuple[set[str], dict[str, list[str]], list[str]]:
    flags: set[str] = set()
    values: dict[str, list[str]] = {name: [] for name in VALUED}
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, separator, value = word.partition("=")
        if word in FLAGS:
            flags.add(word)
        elif name in VALUED and separator:
            values[name].append(value)
        elif word in VALUED:
            if not rest:
                raise UsageError(f"{word} needs a value. See --help.")
            values[word].append(rest.pop(0))
        elif word.startswith("-"):
            raise UsageError(f"There is no option {name if name.startswith('--') else word[:2]}. See --help.")
        else:
            words.append(word)
    return flags, values, words


def _server_url(words: list[str], environ: Mapping[str, str]) -> Url:
    if len(words) > 1:
        raise UsageError("Give one URL. See --help.")
    if words:
        return _url(words[0], "The URL given")
    if named := environ.get("MOGPLEX_MCP_URL"):
        return _url(named, "MOGPLEX_MCP_URL")
    if base := environ.get("MOGPLEX_URL"):
        return _url(base.rstrip("/") + ENDPOINT, "MOGPLEX_URL")
    return _url(HOSTED + ENDPOINT, "The URL")


def _url(text: str, source: str) -> Url:
    try:
        return parse_url(text)
    except ValueError as error:
        raise UsageError(f"{source} cannot be used: {error}.") from error


def _trusted_origins(environ: Mapping[str, str]) -> set[str]:
    origins = set()
    for text in (environ.get("MOGPLEX_MCP_URL"), environ.get("MOGPLEX_URL"), HOSTED):
        try:
            origins.add(parse_url(text or HOSTED).origin)
        except ValueError:
            continue  # said already, if it is the URL in use
    return origins


def _run_id(text: str | None) -> str | None:
    if not text:
        return None
    if len(text) > 256 or not all("!" <= each <= "~" for each in text):
        raise UsageError("The run to attach to is no run's id.")
    return text


def _header(text: str, environ: Mapping[str, str]) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    name = name.strip()
    if not separator or not name or set(name) - _TOKEN:
        raise UsageError("--header wants NAME:VALUE.")
    if name.lower() in RESERVED_HEADERS:
        raise UsageError(f"The header {name} is the transport's own.")
    value = _expanded(value.strip(), environ, name)
    if not value.isascii() or not value.isprintable():
        raise UsageError(f"The value of the header {name} holds characters that no header has.")
    return name, value


def _expanded(value: str, environ: Mapping[str, str], header: str) -> str:
    """The value with every ``${NAME}`` replaced; what is put in is not looked at again."""
    made = ""
    while "${" in value:
        before, _, value = value.partition("${")
        name, closed, value = value.partition("}")
        if not closed:
            raise UsageError(f"The value of the header {header} has ${{ without }}.")
        if name not in environ:
            raise UsageError(f"The header {header} names the variable {name}, which is not set.")
        made += before + environ[name].strip()
    return made + value


def _default_home(environ: Mapping[str, str]) -> str:
    import os

    home = environ.get("HOME") or os.path.expanduser("~")
    return os.path.join(home, ".mogplex")
