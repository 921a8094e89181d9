from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import timezone

from memory_service import filters, forgetting, ingest, retrieval
from memory_service.ingest import AddRequest, EntityIds, NewMessage
from memory_service.locks import Kind, advisory_lock
from memory_service.models import Event, Memory, MemoryRevision, Message, Project
from tests.fakes import ScriptedLLM

START = datetime(2025, 3, 1, 12, tzinfo=UTC)


def record(project: Project, text: str, *, run: str | None = None) -> Event:
    message = NewMessage("user", text, START, name="Ann")
    return ingest.record_add(project, AddRequest([message], EntityIds(user_id="ann", run_id=run)))


def delete_all(project: Project) -> Event:
    event = forgetting.record_deletion(project, raw_filter={"user_id": "ann"}, entity=None)
    forgetting.run_deletion(event.pk)
    event.refresh_from_db()
    return event


def found(project: Project, query: str, raw: object = None) -> list[str]:
    node = filters.parse(raw or {"user_id": "ann"})
    hits = retrieval.search(project, retrieval.SearchRequest(query, node))
    return [hit.memory.text if hit.memory else hit.message.content for hit in hits if hit.memory or hit.message]


def test_it_closes_what_is_remembered_and_counts_it_once(project: Project) -> None:
    ingest.drain_scope(record(project, "I bought a green canoe.").scope_id)
    event = delete_all(project)
    forgetting.run_deletion(event.pk)
    assert event.status == "SUCCEEDED"
    assert event.results[0]["deleted"]["memories"] == Memory.objects.filter(state="deleted").count() > 0
    assert MemoryRevision.objects.filter(operation="DELETE").count() == Memory.objects.count()
    assert found(project, "canoe") == []


def test_it_deletes_what_was_acknowledged_but_not_processed(project: Project) -> None:
    pending = record(project, "I bought a green canoe.")
    assert found(project, "canoe")
    assert delete_all(project).results[0]["deleted"]["unprocessed_messages"] == 1
    assert found(project, "canoe") == []
    ingest.drain_scope(pending.scope_id)
    assert found(project, "canoe") == []
    later = record(project, "The canoe has a leak.")
    ingest.drain_scope(later.scope_id)
    assert found(project, "canoe") == ["Ann: The canoe has a leak."]


def test_it_deletes_the_messages_of_failed_events_too(project: Project) -> None:
    event = record(project, "I bought a green canoe.")
    Event.objects.filter(pk=event.pk).update(status="FAILED", error="it broke")
    assert found(project, "canoe")
    delete_all(project)
    assert found(project, "canoe") == []
    assert Message.objects.count() == 1  # kept, as what was deleted by a filter is


@pytest.mark.django_db(transaction=True)
def test_it_comes_back_to_a_scope_that_a_worker_holds(project: Project) -> None:
    import threading

    event = record(project, "I bought a green canoe.")
    ingest.drain_scope(event.scope_id)
    deletion = forgetting.record_deletion(project, raw_filter={"user_id": "ann"}, entity=None)
    retry_at: list[datetime | None] = []
    with advisory_lock(Kind.SCOPE, event.scope_id) as held:
        assert held
        other = threading.Thread(target=lambda: retry_at.append(run_elsewhere(deletion.pk)))
        other.start()
        other.join(30)
    assert retry_at[0] is not None and retry_at[0] > timezone.now() - forgetting.BUSY_PAUSE
    deletion.refresh_from_db()
    assert (deletion.status, deletion.num_attempts) == ("PENDING", 0)
    assert forgetting.run_deletion(deletion.pk) is None
    assert not Memory.objects.live().exists()


def run_elsewhere(event_id: int) -> datetime | None:
    """On a connection of its own: an advisory lock is its holder's again and again."""
    from django.db import connection

    try:
        return forgetting.run_deletion(event_id)
    finally:
        connection.close()


def test_it_fails_with_a_reason_after_so_many_tries(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("out of cheese")

    monkeypatch.setattr(forgetting, "_run", explode)
    event = forgetting.record_deletion(project, raw_filter={"user_id": "ann"}, entity=None)
    for attempt in range(1, ingest.MAX_ATTEMPTS + 1):
        retry_at = forgetting.run_deletion(event.pk)
        assert (retry_at is None) == (attempt == ingest.MAX_ATTEMPTS)
    event.refresh_from_db()
    assert event.status == "FAILED" and "out of cheese" in event.error


def test_it_finds_a_fact_in_every_run_that_states_it_and_keeps_it_for_the_last(project: Project) -> None:
    for run in ("r1", "r2"):
        ingest.drain_scope(record(project, "I live in Bergen.", run=run).scope_id)
    fact = Memory.objects.live().get(kind="semantic")
    assert fact.run_id == "r1"
    assert fact.text in found(project, "Where does Ann live?", {"run_id": "r2"})
    forgetting.forget_entity(project, "run", "r1")
    fact.refresh_from_db()
    assert (fact.state, fact.run_id) == ("live", "r2")
    forgetting.forget_entity(project, "run", "r2")
    assert not Memory.objects.exists()


@pytest.mark.parametrize(
    ("forgotten", "left"), [("r2", ["Ann lives in Oslo"]), ("r1", [])], ids=["the later run", "the first run"]
)
def test_it_takes_back_what_a_run_did_to_a_memory_of_another(
    project: Project, settings: Any, forgotten: str, left: list[str]
) -> None:
    """A text that was put together from both cannot be taken apart: it goes back to an older one, or goes."""
    both = "Ann lives in Oslo and keeps a parrot"
    script = [
        {"facts": [{"text": "Ann lives in Oslo", "message": 1, "quote": "live in Oslo"}]},
        {"facts": [{"text": "Ann keeps a parrot", "message": 1, "quote": "keep a parrot"}]},
        {"decisions": [{"fact": 0, "operation": "UPDATE", "target": 0, "text": both, "reason": "and a parrot"}]},
    ]
    with ScriptedLLM(script) as server:
        changed = {"llm_model": "openai/scripted", "llm_api_base": server.base_url, "llm_api_key": "test"}
        settings.ENV = settings.ENV.model_copy(update=changed)
        first = record(project, "I live in Oslo.", run="r1")
        ingest.drain_scope(first.scope_id)
        ingest.drain_scope(record(project, "I keep a parrot.", run="r2").scope_id)
    facts = Memory.objects.live().filter(kind="semantic")
    assert list(facts.values_list("text", flat=True)) == [both]
    forgetting.forget_entity(project, "run", forgotten)
    assert list(facts.values_list("text", flat=True)) == left
    gone = "oslo" if forgotten == "r1" else "parrot"
    for table in (Event, Memory, MemoryRevision, Message):
        assert gone not in str(list(table.objects.values())).casefold(), table


def test_it_leaves_no_event_that_lists_a_memory_of_a_forgotten_run(project: Project) -> None:
    for run in ("r1", "r2"):
        said = "I live in Bergen. Who would have thought that ferries are so loud at night!"
        ingest.drain_scope(record(project, said, run=run).scope_id)
    other = Event.objects.latest("id")
    gone = Memory.objects.filter(run_id="r1", kind="episodic").get()
    Event.objects.filter(pk=other.pk).update(
        results=[{"id": str(gone.public_id), "data": {"memory": gone.text}, "event": "DELETE"}, {"note": 1}]
    )
    forgetting.forget_entity(project, "run", "r1")
    other.refresh_from_db()
    assert other.results == [{"note": 1}]
