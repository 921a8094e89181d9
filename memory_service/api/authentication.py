"""The key in the header says which project it is: nothing else in a request can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from memory_service.errors import Forbidden
from memory_service.models import ApiKey

SCHEMES = ("token", "bearer")
READING = ("GET", "HEAD", "OPTIONS")
# Requests that only read, and POST because a question is too much for a URL.
READING_POSTS = frozenset(
    {
        "v3/memories/",
        "v3/memories/search/",
        "v2/memories/",
        "v2/memories/search/",
        "v1/memories/search/",
        "v1/memories/diff/",
        "v1/exports/get/",
        "v1/exports/memories/",
        "v1/context/",
        "v1/answers/",  # what is kept of it are no memories
        "v1/graph/",
        "v1/graph/rank/",
        "search",
    }
)


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Whoever holds the key; the dashboard's users sign in elsewhere."""

    key: ApiKey
    is_authenticated: bool = True


class KeyAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[KeyHolder, ApiKey] | None:
        given = _read_key(request)
        if given is None:
            return None
        key = ApiKey.find(given)
        if key is None:
            raise AuthenticationFailed("Invalid API key: unknown or revoked. `manage.py keys create` makes one.")
        check_may(key, request)
        return KeyHolder(key), key

    def authenticate_header(self, request: Request) -> str:
        return "Token"


def check_may(key: ApiKey, request: Request) -> None:
    """Raises Forbidden for a key that is bound to a user, agent or app, and for a viewer's key that would write."""
    if key.bound_to:
        raise Forbidden(
            f"this key is bound to {', '.join(key.bound_to)} and opens the MCP server alone: "
            "the REST API needs a key of the whole project"
        )
    if key.role == ApiKey.Role.VIEWER and request.method not in READING:
        match = request._request.resolver_match
        if request.method != "POST" or match is None or match.route not in READING_POSTS:
            raise Forbidden("this is a viewer's key, which only reads: writing needs a member's or an owner's key")


def _read_key(request: Request) -> str | None:
    """`Authorization: Token KEY` or `Bearer KEY`, or `X-API-Key: KEY` as the open-source server takes it."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if key and scheme.lower() in SCHEMES:
        return key.strip()
    return request.headers.get("X-API-Key") or None


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = KeyAuthentication
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Token KEY` or `Bearer KEY`; the key is in the file that `make run` names.",
        }
