"""`manage.py mcp` on standard input and output: a real process, driven by the SDK's own client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from tests.mcp.test_http import MODES, keys, refusal, settled, use
from tests.serving import ROOT, Service, own_environment, run_manage

pytestmark = pytest.mark.slow


@asynccontextmanager
async def launched(service: Service, key: str, *arguments: str, mode: str = "auto") -> AsyncIterator[Client]:
    server = StdioServerParameters(
        command=sys.executable,
        args=["manage.py", "mcp", *arguments],
        env={"DATA_DIR": str(service.data_dir), "MEMORY_API_KEY": key, "LOG_LEVEL": "INFO"},
        cwd=ROOT,
    )
    log = service.data_dir.with_name("stdio.log")
    with log.open("a") as errors:
        async with Client(stdio_client(server, errlog=errors), mode=mode, read_timeout_seconds=60) as client:
            yield client


@pytest.mark.parametrize("mode", MODES)
def test_it_remembers_for_the_user_it_was_started_for(service: Service, mode: str) -> None:
    async def talk() -> None:
        async with launched(service, service.api_key, "--user-id", f"stdio-ann-{mode}", mode=mode) as ann:
            assert len((await ann.list_tools()).tools) == 6
            await use(ann, "add_memory", content="My brother Emil lives in Ghent.")
            found = await use(ann, "search_memories", query="Where does Emil live?")
            assert "Ghent" in found["memories"][0]["memory"]
            await settled(ann)
            [memory, *_] = (await use(ann, "list_memories"))["memories"]
            assert "user_id: no such argument" in await refusal(ann, "list_memories", user_id="stdio-bob")
            async with launched(service, service.api_key, "--user-id", "stdio-bob", mode=mode) as bob:
                assert (await use(bob, "list_memories"))["total"] == 0
                assert "was not found" in await refusal(bob, "delete_memory", memory_id=memory["id"])
            assert memory in (await use(ann, "list_memories"))["memories"]

    anyio.run(talk)
    assert '"message": "mcp add_memory ok"' in service.data_dir.with_name("stdio.log").read_text()


def test_it_closes_to_a_revoked_key(service: Service) -> None:
    key = keys(service, "create", "--user-id", "stdio-leaver")

    async def talk() -> None:
        async with launched(service, key) as client:
            await use(client, "list_memories")
            await anyio.to_thread.run_sync(lambda: keys(service, "revoke", key[:9]))
            with pytest.raises(MCPError, match="unknown or revoked"):
                await client.call_tool("list_memories", {})

    anyio.run(talk)


def test_it_says_nothing_but_the_protocol_on_standard_output(service: Service) -> None:
    """Line by line JSON-RPC, whatever is sent; logs go to standard error; it ends with its input."""
    lines: list[Any] = [
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "0"},
            },
        },
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "search_memories", "arguments": {}}},
        {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "list_memories", "arguments": {}}},
    ]
    text = "\n".join([*map(json.dumps, lines[:3]), "not json", "[" * 10_000, json.dumps(lines[3]), ""])
    process = subprocess.Popen(
        [sys.executable, "manage.py", "mcp", "--user-id", "stdio-plain"],
        cwd=ROOT,
        env=own_environment({"DATA_DIR": str(service.data_dir), "MEMORY_API_KEY": service.api_key}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    process.stdin.write(text)
    process.stdin.flush()
    answers = {}
    while 3 not in answers or 2 not in answers:
        answer = json.loads(process.stdout.readline())
        answers[answer["id"]] = answer
    rest, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in rest.splitlines())
    assert answers[1]["result"]["serverInfo"]["name"] == "memory-service"
    assert answers[2]["result"]["isError"] is True
    assert answers[3]["result"]["structuredContent"]["total"] == 0
    assert "mcp list_memories ok" in errors


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        (["--user-id", "ann"], "", "no API key: set MEMORY_API_KEY, or give --key-file"),
        (["--user-id", "ann"], "ms-wrong", "Invalid API key: unknown or revoked"),
        ([], "{key}", "This API key opens a whole project"),
        (["--user-id", ""], "{key}", "user_id='' names nobody"),
        (["--user-id", "*"], "{key}", "user_id='*' names nobody"),
        (["--user-id", "ann", "--key-file", "/nonexistent/key"], "", "--key-file=/nonexistent/key cannot be read"),
        (["--user-id", "ann", "--key-file", "x", "--api-key", "y"], "", "--api-key and --key-file: give one of them"),
        (["--http", "--user-id", "ann"], "", "--user-id: over HTTP the key of each request says"),
    ],
)
def test_it_refuses_to_start_in_one_sentence(service: Service, arguments: list[str], key: str, words: str) -> None:
    given = key.format(key=service.api_key)
    done = run_manage("mcp", *arguments, DATA_DIR=str(service.data_dir), MEMORY_API_KEY=given)
    assert done.returncode != 0 and done.stdout == ""
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_it_takes_its_key_from_a_file(service: Service) -> None:
    async def talk() -> None:
        arguments = ("--key-file", str(service.data_dir / "api-key"), "--user-id", "stdio-file")
        async with launched(service, "", *arguments) as client:
            assert (await use(client, "list_memories"))["total"] == 0

    anyio.run(talk)


def test_it_says_where_the_database_is_missing(tmp_path: Path) -> None:
    done = run_manage("mcp", "--user-id", "ann", DATA_DIR=str(tmp_path), MEMORY_API_KEY="ms-any")
    assert done.returncode != 0 and done.stdout == ""
    assert "the database does not answer: start the service first" in done.stderr.splitlines()[-1]
