"""How an agent did something, as one memory."""

from __future__ import annotations

from typing import Any

import pytest

from memory_service.models import CompletionUsage, Memory
from tests.conftest import ApiClient, finished
from tests.llm import Start, scripted
from tests.scripted_llm import Status, asked_for, prompt_of

__all__ = ["scripted"]

RUN = [
    {"role": "system", "content": "You are a careful booking agent."},
    {"role": "user", "content": "Book the cheapest train from Ghent to Lille on 4 May."},
    {"role": "assistant", "content": "I open https://trains.example and search Ghent to Lille."},
    {"role": "tool", "content": "3 trains found: 09:10 (18 EUR), 11:10 (14 EUR), 13:10 (21 EUR)."},
    {"role": "assistant", "content": "I book the 11:10 train."},
    {"role": "tool", "content": "Error 402: the card was declined."},
    {"role": "assistant", "content": "I try the second card."},
    {"role": "tool", "content": "Booked. Reference QX77."},
]
OWNER = {"agent_id": "booker", "run_id": "trip-1"}
PROCEDURAL = {"memory_type": "procedural_memory"}
STEPS = {
    "goal": "Book a train to Lille",
    "steps": [
        {"action": "searched Ghent to Lille", "result": "three trains"},
        {"action": "booked 11:10", "result": "reference QX77"},
    ],
    "outcome": "booked",
}


def add(client: ApiClient, **more: Any) -> Memory:
    answer = client.post("/v3/memories/add/", {"messages": RUN, **OWNER, **PROCEDURAL, **more})
    assert answer.status == 200, answer.json
    finished(answer.json["event_id"])
    return Memory.objects.get(kind="procedural", state="live")


def test_it_lists_actions_and_results_in_order(client: ApiClient) -> None:
    memory = add(client)
    assert memory.text.splitlines() == [
        "Goal: Book the cheapest train from Ghent to Lille on 4 May.",
        "1. I open https://trains.example and search Ghent to Lille. -> "
        "3 trains found: 09:10 (18 EUR), 11:10 (14 EUR), 13:10 (21 EUR).",
        "2. I book the 11:10 train. -> Error 402: the card was declined.",
        "3. I try the second card. -> Booked. Reference QX77.",
        "Outcome: Booked. Reference QX77.",
    ]
    assert memory.sources.count() == len(RUN) - 1  # all but the agent's own instructions
    assert Memory.objects.count() == 1  # no turns, no facts


def test_it_is_found_and_filtered_by_its_kind(client: ApiClient) -> None:
    memory = add(client)
    client.post("/v3/memories/add/", {"messages": "I like trains.", **OWNER})
    filters = {"AND": [{"agent_id": "booker"}, {"kind": "procedural"}]}
    body = {"query": "how was the card problem solved when booking the train?", "filters": filters}
    found = client.post("/v3/memories/search/", body).json["results"]
    assert [(hit["id"], hit["kind"]) for hit in found] == [(str(memory.public_id), "procedural")]
    listed = client.post("/v3/memories/", {"filters": filters}).json["results"]
    assert [one["id"] for one in listed] == [str(memory.public_id)]


def test_it_takes_the_open_servers_way(client: ApiClient) -> None:
    answer = client.post("/memories", {"messages": RUN, **OWNER, **PROCEDURAL})
    assert [result["event"] for result in answer.json["results"]] == ["ADD"]
    assert answer.json["results"][0]["memory"].startswith("Goal: Book the cheapest train")


def test_it_asks_the_model_for_the_steps(client: ApiClient, scripted: Start) -> None:
    server = scripted([STEPS])
    memory = add(client)
    assert [asked_for(request) for request in server.requests] == ["Procedure"]
    prompt = prompt_of(server.requests[0])
    assert "QX77" in prompt and "careful booking agent" not in prompt
    assert memory.text.splitlines() == [
        "Goal: Book a train to Lille",
        "1. searched Ghent to Lille -> three trains",
        "2. booked 11:10 -> reference QX77",
        "Outcome: booked",
    ]
    assert CompletionUsage.objects.get().purpose == "procedural"


def test_it_does_without_a_model_that_refuses(client: ApiClient, scripted: Start) -> None:
    scripted([Status(401)])
    answer = client.post("/v3/memories/add/", {"messages": RUN, **OWNER, **PROCEDURAL})
    assert "extracted without it" in finished(answer.json["event_id"]).notes[0]
    assert Memory.objects.get().text.startswith("Goal: Book the cheapest")


def test_two_runs_that_are_alike_stay_two(client: ApiClient, scripted: Start) -> None:
    scripted([STEPS, {**STEPS, "outcome": "booked again"}])
    add(client)
    body = {"messages": RUN, **OWNER, "run_id": "trip-2", **PROCEDURAL}
    finished(client.post("/v3/memories/add/", body).json["event_id"])
    assert Memory.objects.live().filter(kind="procedural").count() == 2


def test_it_wants_an_agent_and_a_known_type(client: ApiClient) -> None:
    answer = client.post("/v3/memories/add/", {"messages": RUN, "user_id": "ann", **PROCEDURAL})
    assert answer.status == 400 and "agent_id is needed" in answer.json["detail"]
    for wrong in ("semantic", 3, [], {"a": 1}):
        answer = client.post("/v3/memories/add/", {"messages": RUN, **OWNER, "memory_type": wrong})
        assert answer.status == 400 and "memory_type" in answer.json["detail"]


@pytest.mark.parametrize("messages", [RUN[:1], [{"role": "tool", "content": "42"}]])
def test_it_makes_nothing_of_a_run_without_actions(client: ApiClient, messages: list[dict[str, str]]) -> None:
    answer = client.post("/v3/memories/add/", {"messages": messages, **OWNER, **PROCEDURAL})
    assert "no action" in finished(answer.json["event_id"]).notes[0]
    assert not Memory.objects.exists()


def test_it_bounds_a_very_long_run(client: ApiClient) -> None:
    messages = [
        {"role": "assistant", "content": f"Step {i}: I copy file number {i} to the archive."} for i in range(900)
    ]
    finished(client.post("/v3/memories/add/", {"messages": messages, **OWNER, **PROCEDURAL}).json["event_id"])
    text = Memory.objects.get().text
    assert text.startswith("1. Step 0") and "900. Step 899" in text
