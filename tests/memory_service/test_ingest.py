from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from memory_service import consolidation, forgetting, ingest, session_summaries, tasks
from memory_service.consolidation import Plan
from memory_service.embedding import ensure_profile, serving_profile
from memory_service.errors import Conflict
from memory_service.ingest import AddRequest, EntityIds, NewMessage
from memory_service.models import Event, Memory, Message, Organisation, Project, Scope, Session
from memory_service.policies import Decision

START = datetime(2025, 3, 1, 12, tzinfo=UTC)


def record(project: Project, *texts: str, user: str = "ann", run: str | None = None, **kwargs: object) -> Event:
    messages = [NewMessage("user", text, START, name="Ann") for text in texts]
    return ingest.record_add(project, AddRequest(messages, EntityIds(user_id=user, run_id=run), **kwargs))  # type: ignore[arg-type]


def status(event: Event) -> str:
    event.refresh_from_db()
    return event.status


def test_it_processes_a_scope_in_order_of_arrival(project: Project) -> None:
    events = [record(project, f"I painted wall number {i}.") for i in range(20)]
    ingest.drain_scope(events[0].scope_id)
    finished = Event.objects.order_by("completed_at", "id").values_list("pk", flat=True)
    assert list(finished) == [event.pk for event in events]
    assert {status(event) for event in events} == {"SUCCEEDED"}


def test_it_fails_one_event_of_a_batch_and_not_its_neighbours(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad, last = record(project, "The roof is new."), record(project, "BOOM"), record(project, "The door is old.")
    honest = ingest.extract

    def explode(work: ingest.Work) -> None:
        if work.messages[0].content == "BOOM":
            raise RuntimeError("out of cheese")
        honest(work)

    monkeypatch.setattr(ingest, "extract", explode)
    monkeypatch.setattr(ingest, "backoff_s", lambda *_: 0.0)
    ingest.drain_scope(good.scope_id)
    assert [status(e) for e in (good, bad, last)] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert "out of cheese" in bad.error and "post them again" in bad.error
    assert bad.num_attempts == ingest.MAX_ATTEMPTS


def test_it_waits_out_a_back_off_without_overtaking(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = record(project, "The roof is new."), record(project, "The door is old.")
    Event.objects.filter(pk=first.pk).update(retry_at=timezone.now() + timedelta(hours=1))
    retry_at = ingest.drain_scope(first.scope_id)
    assert retry_at is not None and retry_at > timezone.now()
    assert status(second) == "PENDING"


def test_it_takes_over_what_a_dead_worker_held_and_finishes_it_once(project: Project) -> None:
    event = record(project, "The motorbike would not start.")
    held = Event.objects.get(pk=event.pk)
    assert ingest.claim(held)  # by a worker that now dies: nobody holds the scope's lock
    work = ingest.load(held)
    ingest.extract(work)
    ingest.embed([work])
    ingest.drain_scope(event.scope_id)
    assert status(event) == "SUCCEEDED"
    with pytest.raises(ingest.LostClaim):  # it was only slow, and comes back
        ingest.finish(work)
    assert Memory.objects.filter(kind="episodic").count() == 1


def test_it_changes_nothing_when_an_event_is_drained_again(project: Project) -> None:
    event = record(project, "I sold my motorbike.", "I live in Oslo.")
    ingest.drain_scope(event.scope_id)
    before = list(Memory.objects.order_by("id").values_list("id", "text", "state"))
    ingest.drain_scope(event.scope_id)
    tasks.process_scope(event.scope_id)
    assert list(Memory.objects.order_by("id").values_list("id", "text", "state")) == before


def test_it_gives_a_repeated_text_one_memory_with_both_sources(project: Project) -> None:
    ingest.drain_scope(record(project, "I live in Oslo.", run="r").scope_id)
    event = record(project, "I live in Oslo.", run="r")
    ingest.drain_scope(event.scope_id)
    for memory in Memory.objects.live():
        assert memory.sources.values("message").distinct().count() == 2
    assert status(event) == "SUCCEEDED"
    assert event.results == []


def test_it_keeps_messages_of_a_conflicting_replay_out(project: Project) -> None:
    def post(text: str) -> Event:
        message = NewMessage("user", text, START, client_id="m1")
        return ingest.record_add(project, AddRequest([message], EntityIds(user_id="ann")))

    first = post("I live in Oslo.")
    assert post("I live in Oslo.") == first
    with pytest.raises(Conflict, match="'m1' is already in this session with other words"):
        post("I live in Rome.")
    assert Message.objects.count() == 1


def test_it_gives_runs_without_an_owner_scopes_of_their_own(project: Project) -> None:
    for run in ("r1", "r2"):
        ingest.record_add(project, AddRequest([NewMessage("user", "Hello there", START)], EntityIds(run_id=run)))
    assert Scope.objects.count() == 2
    assert Session.objects.count() == 2


def test_it_summarises_a_session_once(project: Project) -> None:
    event = record(project, *(f"On day {i} the harvest of apples was good and the barn was full." for i in range(12)))
    ingest.drain_scope(event.scope_id)
    session = Session.objects.get()
    assert list(Session.objects.needing_summary(8)) == [session]
    tasks.refresh_summaries()
    session.refresh_from_db()
    assert "harvest" in session.summary and session.summary_seq == 11
    assert not Session.objects.needing_summary(8).exists()


def test_it_forgets_every_row_of_a_user(project: Project) -> None:
    ingest.drain_scope(record(project, "I live in Oslo with my brother Emil.", user="ann").scope_id)
    ingest.drain_scope(record(project, "I live in Rome.", user="bob").scope_id)
    counts = forgetting.forget_entity(project, "user", "ann")
    assert counts["memories"] >= 1 and counts["messages"] == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'memory_service_%'")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT count(*) FROM {table} AS t WHERE t::text ILIKE '%oslo%' OR t::text ILIKE '%emil%'")
            assert cursor.fetchone()[0] == 0, table
    assert Memory.objects.live().filter(user_id="bob").exists()


@pytest.mark.django_db(transaction=True)
def test_it_serialises_two_workers_on_one_scope() -> None:
    serving_profile.cache_clear()
    ensure_profile()
    project = Project.objects.create(organisation=Organisation.objects.create(name="o"), name="p")
    events = [record(project, f"I planted tree number {i} in the garden.") for i in range(40)]

    def drain() -> None:
        try:
            ingest.drain_scope(events[0].scope_id)
        finally:
            connection.close()

    workers = [threading.Thread(target=drain) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert {status(event) for event in events} == {"SUCCEEDED"}
    assert Memory.objects.live().filter(kind="episodic").count() == 40
    assert all(event.num_attempts == 1 for event in events)
    serving_profile.cache_clear()


def test_it_tries_a_failed_event_anew_when_it_is_posted_again(project: Project) -> None:
    message = NewMessage("user", "I live in Oslo.", START, client_id="m1")
    request = AddRequest([message], EntityIds(user_id="ann"))
    event = ingest.record_add(project, request)
    Event.objects.filter(pk=event.pk).update(status="FAILED", error="it broke", num_attempts=5)
    again = ingest.record_add(project, request)
    assert (again.pk, again.status, again.num_attempts) == (event.pk, "PENDING", 0)
    ingest.drain_scope(event.scope_id)
    assert status(event) == "SUCCEEDED"


def test_it_gives_up_an_event_that_kills_its_workers(project: Project) -> None:
    deadly, harmless = record(project, "I live in Oslo."), record(project, "I work in Rome.")
    Event.objects.filter(pk=deadly.pk).update(status="RUNNING", num_attempts=ingest.MAX_ATTEMPTS)
    ingest.drain_scope(deadly.scope_id)
    assert status(deadly) == "FAILED" and "workers died" in deadly.error
    assert status(harmless) == "SUCCEEDED"


@pytest.mark.parametrize(
    ("zone", "day"), [(None, "2 March 2025"), ("America/Los_Angeles", "1 March 2025"), ("-08:00", "1 March 2025")]
)
def test_it_reads_today_where_the_speaker_is(project: Project, zone: str | None, day: str) -> None:
    said_at = datetime(2025, 3, 2, 7, 30, tzinfo=UTC)
    message = NewMessage("user", "The ferry was late today.", said_at, name="Ann")
    event = ingest.record_add(project, AddRequest([message], EntityIds(user_id="ann"), timezone=zone))
    ingest.drain_scope(event.scope_id)
    assert Memory.objects.get(kind="episodic").text == f"Ann: The ferry was late today ({day})."


def test_it_adds_what_was_to_change_a_memory_that_is_gone_by_then(project: Project) -> None:
    ingest.drain_scope(record(project, "I live in Oslo.").scope_id)
    event = record(project, "I live in Oslo.", run="later")
    assert event.scope is not None and ingest.claim(event)
    work = ingest.load(event)
    ingest.extract(work)
    ingest.embed([work])
    known = Memory.objects.live().get(kind="semantic")
    decisions = [
        Decision("NONE", candidate, known.pk if candidate.kind == "semantic" else None, None, "known", "two_phase")
        for candidate in work.candidates
    ]
    Memory.objects.filter(pk=known.pk).update(state="deleted")
    consolidation.apply(event, Plan(decisions, {known.pk: known.text}), work.vectors, work.messages)
    assert Memory.objects.live().filter(kind="semantic", run_id="later").exists()
    assert Memory.objects.get(pk=known.pk).state == "deleted"


def test_it_keeps_a_local_project_away_from_the_model(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update={"llm_model": "openai/scripted"}))
    monkeypatch.setattr(session_summaries.summaries, "summarise", refuse)
    Project.objects.update(extraction_policy="local")
    event = record(Project.objects.get(), "I live in Oslo, near the harbour with the old ferries.")
    ingest.drain_scope(event.scope_id)
    session_summaries.refresh(Session.objects.get())
    assert "harbour" in Session.objects.get().summary
