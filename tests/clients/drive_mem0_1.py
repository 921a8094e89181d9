"""Drives mem0ai 1.0.x (mem0-1.txt): prints a JSON report and exits 0 only if every step worked."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

os.environ["MEM0_TELEMETRY"] = "False"  # read on import

from mem0 import MemoryClient
from steps import Report, arguments, drive, texts


def main() -> None:
    args = arguments()
    report = Report(args.host, args.api_key)
    report.step("version", lambda: version("mem0ai"), lambda v: v.startswith("1.0."))
    client = report.step("construct", lambda: MemoryClient(api_key=args.api_key, host=args.host))
    if client is None:
        report.finish()

    def feedback(memory_id: str, **kwargs: str) -> Any:
        """1.0.11 hands its own telemetry one argument too many, after the service has answered 2xx."""
        try:
            return client.feedback(memory_id, **kwargs)
        except TypeError as exc:
            if "capture_client_event" not in str(exc):
                raise
            return {"message": "accepted"}

    report.step("add_sync", lambda: client.add("I play the cello.", user_id=args.user, async_mode=False))
    report.step(
        "search_top_level_user",
        lambda: client.search("Which instrument?", user_id=args.user, version="v2", top_k=5),
        lambda a: "cello" in texts(a),
    )
    report.step(
        "get_all_page",
        lambda: client.get_all(filters={"user_id": args.user}, page=1, page_size=1),
        lambda a: len(a["results"]) == 1,
    )
    report.step("delete_all_first", lambda: client.delete_all(user_id=args.user))
    drive(report, client, args.user, feedback=feedback)
    report.step("add_to_delete_user", lambda: client.add("I have a parrot.", user_id=args.user))
    report.step("delete_users", lambda: client.delete_users(user_id=args.user))
    report.finish()


if __name__ == "__main__":
    main()
