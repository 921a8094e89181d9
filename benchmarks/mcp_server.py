"""What an agent waits for over MCP, beside the same calls of the REST API, and what the server's process weighs.

    search     10,000 memories in the scope; the question embedded each time
    add        one message: MCP answers when its memory is there (for 2 s at most), REST when it is kept
    memory     resident megabytes of the MCP server's process, before and after its first question

Starts a service of its own on a temporary data folder. The calls alternate, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import httpx2
import psutil
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from benchmarks.service import Speech, describe_machine, fill, percentiles, service

USER = "fill-0"  # one whom benchmarks.service fills
NUM_WARM_UP = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--adds", type=int, default=50)
    parser.add_argument("--scopes", type=int, default=2, help="of 10,000 memories each")
    args = parser.parse_args()
    with service() as (url, key, data_dir):
        fill(data_dir, num_scopes=args.scopes)
        figures = anyio.run(measure, url, key, args.calls, args.adds)
    print(f"machine: {describe_machine()}")
    for name, found in figures.items():
        print(f"{name}: {found}")


async def measure(url: str, key: str, num_calls: int, num_adds: int) -> dict[str, Any]:
    port = (urlsplit(url).port or 0) + 1  # MCP_PORT's default
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as rest,
        httpx2.AsyncClient(headers={**headers, "X-Memory-User-Id": USER}, timeout=60) as http,
        Client(streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)) as client,
    ):
        weight = {"MCP process before the first question, MB": resident_mb(port)}
        speech = Speech(1)

        async def search() -> None:
            await call(client, "search_memories", query=speech.question())

        async def search_rest() -> None:
            body = {"query": speech.question(), "filters": {"user_id": USER}}
            (await rest.post("/v3/memories/search/", json=body)).raise_for_status()

        async def add() -> None:
            await call(client, "add_memory", content=speech.message())

        async def add_rest() -> None:
            (
                await rest.post("/v3/memories/add/", json={"messages": speech.message(), "user_id": "rest"})
            ).raise_for_status()

        searches = await alternate(num_calls, {"search over MCP": search, "search over REST": search_rest})
        weight["MCP process after, MB"] = resident_mb(port)
        return weight | searches | await alternate(num_adds, {"add over MCP": add, "add over REST": add_rest})


async def call(client: Client, name: str, **arguments: Any) -> None:
    result = await client.call_tool(name, arguments)
    if result.is_error:
        raise RuntimeError(f"{name}: {result.content}")


async def alternate(num: int, calls: dict[str, Callable[[], Awaitable[None]]]) -> dict[str, Any]:
    latencies_ms: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(NUM_WARM_UP + num):
        for name, one in calls.items():
            start = time.perf_counter()
            await one()
            latencies_ms[name].append(1000 * (time.perf_counter() - start))
    return {name: percentiles(found[NUM_WARM_UP:]) for name, found in latencies_ms.items()}


def resident_mb(port: int) -> int:
    for process in psutil.process_iter():
        try:
            if {"manage", "mcp", "--http"} <= set(process.cmdline()) and any(
                one.laddr.port == port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN
            ):
                return int(process.memory_info().rss / 2**20)
        except psutil.Error:
            continue
    raise RuntimeError(f"no MCP server listens on port {port}")


if __name__ == "__main__":
    main()
