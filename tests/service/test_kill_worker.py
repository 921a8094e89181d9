"""kill -9 of the worker in the middle of its work: every event is applied exactly once."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.serving import Service

pytestmark = pytest.mark.slow

NUM_EVENTS = 200
NUM_SCOPES = 5
NUM_CLIENTS = 8  # that post at the same time
KILL_AFTER = (20, 90)  # events that have succeeded


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "data", WORKER_CONCURRENCY="2")
    try:
        yield service.start()
    finally:
        service.end()


def test_it_loses_and_doubles_nothing(own: Service) -> None:
    with ThreadPoolExecutor(NUM_CLIENTS) as clients:
        posted = clients.map(lambda i: post(own, i), range(NUM_EVENTS))
        killed: set[int] = set()
        for enough in KILL_AFTER:
            wait_until_done(own, enough)
            killed.add(kill_worker(own, killed))
        assert num_succeeded(own) < NUM_EVENTS
        added = {event_id: i for i, event_id in enumerate(posted)}
    events = own.settle()
    assert own.told().count("worker ended (exit status -9)") == len(KILL_AFTER)

    assert {event["id"] for event in events} == set(added)
    assert Counter(event["status"] for event in events) == {"SUCCEEDED": NUM_EVENTS}, [e["error"] for e in events]
    results = {added[event["id"]]: event["results"] for event in events}
    memories = [memory for n in range(NUM_SCOPES) for memory in every_memory(own, n)]
    check_messages(memories)
    check_results(results, memories)


def text(i: int) -> str:
    return f"On day {i} I painted wall number {i} in colour {i * 7919}."


def post(service: Service, i: int) -> str:
    """One message with an id of its own; every fourth is stored as it is."""
    said = {"role": "user", "content": text(i), "id": f"m-{i}", "created_at": 1741003200 + 60 * i}
    body: dict[str, Any] = {"messages": [said], "user_id": f"user-{i % NUM_SCOPES}"}
    if i % 4 == 0:
        body |= {"infer": False}
    answer = service.call("POST", "/v3/memories/add/", body)
    assert answer.status == 200, answer
    return str(answer.json["event_id"])


def num_succeeded(service: Service) -> int:
    return int(service.call("GET", "/v1/events/", status="SUCCEEDED", page_size=1).json["count"])


def wait_until_done(service: Service, enough: int) -> None:
    end = time.monotonic() + 60
    while num_succeeded(service) < enough:
        assert time.monotonic() < end, service.told()
        time.sleep(0.05)


def kill_worker(service: Service, before: set[int]) -> int:
    """The worker that follows those killed before, and all its children, at one blow. Returns its process id."""
    end = time.monotonic() + 60
    while True:
        worker = service.child("celery", "worker")
        if worker is not None and worker.pid not in before and is_working(worker):
            os.killpg(worker.pid, signal.SIGKILL)
            return worker.pid
        assert time.monotonic() < end, service.told()
        time.sleep(0.05)


def is_working(worker: psutil.Process) -> bool:
    """It has forked the processes that do the work."""
    return os.getpgid(worker.pid) == worker.pid and bool(worker.children())


def every_memory(service: Service, n: int) -> list[dict[str, Any]]:
    asked = {"filters": {"user_id": f"user-{n}"}, "page_size": 200}
    answer = service.call("POST", "/v3/memories/", asked).json
    assert answer["next"] is None
    return list(answer["results"])


def check_messages(memories: list[dict[str, Any]]) -> None:
    """Each message has exactly one memory, as it was said or as a fact, which holds its words."""
    sources = Counter(source["message_id"] for memory in memories for source in memory["sources"])
    assert sources == {f"m-{i}": 1 for i in range(NUM_EVENTS)}
    for memory in memories:
        [source] = memory["sources"]
        i = int(source["message_id"].removeprefix("m-"))
        assert f"wall number {i} in colour {i * 7919}" in memory["memory"]
        assert memory["user_id"] == f"user-{i % NUM_SCOPES}"


def check_results(results: dict[int, list[dict[str, Any]]], memories: list[dict[str, Any]]) -> None:
    """What the events say they did is what is there."""
    told = [result["id"] for done in results.values() for result in done]
    assert all(result["event"] == "ADD" for done in results.values() for result in done)
    assert sorted(told) == sorted(memory["id"] for memory in memories)
    assert all(len(results[i]) == 1 for i in range(0, NUM_EVENTS, 4))
    assert all(results[i] for i in range(NUM_EVENTS))
