"""`manage.py mcp`: the MCP server, on standard input and output or over HTTP."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import anyio
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from memory_service.errors import ServiceError
from memory_service.filters import ENTITY_FIELDS

HOW = "launch arguments such as --user-id"
GRACE_S = 1  # for requests that run when the server is told to stop
MAX_CONNECTIONS = 256  # at once; more are told to come back


class Command(BaseCommand):
    help = "Serve one user's (agent's, app's, run's) memory to a model by the Model Context Protocol."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        for field in ENTITY_FIELDS:
            parser.add_argument(f"--{field.replace('_', '-')}", help=f"stdio: the {field} whose memory it is")
        parser.add_argument("--key-file", help="stdio: a file with the API key; else MEMORY_API_KEY has it")
        parser.add_argument("--api-key", help="stdio: the API key itself, which others on the machine can then see")
        parser.add_argument("--http", action="store_true", help="streamable HTTP; keys come with the requests")
        parser.add_argument("--host", help="of --http; HOST, if it is not given")
        parser.add_argument("--port", type=int, help="of --http; MCP_PORT, if it is not given")

    def handle(self, *args: Any, **options: Any) -> None:
        (self.serve_http if options["http"] else self.serve_stdio)(options)

    def serve_http(self, options: dict[str, Any]) -> None:
        given = [name for name in (*ENTITY_FIELDS, "key_file", "api_key") if options[name]]
        if given:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise CommandError(f"{flags}: over HTTP the key of each request says whose memory it is, not the server")
        import uvicorn

        from memory_service.mcp.http import build_app

        uvicorn.run(
            build_app(),
            host=options["host"] or settings.ENV.host,
            port=options["port"] or settings.ENV.effective_mcp_port,
            log_config=None,
            access_log=False,  # each call of a tool writes its line
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
        )

    def serve_stdio(self, options: dict[str, Any]) -> None:
        """Nothing but the protocol goes to standard output: the SDK takes the descriptor, and logs go to stderr."""
        from mcp.server.stdio import stdio_server

        from memory_service.mcp.connection import open_connection
        from memory_service.mcp.server import build_server

        key = self._read_key(options)
        asked = {field: options[field] for field in ENTITY_FIELDS if options[field] is not None}
        try:
            open_connection(key, asked, how=HOW)
        except ServiceError as exc:
            raise CommandError(str(exc)) from exc
        except DatabaseError as exc:
            first = (str(exc).strip().splitlines() or [""])[0]
            raise CommandError(f"the database does not answer: start the service first ({first})") from exc
        connections.close_all()
        server = build_server(lambda ctx: open_connection(key, asked, how=HOW))

        async def serve() -> None:
            async with stdio_server() as (read_stream, write_stream):
                await server.run(read_stream, write_stream, server.create_initialization_options())

        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a thread that waits for a line would hold the end up
        anyio.run(serve)

    def _read_key(self, options: dict[str, Any]) -> str:
        if options["api_key"] and options["key_file"]:
            raise CommandError("--api-key and --key-file: give one of them")
        if options["key_file"]:
            try:
                return Path(options["key_file"]).expanduser().read_text().strip()
            except (OSError, UnicodeDecodeError) as exc:
                raise CommandError(f"--key-file={options['key_file']} cannot be read: {exc}") from exc
        key = options["api_key"] or settings.ENV.memory_api_key
        os.environ.pop("MEMORY_API_KEY", None)  # no child shall inherit it
        if not key:
            raise CommandError("no API key: set MEMORY_API_KEY, or give --key-file; `manage.py keys create` makes one")
        return str(key)
