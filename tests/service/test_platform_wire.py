"""Webhooks, exports, imports and a project's end through the real processes: web, worker, beat, PostgreSQL, Redis."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.receiver import receiving
from tests.serving import Service

pytestmark = pytest.mark.slow
TIMEOUT_S = 150  # a delivery whose worker was killed is taken up again after 90
NUM_FACTS = 20


@pytest.fixture(scope="module")
def open_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that may tell webhooks on loopback."""
    running = Service(tmp_path_factory.mktemp("platform") / "data", WEBHOOK_ALLOW_PRIVATE="true")
    try:
        yield running.start()
    finally:
        running.end()


def wait_for(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + TIMEOUT_S
    while not (answer := found()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
    return answer


def test_it_tells_every_change_once_and_goes_on_after_the_worker_was_killed(open_service: Service) -> None:
    with receiving() as receiver:
        project_id = open_service.call("GET", "/v1/ping/").json["project_id"]
        body = {"url": receiver.url, "event_types": ["memory_add", "memory_delete"]}
        made = open_service.call("POST", f"/api/v1/webhooks/projects/{project_id}/", body).json
        facts = [f"Fact number {i} of the list." for i in range(NUM_FACTS)]
        for i, fact in enumerate(facts):
            said = {"messages": fact, "user_id": f"user-{i % 3}", "infer": False}
            assert open_service.call("POST", "/v3/memories/add/", said).status == 200
            if i == NUM_FACTS // 2:
                worker = open_service.child("worker")
                assert worker is not None
                for process in [*worker.children(recursive=True), worker]:
                    process.kill()
        open_service.settle()
        wait_for(lambda: len({one.headers["X-Webhook-Id"] for one in receiver.received}) >= NUM_FACTS)
        deliveries = f"/api/v1/webhooks/{made['id']}/deliveries/"
        wait_for(lambda: open_service.call("GET", deliveries, status="delivered").json["count"] == NUM_FACTS)
        by_id = {one.headers["X-Webhook-Id"]: one for one in receiver.received}
        assert sorted(one.json["event_details"]["data"]["memory"] for one in by_id.values()) == sorted(facts)
        for one in receiver.received:
            signed = one.headers["X-Webhook-Timestamp"].encode() + b"." + one.body
            expected = hmac.new(made["secret"].encode(), signed, hashlib.sha256).hexdigest()
            assert one.headers["X-Webhook-Signature"] == f"v1={expected}"
        open_service.call("DELETE", f"/api/v1/webhooks/{made['id']}/")


def test_it_exports_and_imports_in_the_background(open_service: Service, tmp_path: Path) -> None:
    headers = {"Authorization": f"Token {open_service.api_key}"}
    rows = [{"id": f"m{i}", "memory": f"Nora owns book number {i}", "user_id": "nora"} for i in range(300)]
    rows.append({"messages": [{"role": "user", "name": "Nora", "content": "I live in Porto."}], "user_id": "nora"})
    file = tmp_path / "dump.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    for known in (False, True):
        with file.open("rb") as opened:
            job = requests.post(
                f"{open_service.url}/v1/imports/", files={"file": opened}, headers=headers, timeout=60
            ).json()
        path = f"/v1/imports/{job['id']}/"
        done = wait_for(lambda path=path: (j := open_service.call("GET", path).json)["status"] == "SUCCEEDED" and j)
        assert done["lines"]["known" if known else "done"] == 301
    open_service.settle()
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    made = open_service.call("POST", "/v1/exports/", {"schema": schema, "user_id": "nora"}).json
    answer = open_service.call("POST", "/v1/exports/get/", {"memory_export_id": made["id"]})
    assert (answer.status, answer.json) == (200, {"city": "Porto"})
    with requests.post(
        f"{open_service.url}/v1/exports/memories/", json={"user_id": "nora"}, headers=headers, stream=True, timeout=60
    ) as response:
        lines = [json.loads(line) for line in response.iter_lines()]
    assert lines[0]["type"] == "header" and lines[-1] == {"type": "end", "memories": len(lines) - 2}
    assert len(lines) - 2 > 300


def test_it_deletes_a_project_in_the_background(open_service: Service) -> None:
    ping = open_service.call("GET", "/v1/ping/").json
    org = f"/api/v1/orgs/organizations/{ping['org_id']}/"
    made = open_service.call("POST", f"{org}projects/", {"name": "short-lived"}).json
    headers = {"Authorization": f"Token {made['api_key']}"}
    rows = [{"memory": f"Fact {i}.", "user_id": "ann"} for i in range(50)]
    body = {"memories": rows, "wait_s": 30}
    done = requests.post(f"{open_service.url}/v1/imports/", json=body, headers=headers, timeout=60).json()
    assert done["lines"]["done"] == 50
    gone = open_service.call("DELETE", f"{org}projects/{made['project_id']}/").json
    receipt = f"{org}deletions/{gone['deletion']['id']}/"
    found = wait_for(lambda: (r := open_service.call("GET", receipt).json)["status"] == "SUCCEEDED" and r)
    assert found["deleted"]["memories"] == 50
    assert requests.get(f"{open_service.url}/v1/ping/", headers=headers, timeout=60).status_code == 401
