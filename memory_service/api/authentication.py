"""The key in the header says which project it is: nothing else in a request can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from memory_service.models import ApiKey

SCHEMES = ("token", "bearer")


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
        return KeyHolder(key), key

    def authenticate_header(self, request: Request) -> str:
        return "Token"


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
