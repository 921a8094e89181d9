"""Summaries, profiles, feedback and costs through the official client, with a real worker behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from mem0 import MemoryClient

from tests.serving import Service

pytestmark = pytest.mark.slow

USER = "life-1"
TEXTS = ("I live in Oslo.", "I work as a baker.", "I am allergic to walnuts.", "I like sailing in the fjord.")
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def mem0(service: Service) -> MemoryClient:
    client = MemoryClient(api_key=service.api_key, host=service.url)
    said = [{"role": "user", "name": "Ann", "content": text} for text in TEXTS]
    client.add(said, user_id=USER, run_id="life-run", wait_s=30)
    return client


def until(ask: Callable[[], Any], done: Callable[[Any], bool]) -> Any:
    end = time.monotonic() + TIMEOUT_S
    while not done(answer := ask()):
        assert time.monotonic() < end, answer
        time.sleep(0.2)
    return answer


def test_it_sums_up(mem0: MemoryClient) -> None:
    found = mem0.get_summary(filters={"user_id": USER})
    assert found["status"] == "SUCCEEDED" and "Oslo" in found["summary"]


def test_it_makes_profiles(mem0: MemoryClient) -> None:
    assert mem0.get_profile(USER)["status"] == "not_enabled"
    schema = {"properties": {"city": {"type": "string", "description": "the city where the user lives"}}}
    assert mem0.update_profile_settings(enabled=True, schema=schema)["enabled"] is True
    assert mem0.get_profile_settings()["entities"]["user"]["schema"] == schema
    job = mem0.generate_profile(USER, idempotency_key="once")
    assert mem0.generate_profile(USER, idempotency_key="once")["job_id"] == job["job_id"]
    told = until(lambda: mem0.get_profile_job(job["status_url"])["job"], lambda one: one["status"] == "succeeded")
    assert (told["total"], told["completed"], told["failed"]) == (1, 1, 0)
    profile = mem0.get_profile(USER)
    assert profile["status"] == "succeeded" and profile["profile"] == {"city": "Oslo"}
    sample = mem0.sample_profiles(limit=2)
    assert USER in sample["entity_ids"] and sample["sampled"] == len(sample["entity_ids"])
    until(lambda: mem0.get_profile_job(sample["job_id"])["job"], lambda one: one["status"] == "succeeded")
    assert mem0.update_profile_settings(enabled=False)["enabled"] is False


def test_it_takes_feedback(mem0: MemoryClient) -> None:
    def score() -> float:
        return float(mem0.search("sailing", filters={"user_id": USER}, top_k=1)["results"][0]["score"])

    before = score()
    [best] = mem0.search("sailing", filters={"user_id": USER}, top_k=1)["results"]
    mem0.feedback(best["id"], feedback="positive")
    assert score() > before
    mem0.feedback(best["id"], feedback=None)
    assert score() == before


def test_it_builds_a_tree_in_the_background(service: Service, mem0: MemoryClient) -> None:
    [session] = service.call("GET", "/v1/sessions/", user_id=USER).json["results"]
    path = f"/v1/sessions/{session['id']}/summary/"
    assert service.call("POST", path, {}).status == 200
    found = until(lambda: service.call("GET", path).json, lambda one: bool(one["root"] and one["summary"]))
    assert "walnuts" in found["summary"] and found["summarised_messages"] == len(TEXTS)


def test_it_answers_what_models_cost(service: Service, mem0: MemoryClient) -> None:
    assert service.call("GET", "/v1/usage/", group_by="day,user").json["budget_state"] == "ok"
    assert service.call("PUT", "/v1/budget/", {"monthly_usd": 5}).json["monthly_usd"] == 5.0
    assert service.call("PUT", "/v1/budget/", {"monthly_usd": None}).json["limits"] == []
