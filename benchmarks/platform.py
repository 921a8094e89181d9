"""How fast webhooks arrive, and files are imported, exported and deleted: one service of its own, one table.

python -m benchmarks.platform [--memories 5000] [--changes 50]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.receiver import receiving
from tests.serving import Service

TIMEOUT_S = 600
WORDS = ("boat", "oven", "letter", "garden", "window", "river", "baker", "violin", "harbour", "winter", "ladder")


def wait_for(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + TIMEOUT_S
    while not (answer := found()):
        if time.monotonic() > end:
            raise TimeoutError(f"it did not come to that in {TIMEOUT_S} s")
        time.sleep(0.02)
    return answer


def memories(count: int, user: str) -> list[dict[str, Any]]:
    chosen = random.Random(7)
    return [
        {"id": f"{user}-{i}", "memory": f"Number {i}: " + " ".join(chosen.choices(WORDS, k=10)), "user_id": user}
        for i in range(count)
    ]


def measure_import(service: Service, rows: list[dict[str, Any]]) -> float:
    """Seconds from the request to the job's end."""
    started = time.monotonic()
    job = service.call("POST", "/v1/imports/", rows).json
    wait_for(lambda: service.call("GET", f"/v1/imports/{job['id']}/").json["status"] == "SUCCEEDED")
    return time.monotonic() - started


def measure_export(service: Service) -> tuple[float, int]:
    """Seconds, and bytes."""
    headers = {"Authorization": f"Token {service.api_key}"}
    started = time.monotonic()
    response = requests.post(f"{service.url}/v1/exports/memories/", json={}, headers=headers, timeout=TIMEOUT_S)
    lines = response.content.splitlines()
    assert json.loads(lines[-1])["memories"] == len(lines) - 2  # it came whole
    return time.monotonic() - started, len(response.content)


def measure_webhooks(service: Service, count: int) -> list[float]:
    """For each of `count` changes, one after the other, the seconds from its answer to its arrival."""
    project_id = service.call("GET", "/v1/ping/").json["project_id"]
    took: list[float] = []
    with receiving() as receiver:
        body = {"url": receiver.url, "event_types": ["memory_add"]}
        made = service.call("POST", f"/api/v1/webhooks/projects/{project_id}/", body).json
        for i in range(count):
            service.call("POST", "/v3/memories/add/", {"messages": f"Change {i}.", "user_id": "hook", "infer": False})
            answered = time.monotonic()
            wait_for(lambda i=i: len(receiver.received) > i)  # type: ignore[misc]
            took.append(time.monotonic() - answered)
        service.call("DELETE", f"/api/v1/webhooks/{made['id']}/")
    return took


def measure_burst(service: Service, count: int) -> float:
    """Deliveries a second for `count` changes that are there at once."""
    project_id = service.call("GET", "/v1/ping/").json["project_id"]
    with receiving() as receiver:
        body = {"url": receiver.url, "event_types": ["memory_add"]}
        made = service.call("POST", f"/api/v1/webhooks/projects/{project_id}/", body).json
        said = [{"role": "user", "content": f"Burst {i}."} for i in range(count)]
        service.call("POST", "/v3/memories/add/", {"messages": said, "user_id": "burst", "infer": False})
        wait_for(lambda: receiver.received)
        started = time.monotonic()
        wait_for(lambda: len({one.headers["X-Webhook-Id"] for one in receiver.received}) == count)
        took_s = time.monotonic() - started
        service.call("DELETE", f"/api/v1/webhooks/{made['id']}/")
    return (count - 1) / took_s


def measure_deletion(service: Service, rows: list[dict[str, Any]]) -> float:
    """Seconds from the request to the receipt, of a project with these memories."""
    ping = service.call("GET", "/v1/ping/").json
    org = f"/api/v1/orgs/organizations/{ping['org_id']}/"
    made = service.call("POST", f"{org}projects/", {"name": "short-lived"}).json
    headers = {"Authorization": f"Token {made['api_key']}"}
    job = requests.post(f"{service.url}/v1/imports/", json=rows, headers=headers, timeout=TIMEOUT_S).json()
    path = f"{service.url}/v1/imports/{job['id']}/"
    wait_for(lambda: requests.get(path, headers=headers, timeout=60).json()["status"] == "SUCCEEDED")
    started = time.monotonic()
    gone = service.call("DELETE", f"{org}projects/{made['project_id']}/").json
    receipt = f"{org}deletions/{gone['deletion']['id']}/"
    wait_for(lambda: service.call("GET", receipt).json["status"] == "SUCCEEDED")
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, default=5000)
    parser.add_argument("--changes", type=int, default=50)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ms-bench-"))
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    service = Service(folder / "data", WEBHOOK_ALLOW_PRIVATE="true", WEB_WORKERS="2", WORKER_CONCURRENCY="2")
    try:
        service.start()
        rows = memories(args.memories, "bench")
        first, again = measure_import(service, rows), measure_import(service, rows)
        export_s, num_bytes = measure_export(service)
        took = sorted(measure_webhooks(service, args.changes))
        burst = measure_burst(service, 400)
        deletion_s = measure_deletion(service, rows)
    finally:
        service.end()
        shutil.rmtree(folder, ignore_errors=True)
    n = args.memories
    print("| what | measured |\n|---|---|")
    print(f"| import of {n} memories | {first:.1f} s, {n / first:.0f} a second |")
    print(f"| the same file again | {again:.1f} s, {n / again:.0f} a second |")
    print(f"| whole export of them | {export_s:.1f} s, {num_bytes / 1e6:.1f} MB |")
    print(f"| deletion of a project with as many | {deletion_s:.1f} s |")
    p95 = took[int(0.95 * (len(took) - 1))]
    print(f"| a change at its webhook, after the answer | p50 {statistics.median(took):.2f} s, p95 {p95:.2f} s |")
    print(f"| 400 changes at once | {burst:.0f} deliveries a second |")


if __name__ == "__main__":
    main()
