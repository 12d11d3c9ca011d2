class OAuthError(Exception):
    error: str | None
    description: str
