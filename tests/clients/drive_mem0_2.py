"""Drives both clients of mem0ai 2.2.1: prints a JSON report, exits 0 only if every step worked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

os.environ["MEM0_TELEMETRY"] = "False"  # read on import

from mem0 import AsyncMemoryClient, MemoryClient
from mem0.client.types import AddMemoryOptions, DeleteAllMemoryOptions, SearchMemoryOptions
from steps import Report, arguments, drive, texts


class Blocking:
    """An AsyncMemoryClient whose methods wait for their answer: one list of steps drives both clients."""

    def __init__(self, api_key: str, host: str) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncMemoryClient(api_key=api_key, host=host)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self._runner.run(method(*args, **kwargs))


def drive_options(report: Report, client: Any, user: str, *, prefix: str) -> None:
    """What 2.x has over 1.0: typed options, paging, clearing a date, deleting what was superseded too."""
    filters = {"user_id": user}
    add = AddMemoryOptions(filters=filters, infer=False, expiration_date="2099-12-31")
    report.step(f"{prefix}add_options", lambda: client.add("The spare key hangs behind the clock.", options=add))
    report.step(f"{prefix}add_second", lambda: client.add("The meter is in the cellar.", user_id=user, infer=False))
    page = report.step(
        f"{prefix}get_all_page",
        lambda: client.get_all(filters=filters, page=1, page_size=1),
        lambda a: a["count"] >= 2 and len(a["results"]) == 1 and a["next"] and a["previous"] is None,
    )
    hits = report.step(
        f"{prefix}search_options",
        lambda: client.search("Where is the spare key?", SearchMemoryOptions(filters=filters, top_k=1)),
        lambda a: "behind the clock" in texts(a) and len(a["results"]) == 1,
    )
    if page and hits:
        memory_id = hits["results"][0]["id"]
        report.step(f"{prefix}clear_expiration", lambda: client.update(memory_id, expiration_date=None))
        report.step(f"{prefix}get_cleared", lambda: client.get(memory_id), lambda a: a["expiration_date"] is None)
        report.step(f"{prefix}delete_linked", lambda: client.delete(memory_id, delete_linked=True))
    everything = DeleteAllMemoryOptions(filters=filters)
    report.step(f"{prefix}delete_all_options", lambda: client.delete_all(options=everything))
    report.step(
        f"{prefix}get_all_after_options",
        lambda: client.get_all(filters=filters),
        lambda a: a["results"] == [],
    )
    report.step(f"{prefix}add_to_delete_user", lambda: client.add("I have a parrot.", user_id=user))
    report.step(f"{prefix}delete_users", lambda: client.delete_users(user_id=user))


def main() -> None:
    args = arguments()
    report = Report(args.host, args.api_key)
    report.step("version", lambda: version("mem0ai"), lambda v: v == "2.2.1")
    for prefix, make in (("sync.", MemoryClient), ("async.", Blocking)):
        client = report.step(f"{prefix}construct", lambda make=make: make(api_key=args.api_key, host=args.host))
        if client is None:
            continue
        user = f"{args.user}-{prefix.rstrip('.')}"
        drive(report, client, user, prefix=prefix)
        drive_options(report, client, user, prefix=prefix)
    report.finish()


if __name__ == "__main__":
    main()
