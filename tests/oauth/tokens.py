"""What a token may do now, looked up as the bearer layer does."""

from mogplex_mcp.store.tokens import AccessRecord, find_access_token
from tests.oauth.site import Json, Site


def record(site: Site, tokens: Json) -> AccessRecord | None:
    """What the access token of an answer may do now."""
    return find_access_token(site.store, tokens["access_token"])


def usable(site: Site, tokens: Json) -> bool:
    """Whether the access token of an answer works now."""
    found = record(site, tokens)
    return found is not None and found.is_usable(site.store.now())
