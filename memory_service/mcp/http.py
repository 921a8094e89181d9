"""Streamable HTTP, without state: every request carries its key, and any process can answer it.

The guard stands before the SDK's transport. It refuses foreign hosts and origins (a web page that has its name resolve
to this machine sends its own), then whoever has no key, then a key that says of nobody whose memory it opens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import mcp_types as types
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http.request import split_domain_port, validate_host
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from memory_service.errors import Forbidden, InvalidInput, NotFound, ServiceError
from memory_service.filters import ENTITY_FIELDS

from .connection import Connection, open_connection
from .server import UNREACHABLE, Context, build_server, in_thread

PATH = "/mcp"
HEALTH_PATH = "/healthz"
HEADERS = {f"x-memory-{field.replace('_', '-')}": field for field in ENTITY_FIELDS}
HOW = "the headers X-Memory-User-Id, X-Memory-Agent-Id, X-Memory-App-Id, X-Memory-Run-Id"
CONNECTION = "memory_service.connection"  # in the ASGI scope
BYTES_PER_CHAR = 12  # at most: two escapes of six bytes for what is beyond the basic plane
BODY_MARGIN_BYTES = 2**18


def build_app() -> ASGIApp:
    server = build_server(_connection_of)
    transport = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=settings.ENV.max_message_chars * BYTES_PER_CHAR + BODY_MARGIN_BYTES,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the guard does it
        custom_starlette_routes=[Route(HEALTH_PATH, _healthz)],
    )
    return Guard(transport)


def _connection_of(ctx: Context) -> Connection:
    connection = ctx.request.scope[CONNECTION] if ctx.request is not None else None
    assert isinstance(connection, Connection)  # the guard let nobody else in
    return connection


async def _healthz(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


class Guard:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == HEALTH_PATH:
            await self.app(scope, receive, send)
            return
        try:
            scope = await _admit(scope)
        except ServiceError as exc:
            await _refuse(exc.status, str(exc), Headers(scope=scope))(scope, receive, send)
        except MCPError as exc:  # one that nobody expected
            await _refuse(500, str(exc), Headers(scope=scope))(scope, receive, send)
        except (OperationalError, InterfaceError):
            await _refuse(503, UNREACHABLE, Headers(scope=scope))(scope, receive, send)
        else:
            await self.app(scope, receive, send)


async def _admit(scope: Scope) -> Scope:
    """The scope with its connection. Raises a ServiceError with the status of the refusal."""
    headers = Headers(scope=scope)
    check_host(headers.get("host", ""), headers.get("origin"))
    if scope["path"].rstrip("/") != PATH:
        raise NotFound(f"There is nothing at {scope['path'][:80]}: the MCP server is at {PATH}.")
    if scope["method"] != "POST":
        raise _NotAllowed("Only POST: this server keeps no sessions and sends nothing unasked.")
    key, asked = read_key(headers), read_scope(headers)
    connection = await in_thread(lambda: open_connection(key, asked, how=HOW))
    return {**scope, "path": PATH, "raw_path": PATH.encode(), CONNECTION: connection}


class _NotAllowed(ServiceError):
    status = 405


def check_host(host: str, origin: str | None) -> None:
    """Hosts as ALLOWED_HOSTS says; a browser's origin must be the host itself or in CSRF_TRUSTED_ORIGINS."""
    domain, _ = split_domain_port(host)
    if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
        raise InvalidInput(
            f"This service does not answer to the host {host[:80]!r}: whoever runs it adds it to ALLOWED_HOSTS."
        )
    if origin is None or origin in settings.CSRF_TRUSTED_ORIGINS:
        return
    try:
        same = urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        same = False
    if not same:
        raise Forbidden(f"Pages of the origin {origin[:80]!r} may not call this: see CSRF_TRUSTED_ORIGINS.")


def read_key(headers: Headers) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def read_scope(headers: Headers) -> dict[str, str]:
    """Whose memory it is, by the operator who set the headers. Empty or given twice is a mistake, not a choice."""
    asked: dict[str, str] = {}
    for header, field in HEADERS.items():
        values = headers.getlist(header)
        if not values:
            continue
        if len(values) > 1 or not values[0].strip():
            raise InvalidInput(f"the header {header} must be given once and name one {field}, or be left out")
        try:
            asked[field] = values[0].encode("latin-1").decode("utf-8")  # ASGI's headers are bytes in disguise
        except UnicodeDecodeError as exc:
            raise InvalidInput(f"the header {header} is not UTF-8") from exc
    return asked


def _refuse(status: int, message: str, headers: Headers) -> Response:
    """As JSON-RPC, which MCP clients show, with `detail` beside it as the REST API has it."""
    body: Mapping[str, Any] = {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": types.INVALID_REQUEST, "message": message},
        "detail": message,
    }
    more = {}
    if status == 401:
        known = ', error="invalid_token"' if headers.get("authorization") else ""
        more["WWW-Authenticate"] = f'Bearer realm="memory-service"{known}'
    if status == 405:
        more["Allow"] = "POST"
    return Response(json.dumps(body), status, headers=more, media_type="application/json")
