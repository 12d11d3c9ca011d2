"""The OAuth 2.1 authorization server: who may ask, what for, and what they get.

It is Authlib with a module per standard; each says which sections it follows.
"""

from mogplex_mcp.auth.authorization.authorize import Authorization, Pending, RequestGoneError
from mogplex_mcp.auth.authorization.configured_clients import ClientsFileError
from mogplex_mcp.auth.authorization.metadata import RESOURCE_METADATA
from mogplex_mcp.auth.authorization.problem import Problem, ProblemError
from mogplex_mcp.auth.authorization.routes import CROSS_ORIGIN_PATHS, ProblemPage, create_authorization, oauth_routes

__all__ = [
    "CROSS_ORIGIN_PATHS",
    "RESOURCE_METADATA",
    "Authorization",
    "ClientsFileError",
    "Pending",
    "Problem",
    "ProblemError",
    "ProblemPage",
    "RequestGoneError",
    "create_authorization",
    "oauth_routes",
]
