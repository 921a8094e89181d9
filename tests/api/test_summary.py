"""`POST /v1/summary/`: of what a filter lets through, with and without a model."""

from __future__ import annotations

from typing import Any

import pytest

from memory_service import overview
from memory_service.extractive import num_words
from memory_service.models import Event, Memory, Project
from tests.conftest import ApiClient, finished
from tests.llm import Start, scripted
from tests.scripted_llm import Status, prompt_of

__all__ = ["scripted"]

ANN, BOB = {"user_id": "ann"}, {"user_id": "bob"}


def say(client: ApiClient, *texts: str, user: str = "ann", **more: Any) -> None:
    said = [{"role": "user", "content": text, "name": user.title()} for text in texts]
    body = {"messages": said, "user_id": user, "timestamp": "2025-03-02T10:00:00Z", **more}
    finished(client.post("/v3/memories/add/", body).json["event_id"])


def summarise(client: ApiClient, body: Any) -> dict[str, Any]:
    answer = client.post("/v1/summary/", body)
    assert answer.status == 200, answer.json
    return dict(answer.json)


def test_it_sums_up_what_the_filter_lets_through(client: ApiClient) -> None:
    say(client, "I live in Oslo near the harbour.", "I am allergic to walnuts, which is a nuisance.")
    say(client, "What a week: the printer at the harbour office broke down twice!")
    say(client, "I live in Rome with four cats.", user="bob")
    found = summarise(client, {"filters": ANN})
    assert (found["status"], found["method"], found["notes"]) == ("SUCCEEDED", "extractive", [])
    assert "Oslo" in found["summary"] and "walnuts" in found["summary"] and "Rome" not in found["summary"]
    assert "Ann, 2 March 2025: " in found["summary"]
    assert found["count"] == found["memories_used"] == Memory.objects.filter(user_id="ann").count()
    assert summarise(client, {"filters": ANN}) == found
    only = summarise(client, {"filters": {"AND": [ANN, {"kind": "semantic"}]}})
    assert only["count"] < found["count"]
    assert "Rome" in summarise(client, {})["summary"]  # no filter: the whole project, as in a search
    assert summarise(client, {"user_id": "bob"})["summary"] == summarise(client, {"filters": BOB})["summary"]


def test_it_has_nothing_to_say_of_nobody(client: ApiClient, stranger: ApiClient) -> None:
    say(client, "I live in Oslo near the harbour.")
    for body in ({"filters": {"user_id": "nobody"}}, {"filters": {"memory_ids": []}}):
        found = summarise(client, body)
        assert (found["summary"], found["count"]) == ("", 0)
    assert summarise(stranger, {"filters": ANN})["summary"] == ""


def test_it_leaves_out_what_has_expired(client: ApiClient) -> None:
    say(client, "I live in Oslo near the harbour.", expiration_date="2025-03-03")
    assert summarise(client, {"filters": ANN})["summary"] == ""


def test_it_keeps_within_its_length_over_many_memories(client: ApiClient) -> None:
    texts = [f"On day {i} I walked to harbour number {i} and met my friend Tom for a coffee." for i in range(120)]
    say(client, *texts, infer=False)
    found = summarise(client, {"filters": ANN})
    assert found["count"] == 120 and 100 < num_words(found["summary"]) <= overview.MAX_WORDS


def local(project: Project, policy: str) -> None:
    Project.objects.filter(pk=project.pk).update(extraction_policy=policy)


def test_it_asks_the_model_with_the_lengths_said(client: ApiClient, project: Project, scripted: Start) -> None:
    local(project, "local")
    say(client, "I live in Oslo near the harbour.", "I am allergic to walnuts, which is a nuisance.")
    local(project, "auto")
    server = scripted([{"summary": "Ann lives in Oslo and is allergic to walnuts."}])
    found = summarise(client, {"filters": ANN})
    assert (found["method"], found["summary"]) == ("llm", "Ann lives in Oslo and is allergic to walnuts.")
    prompt = prompt_of(server.requests[0])
    assert "The memories have" in prompt and "2025-03-02" in prompt
    event = Event.objects.get(public_id=found["event_id"])
    assert event.type == "SUMMARY" and event.usage.get().purpose == "summarise_tree"
    client.delete("/v2/entities/user/ann/")
    assert not Event.objects.filter(type="SUMMARY").exists()  # its results held Ann's words


def test_it_does_without_a_model_that_refuses(client: ApiClient, project: Project, scripted: Start) -> None:
    local(project, "local")
    say(client, "I live in Oslo near the harbour, where the ferries leave.")
    local(project, "auto")
    scripted([Status(401)])
    found = summarise(client, {"filters": ANN})
    assert found["method"] == "extractive" and "without the language model" in found["notes"][0]


def test_it_answers_pending_while_the_model_is_away(
    client: ApiClient, project: Project, scripted: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memory_service.api import summaries

    monkeypatch.setattr(summaries, "SUMMARY_WAIT_S", 0.0)
    local(project, "local")
    say(client, "I live in Oslo near the harbour, where the ferries leave.")
    local(project, "auto")
    scripted([Status(503)])
    found = summarise(client, {"filters": ANN})
    assert (found["status"], found["summary"]) == ("PENDING", None)
    assert client.get(f"/v1/event/{found['event_id']}/").json["status"] == "PENDING"


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"filters": 3},
        {"filters": {"nobody": 1}},
        {"filters": {"user_id": "a\x00b"}},
        {"filters": {"user_id": "\ud800"}},
        {"user_id": ["ann"]},
        {"filters": {"created_at": {"gte": "soon"}}},
    ],
)
def test_it_refuses_a_filter_that_is_none(client: ApiClient, body: Any) -> None:
    answer = client.post("/v1/summary/", body)
    assert answer.status == 400 and answer.json["detail"] == answer.json["error"]
    assert Event.objects.count() == 0
