"""Two processes consolidate one scope at the same time, and nothing is lost or doubled."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.serving import ROOT, Service

pytestmark = pytest.mark.slow

NUM_DAYS, NUM_PROCESSES = 60, 2


def test_two_processes_at_once_lose_and_double_nothing(service: Service) -> None:
    env = {**os.environ, "DATA_DIR": str(service.data_dir), "DJANGO_SETTINGS_MODULE": "memory_service.settings"}
    script = Path(__file__).with_name("consolidate.py")
    running = [
        subprocess.Popen(
            [sys.executable, str(script), str(NUM_DAYS), str(NUM_PROCESSES), str(which)],
            cwd=ROOT,
            env={**env, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for which in range(NUM_PROCESSES)
    ]
    edits = edit_while(service, running)
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert edits > 0  # a person had a hand in it all the while

    memories = service.call(
        "POST", "/v3/memories/", {"filters": {"user_id": "shared"}, "latest_only": False, "page_size": 200}
    ).json["results"]
    cities = sorted((m for m in memories if "City" in m["memory"]), key=lambda m: m["valid_at"])
    assert [m["memory"] for m in cities] == [f"Ann lives in City{day}" for day in range(NUM_DAYS)]
    assert [m["lifecycle_state"] for m in cities] == ["superseded"] * (NUM_DAYS - 1) + ["active"]
    assert [m["invalid_at"] for m in cities[:-1]] == [m["valid_at"] for m in cities[1:]]
    assert [m["replaced_by"] for m in cities[:-1]] == [m["id"] for m in cities[1:]]
    assert all(len(m["sources"]) == 1 for m in cities)
    drinks = {m["memory"]: len(m["sources"]) for m in memories if "likes" in m["memory"]}
    assert drinks == dict.fromkeys(("Ann likes tea", "Ann likes milk", "Ann likes water"), NUM_DAYS // 3)
    statuses = Counter(e["status"] for e in service.call("GET", "/v1/events/", page_size=200).json["results"])
    assert set(statuses) == {"SUCCEEDED"}, statuses


def edit_while(service: Service, running: list[subprocess.Popen[str]]) -> int:
    """Changes the metadata of whatever is there, again and again, until the processes have ended."""
    edits, end = 0, time.monotonic() + 120
    while any(process.poll() is None for process in running) and time.monotonic() < end:
        found = service.call("POST", "/v3/memories/", {"filters": {"user_id": "shared"}, "page_size": 5}).json[
            "results"
        ]
        for memory in found:
            answer = service.call("PUT", f"/v1/memories/{memory['id']}/", {"metadata": {"edit": edits}})
            assert answer.status == 200, answer
            edits += 1
    return edits
