"""From messages to rows with a scripted model: every decision it may take, and every way in which it may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from memory_service import ingest
from memory_service.extraction.rendered import render_block
from memory_service.models import CompletionUsage, Event, EventStatus, Memory, MemoryState, Project
from tests.conftest import ApiClient, finished
from tests.fakes import CutShort, Hang, Malformed, ScriptedLLM, Status, asked_for, prompt_of

ANN = {"user_id": "ann"}
OSLO, BERGEN = "I live in Oslo.", "I have moved, I live in Bergen now."
FACT = {"text": "Ann lives in Oslo", "message": 1, "quote": "live in Oslo", "kind": "semantic"}
NEWER = {"text": "Ann lives in Bergen", "message": 1, "quote": "live in Bergen now", "kind": "semantic"}
INVENTED = {"text": "Ann owns a yacht", "message": 1, "quote": "I own a yacht", "kind": "semantic"}

Start = Callable[..., ScriptedLLM]


@pytest.fixture
def llm(settings: Any) -> Iterator[Start]:
    """Starts a server with a script, and configures it as the model."""
    with ExitStack() as stack:

        def start(*replies: Any, timeout_s: float = 10.0) -> ScriptedLLM:
            server = stack.enter_context(ScriptedLLM(replies))
            changed = {"llm_model": "openai/scripted", "llm_api_base": server.base_url, "llm_timeout_s": timeout_s}
            settings.ENV = settings.ENV.model_copy(update={**changed, "llm_api_key": "test"})
            return server

        yield start


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A back-off that is over at once."""
    monkeypatch.setattr(ingest, "backoff_s", lambda num_attempts, exc: 0.0)


def facts(*found: dict[str, Any]) -> dict[str, Any]:
    return {"facts": list(found)}


def decision(operation: str, target: int | None = None, text: str | None = None, **more: Any) -> dict[str, Any]:
    chosen = {"fact": 0, "operation": operation, "target": target, "text": text, "reason": "as she says"}
    return {"decisions": [chosen | more]}


def say(client: ApiClient, content: str, **more: Any) -> str:
    said = {"role": "user", "content": content, "name": "Ann", **more}
    answer = client.post("/v3/memories/add/", {"messages": [said], **ANN})
    assert answer.status == 200, answer.json
    return str(answer.json["event_id"])


def known(client: ApiClient) -> dict[str, dict[str, Any]]:
    """The facts that are shown of ann, by their text."""
    shown = client.post("/v3/memories/", {"filters": {**ANN, "kind": {"ne": "episodic"}}}).json["results"]
    return {memory["memory"]: memory for memory in shown}


def episodes(client: ApiClient) -> list[str]:
    shown = client.post("/v3/memories/", {"filters": {**ANN, "kind": "episodic"}}).json["results"]
    return [memory["memory"] for memory in shown]


def steps(client: ApiClient, memory_id: str) -> list[tuple[str, str | None, str | None, str]]:
    history = client.get(f"/v1/memories/{memory_id}/history/").json
    return [(one["event"], one["old_memory"], one["new_memory"], one["policy"]) for one in history]


# Two phases


def test_it_adds_what_is_new(client: ApiClient, llm: Start) -> None:
    server = llm(facts(FACT))
    event = finished(say(client, OSLO, id="m-1"))
    assert [asked_for(request) for request in server.requests] == ["Facts"]
    assert set(known(client)) == {"Ann lives in Oslo"} and any("Oslo" in text for text in episodes(client))
    fact = known(client)["Ann lives in Oslo"]
    assert [source["message_id"] for source in fact["sources"]] == ["m-1"]
    source = Memory.objects.get(public_id=fact["id"]).sources.get()
    assert source.message.content[source.start : source.end] == "live in Oslo"
    assert steps(client, fact["id"]) == [("ADD", None, "Ann lives in Oslo", "two_phase")]
    assert {"id": fact["id"], "data": {"memory": "Ann lives in Oslo"}, "event": "ADD"} in event.results
    assert event.notes == []


def test_it_updates_a_memory_and_keeps_what_it_said(client: ApiClient, llm: Start) -> None:
    both = "Ann lived in Oslo and lives in Bergen"
    server = llm(facts(FACT), facts(NEWER), decision("UPDATE", 0, both))
    say(client, OSLO, id="m-1")
    fact_id = known(client)["Ann lives in Oslo"]["id"]
    event = finished(say(client, BERGEN, id="m-2"))
    assert [asked_for(request) for request in server.requests] == ["Facts", "Facts", "FactDecisions"]
    assert set(known(client)) == {both}
    updated = known(client)[both]
    assert updated["id"] == fact_id
    assert [source["message_id"] for source in updated["sources"]] == ["m-1", "m-2"]
    assert steps(client, fact_id) == [
        ("ADD", None, "Ann lives in Oslo", "two_phase"),
        ("UPDATE", "Ann lives in Oslo", both, "two_phase"),
    ]
    assert client.get(f"/v1/memories/{fact_id}/history/").json[1]["reason"] == "as she says"
    assert {"id": fact_id, "data": {"memory": both}, "event": "UPDATE"} in event.results
    found = client.post("/v3/memories/search/", {"query": "Bergen", "filters": {**ANN, "kind": "semantic"}}).json
    assert [hit["id"] for hit in found["results"]] == [fact_id]


def test_it_closes_what_no_longer_holds(client: ApiClient, llm: Start) -> None:
    llm(facts(FACT), facts(NEWER | {"valid_at": "2025-05-01"}), decision("INVALIDATE", 0))
    say(client, OSLO, created_at="2025-03-01T00:00:00Z")
    old_id = known(client)["Ann lives in Oslo"]["id"]
    event = finished(say(client, BERGEN, created_at="2025-06-01T00:00:00Z"))
    assert set(known(client)) == {"Ann lives in Bergen"}
    new = known(client)["Ann lives in Bergen"]
    old = client.get(f"/v1/memories/{old_id}/").json
    assert (old["memory"], old["lifecycle_state"]) == ("Ann lives in Oslo", "superseded")
    assert old["replaced_by"] == new["id"] and new["linked_memory_ids"] == [old_id]
    assert old["invalid_at"] == new["valid_at"] == "2025-05-01T00:00:00+00:00"
    assert steps(client, old_id)[-1] == ("DELETE", "Ann lives in Oslo", None, "two_phase")
    told = {(result["id"], result["event"]) for result in event.results}
    assert {(new["id"], "ADD"), (old_id, "DELETE")} <= told
    assert client.delete(f"/v1/memories/{new['id']}/?delete_linked=true").json["cascade_count"] == 1


def test_it_adds_a_source_to_what_is_known(client: ApiClient, llm: Start) -> None:
    again = FACT | {"text": "Ann's home is in Oslo", "quote": "Oslo is still home"}
    llm(facts(FACT), facts(again), decision("NONE", 0))
    say(client, OSLO, id="m-1")
    say(client, "Oslo is still home for me.", id="m-2")
    assert set(known(client)) == {"Ann lives in Oslo"}
    sources = known(client)["Ann lives in Oslo"]["sources"]
    assert [source["message_id"] for source in sources] == ["m-1", "m-2"]


@pytest.mark.parametrize("operation", ["UPDATE", "INVALIDATE"])
def test_it_leaves_what_is_immutable(client: ApiClient, llm: Start, operation: str) -> None:
    llm(facts(FACT), facts(NEWER), decision(operation, 0, "Ann lives in Bergen, not in Oslo"))
    say(client, OSLO)
    Memory.objects.filter(text="Ann lives in Oslo").update(immutable=True)
    say(client, BERGEN)
    assert set(known(client)) == {"Ann lives in Oslo", "Ann lives in Bergen"}


@pytest.mark.parametrize("invented", [decision("UPDATE", 99, "x"), decision("INVALIDATE", -1), decision("MERGE", 0)])
def test_it_changes_nothing_that_the_model_was_not_shown(client: ApiClient, llm: Start, invented: Any) -> None:
    llm(facts(FACT), facts(NEWER), invented)
    say(client, OSLO)
    finished(say(client, BERGEN))
    assert "Ann lives in Oslo" in known(client)
    assert Memory.objects.get(text="Ann lives in Oslo").state == MemoryState.LIVE


def test_it_asks_about_nobody_elses_memories(client: ApiClient, llm: Start) -> None:
    server = llm(facts(FACT), facts(NEWER))
    say(client, OSLO)
    said = {"role": "user", "content": BERGEN, "name": "Ann"}
    client.post("/v3/memories/add/", {"messages": [said], "user_id": "another"})
    assert [asked_for(request) for request in server.requests] == ["Facts", "Facts"]
    assert "Oslo" not in prompt_of(server.requests[1])


# Add only, and none at all


def test_add_only_shows_what_is_known_and_changes_nothing(client: ApiClient, project: Project, llm: Start) -> None:
    Project.objects.filter(pk=project.pk).update(extraction_policy="add_only")
    server = llm(facts(FACT), facts(NEWER, FACT | {"quote": "live in Bergen", "text": "Ann lives in Oslo"}))
    say(client, OSLO)
    finished(say(client, BERGEN))
    assert len(server.requests) == 2
    assert "Ann lives in Oslo" in prompt_of(server.requests[1])
    assert set(known(client)) == {"Ann lives in Oslo", "Ann lives in Bergen"}
    assert steps(client, known(client)["Ann lives in Bergen"]["id"])[0][3] == "add_only"


@pytest.mark.parametrize("way", ["the project's policy is local", "infer is false"])
def test_it_asks_no_model_where_none_is_wanted(client: ApiClient, project: Project, llm: Start, way: str) -> None:
    server = llm()
    if way == "infer is false":
        client.post("/v3/memories/add/", {"messages": OSLO, **ANN, "infer": False})
    else:
        Project.objects.filter(pk=project.pk).update(extraction_policy="local")
        finished(say(client, "The ferry to Oslo was late."))
    assert server.requests == [] and len(episodes(client)) == 1


@pytest.mark.parametrize("role", ["system", "user"])
def test_it_asks_no_model_about_instructions_and_recalled_context(client: ApiClient, llm: Start, role: str) -> None:
    server = llm()
    content = "You are a helpful assistant." if role == "system" else render_block([OSLO], block_id="c-1")
    event = finished(say(client, content, role=role))
    assert server.requests == [] and event.results == []


def test_it_passes_on_what_project_and_call_ask_for(client: ApiClient, project: Project, llm: Start) -> None:
    Project.objects.filter(pk=project.pk).update(custom_instructions="Mind the weather.")
    server = llm(facts(), facts())
    say(client, OSLO)
    body = {"messages": BERGEN, **ANN, "custom_instructions": "Mind the trams.", "excludes": "shoe sizes"}
    client.post("/v3/memories/add/", body)
    first, second = map(prompt_of, server.requests)
    assert "Mind the weather." in first
    assert "Mind the trams." in second and "shoe sizes" in second


# Grounding


def test_what_cannot_be_grounded_is_kept_and_never_returned(client: ApiClient, llm: Start) -> None:
    llm(facts(FACT, INVENTED, FACT | {"text": "Ann lives in Rome", "message": 99, "quote": "Rome"}))
    event = finished(say(client, OSLO))
    assert set(known(client)) == {"Ann lives in Oslo"}
    hidden = Memory.objects.filter(state=MemoryState.QUARANTINED)
    assert {memory.text for memory in hidden} == {"Ann owns a yacht", "Ann lives in Rome"}
    assert len(event.notes) == 2 and all("quarantined" in note for note in event.notes)
    shown = {result["id"] for result in event.results}
    hits = client.post("/v3/memories/search/", {"query": "Ann owns a yacht in Rome", "filters": ANN, "top_k": 100}).json
    assert hits["results"]
    for memory in hidden:
        path = f"/v1/memories/{memory.public_id}/"
        assert client.get(path).status == client.get(f"{path}history/").status == client.delete(path).status == 404
        assert client.put(path, {"text": "x"}).status == 404
        assert str(memory.public_id) not in {hit["id"] for hit in hits["results"]} | shown
    listed = client.post("/v3/memories/", {"filters": {"user_id": "*"}, "show_expired": True}).json["results"]
    assert not {"Ann owns a yacht", "Ann lives in Rome"} & {memory["memory"] for memory in listed}


# What it cost


def test_it_records_tokens_and_latency_of_every_call(client: ApiClient, llm: Start) -> None:
    llm(facts(FACT), facts(NEWER), decision("ADD"))
    say(client, OSLO)
    event_id = say(client, BERGEN)
    rows = CompletionUsage.objects.filter(event__public_id=event_id).order_by("id")
    assert [row.purpose for row in rows] == ["extract", "consolidate"]
    for row in rows:
        assert row.model == "openai/scripted"
        assert row.prompt_tokens > 10 and row.completion_tokens > 1 and row.latency_ms > 0
    told = client.get(f"/v1/event/{event_id}/").json["usage"]
    assert [one["purpose"] for one in told] == ["extract", "consolidate"]
    assert told[0]["prompt_tokens"] == rows[0].prompt_tokens


# Failure


def test_it_falls_back_when_the_model_talks_nonsense(client: ApiClient, llm: Start) -> None:
    server = llm(*[Malformed("I would rather not.")] * 3)
    event = finished(say(client, OSLO))
    assert len(server.requests) == 3  # asked, shown its fault, asked anew
    [note] = event.notes
    assert note.startswith("The language model gave no usable answer") and "extracted without it" in note
    assert [fact for fact in known(client) if "Oslo" in fact] and episodes(client)


def test_it_records_what_useless_answers_cost(client: ApiClient, llm: Start) -> None:
    llm(*[Malformed("I would rather not.")] * 3)
    event_id = say(client, OSLO)
    rows = CompletionUsage.objects.filter(event__public_id=event_id)
    assert [row.purpose for row in rows] == ["extract"] * 3


def test_it_mends_an_answer_that_was_malformed_once(client: ApiClient, llm: Start) -> None:
    llm(Malformed("Here you are!"), facts(FACT))
    event = finished(say(client, OSLO))
    assert event.notes == [] and "Ann lives in Oslo" in known(client)


def test_it_falls_back_when_the_decisions_are_nonsense(client: ApiClient, llm: Start) -> None:
    llm(facts(FACT), facts(NEWER), *[Malformed("Hm.")] * 3)
    say(client, OSLO)
    event = finished(say(client, BERGEN))
    assert any("extracted without it" in note for note in event.notes)
    assert set(known(client)) == {"Ann lives in Oslo", "Ann lives in Bergen"}


def test_it_falls_back_at_once_when_the_model_refuses(client: ApiClient, llm: Start) -> None:
    server = llm(Status(401, message="no such key"))
    event = finished(say(client, OSLO))
    assert len(server.requests) == 1 and event.num_attempts == 1
    assert "check LLM_MODEL, LLM_API_BASE and LLM_API_KEY" in event.notes[0]
    assert episodes(client)


def test_it_waits_as_long_as_the_provider_asks(client: ApiClient, llm: Start) -> None:
    server = llm(Status(429, retry_after="40"), facts(FACT))
    event = Event.objects.get(public_id=say(client, OSLO))
    assert (event.status, event.num_attempts) == (EventStatus.PENDING, 1)
    assert event.retry_at is not None
    assert abs(event.retry_at - timezone.now() - timedelta(seconds=40)) < timedelta(seconds=5)
    assert "openai/scripted for extract" in event.error
    assert Memory.objects.count() == 0
    found = client.post("/v3/memories/search/", {"query": "Oslo", "filters": ANN}).json["results"]
    assert [hit["lifecycle_state"] for hit in found] == ["pending"]
    assert event.scope_id is not None
    assert ingest.drain_scope(event.scope_id) == event.retry_at and len(server.requests) == 1
    Event.objects.update(retry_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert ingest.drain_scope(event.scope_id) is None
    event = finished(str(event.public_id))
    assert (event.num_attempts, event.error, event.notes) == (2, "", [])
    assert set(known(client)) == {"Ann lives in Oslo"}


@pytest.mark.parametrize(
    "fault", [Status(429), Status(503), CutShort('{"facts": ['), Hang(30)], ids=lambda fault: str(fault)[:16]
)
def test_it_tries_again_after_a_transient_fault(client: ApiClient, llm: Start, impatient: None, fault: Any) -> None:
    llm(fault, facts(FACT), timeout_s=0.5)
    event = finished(say(client, OSLO))
    assert (event.num_attempts, event.notes) == (2, [])
    assert set(known(client)) == {"Ann lives in Oslo"} and len(episodes(client)) == 1


def test_it_falls_back_after_three_time_outs(client: ApiClient, llm: Start, impatient: None) -> None:
    server = llm(*[Hang(30)] * 4, timeout_s=0.3)
    event = finished(say(client, OSLO))
    assert (event.num_attempts, len(server.requests)) == (3, 3)
    assert "extracted without it" in event.notes[0]
    assert episodes(client) and [fact for fact in known(client) if "Oslo" in fact]


def test_it_falls_back_when_only_the_decisions_time_out(client: ApiClient, llm: Start, impatient: None) -> None:
    replies = [facts(FACT), *[facts(NEWER), Hang(30)] * 3]
    llm(*replies, timeout_s=0.3)
    say(client, OSLO)
    event = finished(say(client, BERGEN))
    assert event.num_attempts == 3 and "extracted without it" in event.notes[0]
    assert set(known(client)) == {"Ann lives in Oslo", "Ann lives in Bergen"}
