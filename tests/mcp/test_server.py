"""The SDK's server around the tools, with its own client in this process: errors, threads, connections."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest
from django.db import OperationalError, connection
from mcp import Client
from mcp.shared.exceptions import MCPError

from memory_service.mcp import server as module
from memory_service.mcp.connection import open_connection
from memory_service.mcp.server import UNREACHABLE, build_server
from memory_service.models import ApiKey, Organisation, Project

pytestmark = pytest.mark.django_db(transaction=True)

MODES = ["auto", "legacy"]


@pytest.fixture
def bound_key(transactional_db: None) -> str:
    """Committed: the tools run in threads with connections of their own."""
    project = Project.objects.create(organisation=Organisation.objects.create(name="Northwind"), name="Relocation")
    return ApiKey.issue(project, bound_to={"user_id": "ann"})[1]


def ask(key: str, name: str, mode: str, **arguments: Any) -> Any:
    async def run() -> Any:
        async with Client(build_server(lambda ctx: open_connection(key, {}, how="a test")), mode=mode) as client:
            return await client.call_tool(name, arguments)

    return anyio.run(run)


@pytest.mark.parametrize("mode", MODES)
def test_it_says_what_went_wrong_without_saying_too_much(
    bound_key: str, mode: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(error: Exception) -> Any:
        def call(*args: Any) -> Any:
            raise error

        return call

    assert not ask(bound_key, "list_memories", mode).is_error
    monkeypatch.setattr(module, "call", fail(ZeroDivisionError("a secret of ours")))
    failed = ask(bound_key, "list_memories", mode)
    assert failed.is_error and "Something went wrong on our side" in failed.content[0].text
    assert "secret" not in failed.content[0].text and "a secret of ours" in caplog.text
    monkeypatch.setattr(module, "call", fail(OperationalError("no route to 10.0.0.7")))
    away = ask(bound_key, "list_memories", mode)
    assert away.is_error and away.content[0].text == UNREACHABLE


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("error", "words"),
    [(ZeroDivisionError("a secret of ours"), "Something went wrong"), (OperationalError("10.0.0.7"), "cannot answer")],
)
def test_it_hides_what_nobody_expected_of_a_connection(error: Exception, words: str, mode: str) -> None:
    def refuse(ctx: Any) -> Any:
        raise error

    async def run() -> None:
        async with Client(build_server(refuse), mode=mode) as client:
            for attempt in (client.call_tool("list_memories", {}), client.list_tools(), client.list_resources()):
                with pytest.raises(MCPError, match=words) as raised:
                    await attempt
                assert str(error) not in str(raised.value)

    anyio.run(run)


def test_it_leaves_no_connection_to_the_database_open(bound_key: str) -> None:
    """Threads come and go; a connection that each kept would soon be all there are."""

    def num_open() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return int(cursor.fetchone()[0])

    before = num_open()

    async def run() -> None:
        server = build_server(lambda ctx: open_connection(bound_key, {}, how="a test"))
        async with Client(server) as client, anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(client.call_tool, "list_memories", {})

    anyio.run(run)
    end = time.monotonic() + 10
    while num_open() > before:  # a backend takes a moment to end
        assert time.monotonic() < end
        time.sleep(0.05)
