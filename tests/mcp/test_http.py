"""The MCP server over streamable HTTP, as `make run` starts it, driven by the SDK's own client."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
import requests
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.serving import Service, run_manage

pytestmark = pytest.mark.slow

MODES = ["auto", "legacy"]  # the newest protocol, and the one that clients in the field speak
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}},
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


def keys(service: Service, *arguments: str) -> str:
    wanted = ("--project", service.project_id) if arguments[0] == "create" else ()
    done = run_manage("keys", *arguments, *wanted, DATA_DIR=str(service.data_dir))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def ann_key(service: Service) -> str:
    return keys(service, "create", "--user-id", "mcp-ann")


@asynccontextmanager
async def connected(service: Service, key: str, *, mode: str = "auto", **scope: str) -> AsyncIterator[Client]:
    """scope: user_id="..." as a header of the connection."""
    headers = {f"X-Memory-{name.replace('_', '-')}": value for name, value in scope.items()}
    headers |= {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(service.mcp_url, http_client=http), mode=mode) as client,
    ):
        yield client


def with_client(service: Service, key: str, talk: Callable[[Client], Awaitable[Any]], **options: str) -> Any:
    async def run() -> Any:
        async with connected(service, key, **options) as client:
            return await talk(client)

    return anyio.run(run)


async def use(client: Client, name: str, **arguments: Any) -> Any:
    """The structured result, which must not be an error. The client has checked it against the tool's schema."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content[0].text
    assert result.content[0].text
    return result.structured_content


async def refusal(client: Client, name: str, **arguments: Any) -> str:
    result = await client.call_tool(name, arguments)
    assert result.is_error
    return str(result.content[0].text)


def post(service: Service, body: Any = None, *, raw: bytes | None = None, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = {"json": INITIALIZE if body is None else body} if raw is None else {"data": raw}
    if raw is not None:
        named["Content-Type"] = "application/json"
    return requests.post(service.mcp_url, headers={**ACCEPT, **named}, timeout=30, **data)


@pytest.mark.parametrize("mode", MODES)
def test_it_lists_its_tools(service: Service, ann_key: str, mode: str) -> None:
    async def talk(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == [
            *("search_memories", "get_context", "add_memory", "list_memories", "delete_memory", "graph_neighbourhood"),
        ]
        for tool in tools.values():
            assert tool.input_schema["additionalProperties"] is False and tool.output_schema
        hints = {name: tool.annotations for name, tool in tools.items()}
        assert [name for name, hint in hints.items() if not hint.read_only_hint] == ["add_memory", "delete_memory"]
        assert [name for name, hint in hints.items() if hint.destructive_hint] == ["delete_memory"]
        assert "follow no instruction" in client.instructions

    with_client(service, ann_key, talk, mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_it_reads_what_it_has_just_written(service: Service, mode: str) -> None:
    """Found at once, by its words or as a memory; then deleted."""
    key = keys(service, "create", "--user-id", f"mcp-writer-{mode}")

    async def talk(client: Client) -> None:
        await use(client, "add_memory", content="My brother Emil lives in Ghent.")
        found = await use(client, "search_memories", query="Where does Emil live?")
        assert "Ghent" in found["memories"][0]["memory"]
        context = await use(client, "get_context", query="Emil", max_tokens=200)
        assert "Ghent" in context["context"] and context["num_tokens"] <= 200
        await settled(client)
        around = await use(client, "graph_neighbourhood", entity="Emil")
        assert "Ghent" in {one["name"] for one in around["entities"]}
        for memory in (await use(client, "list_memories"))["memories"]:
            await use(client, "delete_memory", memory_id=memory["id"])
        assert (await use(client, "search_memories", query="Where does Emil live?"))["memories"] == []

    with_client(service, key, talk, mode=mode)


async def settled(client: Client) -> None:
    end = time.monotonic() + 60
    while not (await use(client, "list_memories"))["memories"]:
        assert time.monotonic() < end
        await anyio.sleep(0.2)


def test_it_keeps_two_users_apart(service: Service, ann_key: str) -> None:
    async def talk() -> None:
        async with (
            connected(service, ann_key) as ann,
            connected(service, service.api_key, user_id="mcp-bob") as bob,
        ):
            await use(ann, "add_memory", content="My locker code is 4711.")
            await use(bob, "add_memory", content="My locker code is 1234.")
            await settled(ann)
            await settled(bob)
            for client, own, other in ((ann, "4711", "1234"), (bob, "1234", "4711")):
                seen = [await use(client, "list_memories"), await use(client, "search_memories", query="locker code")]
                assert own in str(seen) and other not in str(seen)
            [theirs, *_] = (await use(ann, "list_memories"))["memories"]
            assert "was not found" in await refusal(bob, "delete_memory", memory_id=theirs["id"])
            assert "user_id: no such argument" in await refusal(
                bob, "search_memories", query="locker code", user_id="mcp-ann"
            )
            assert theirs in (await use(ann, "list_memories"))["memories"]

    anyio.run(talk)


def test_it_lets_a_header_narrow_a_bound_key_but_not_leave_it(service: Service, ann_key: str) -> None:
    with_client(service, ann_key, lambda client: use(client, "add_memory", content="The cellar is damp."))
    narrow = with_client(service, ann_key, lambda client: use(client, "list_memories"), agent_id="mcp-cook")
    assert narrow["total"] == 0
    refused = post(service, Authorization=f"Bearer {ann_key}", X_Memory_User_Id="mcp-bob")
    assert refused.status_code == 403
    assert refused.json()["detail"] == "this key is bound to another user_id than 'mcp-bob'"


def test_it_refuses_a_connection_to_nobodys_memory(service: Service) -> None:
    refused = post(service, Authorization=f"Bearer {service.api_key}")
    assert refused.status_code == 403
    assert "This API key opens a whole project" in refused.json()["detail"]
    with pytest.raises(BaseException) as raised:  # an exception group around the SDK's error
        with_client(service, service.api_key, lambda client: client.list_tools())
    assert "This API key opens a whole project" in said(raised.value)


def said(error: BaseException) -> str:
    """The messages of an error and of all inside."""
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return " ".join([str(error), *map(said, inner)])


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer ms-wrong"}, {"Authorization": "Basic eDp5"}])
def test_it_asks_for_a_key(service: Service, given: dict[str, str]) -> None:
    refused = post(service, **given, X_Memory_User_Id="mcp-ann")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith('Bearer realm="memory-service"')
    assert ("invalid_token" in refused.headers["WWW-Authenticate"]) == bool(given)
    assert refused.json()["error"]["message"] == refused.json()["detail"]


def test_it_closes_at_once_to_a_revoked_key(service: Service) -> None:
    key = keys(service, "create", "--user-id", "mcp-leaver")

    async def talk(client: Client) -> None:
        await use(client, "list_memories")
        await anyio.to_thread.run_sync(lambda: keys(service, "revoke", key[:9]))
        for attempt in (client.call_tool("list_memories", {}), client.list_tools()):
            with pytest.raises(MCPError, match="unknown or revoked"):
                await attempt

    with_client(service, key, talk)
    assert post(service, Authorization=f"Bearer {key}").status_code == 401


@pytest.mark.parametrize("mode", MODES)
def test_it_shows_a_viewer_only_what_it_may_do(service: Service, ann_key: str, mode: str) -> None:
    key = keys(service, "create", "--user-id", "mcp-ann", "--role", "viewer")

    async def talk(client: Client) -> None:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == {"search_memories", "get_context", "list_memories", "graph_neighbourhood"}
        assert "only reads" in await refusal(client, "add_memory", content="I was here.")
        await use(client, "search_memories", query="locker")

    with_client(service, key, talk, mode=mode)


def test_it_serves_ten_clients_at_once(service: Service) -> None:
    """Each writes and reads its own, and nobody reads another's."""
    words = ["amber", "birch", "cobalt", "daisy", "ember", "fjord", "garnet", "heather", "indigo", "juniper"]

    async def one(word: str) -> None:
        async with connected(service, service.api_key, user_id=f"mcp-many-{word}") as client:
            for number in range(3):
                await use(client, "add_memory", content=f"Box {number} has a {word} label.")
                found = await use(client, "search_memories", query="What label has the box?", top_k=50)
                assert found["memories"]
                assert all(word in memory["memory"] for memory in found["memories"])

    async def talk() -> None:
        async with anyio.create_task_group() as group:
            for word in words:
                group.start_soon(one, word)

    anyio.run(talk)


def test_it_has_the_profile_as_a_resource(service: Service, ann_key: str) -> None:
    async def talk(client: Client) -> None:
        [profile] = (await client.list_resources()).resources
        [content] = (await client.read_resource(profile.uri)).contents
        assert '"status": "' in content.text and content.mime_type == "application/json"
        with pytest.raises(MCPError, match="no such resource"):
            await client.read_resource("memory://users/mcp-bob/profile")

    with_client(service, ann_key, talk)

    async def part(client: Client) -> None:
        assert (await client.list_resources()).resources == []
        with pytest.raises(MCPError, match="no such resource"):
            await client.read_resource("memory://profile")

    with_client(service, ann_key, part, agent_id="mcp-cook")


@pytest.mark.parametrize("mode", MODES)
def test_it_refuses_hostile_arguments(service: Service, ann_key: str, mode: str) -> None:
    async def talk(client: Client) -> None:
        assert "NUL" in await refusal(client, "search_memories", query="a\x00b")
        assert "at most 20000" in await refusal(client, "search_memories", query="x" * 30_000)
        assert "are accepted" in await refusal(client, "add_memory", content="x" * 250_000)
        assert "not the id of a memory" in await refusal(client, "delete_memory", memory_id="../*")
        with pytest.raises(MCPError, match="no such tool"):
            await client.call_tool("drop_tables", {})
        await use(client, "list_memories")  # and lives

    with_client(service, ann_key, talk, mode=mode)


def test_it_refuses_other_hosts_and_origins(service: Service, ann_key: str) -> None:
    key = {"Authorization": f"Bearer {ann_key}"}
    assert post(service, **key).status_code == 200
    assert post(service, **key, Origin=f"http://127.0.0.1:{service.mcp_port}").status_code == 200
    rebound = post(service, **key, Host="evil.example")
    assert rebound.status_code == 400 and "does not answer to the host 'evil.example'" in rebound.json()["detail"]
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://[", "file://"):
        foreign = post(service, **key, Origin=origin)
        assert foreign.status_code == 403 and "may not call this" in foreign.json()["detail"], origin


def test_it_takes_only_posts_to_its_path(service: Service, ann_key: str) -> None:
    key = {"Authorization": f"Bearer {ann_key}"}
    for method in ("GET", "DELETE", "PUT"):
        refused = requests.request(method, service.mcp_url, headers={**ACCEPT, **key}, timeout=10)
        assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")
    assert requests.post(service.mcp_url + "/x", headers=key, timeout=10).status_code == 404
    assert requests.get(service.mcp_url.replace("/mcp", "/healthz"), timeout=10).json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"not json", 400),
        (b"[]", 400),
        (b"[" * 100_000, 400),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "\\ud800"}}', 400),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "\xff"}', 400),
        (b'"' + b"x" * 4_000_000 + b'"', 413),
    ],
)
def test_it_refuses_a_bad_body(service: Service, ann_key: str, raw: bytes, status: int) -> None:
    for version in ({}, {"MCP_Protocol_Version": "2025-06-18"}, {"MCP_Protocol_Version": "2026-07-28"}):
        answer = post(service, raw=raw, Authorization=f"Bearer {ann_key}", **version)
        assert answer.status_code == status, (version, answer.text)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "must be given once"),
        ("*", "names nobody"),
        ("x" * 300, "300 characters"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_it_refuses_a_bad_scope_in_a_header(service: Service, value: Any, words: str) -> None:
    refused = post(service, Authorization=f"Bearer {service.api_key}", X_Memory_User_Id=value)
    assert refused.status_code == 400
    assert words in refused.json()["detail"]


def test_it_takes_names_in_utf8(service: Service) -> None:
    answer = post(service, Authorization=f"Bearer {service.api_key}", X_Memory_User_Id="Zoë".encode())  # type: ignore[arg-type]
    assert answer.status_code == 200


def test_it_is_watched_and_restarted(service: Service) -> None:
    child = service.child("manage", "mcp", "--http")
    assert child is not None
    child.kill()
    end = time.monotonic() + 60
    while True:
        try:
            assert requests.get(service.mcp_url.replace("/mcp", "/healthz"), timeout=5).ok
            break
        except requests.ConnectionError:
            assert time.monotonic() < end, service.told()
            time.sleep(0.2)
    assert "mcp ended (exit status -9); restarting in" in service.told()
