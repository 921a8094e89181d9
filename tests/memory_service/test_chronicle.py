"""Memories follow their timelines, in the tables: what ends, what stays, what a person decided."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memory_service import chronicle, consolidation, editing, filters, ingest, moments, retrieval
from memory_service.embedding import embed_texts
from memory_service.extraction.types import Candidate, Grounding
from memory_service.ingest import AddRequest, EntityIds, NewMessage
from memory_service.models import Assertion, Memory, MemoryRevision, MemorySource, Project, Review
from memory_service.retrieval import SearchRequest

T0 = datetime(2024, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Told:
    """One message with one statement, said on a day."""

    day: float
    subject: str
    attribute: str
    value: str | None
    more: dict[str, Any]


def told(day: float, subject: str, attribute: str, value: str | None, **more: Any) -> Told:
    return Told(day, subject, attribute, value, more)


def tell(project: Project, *history: Told, run: str | None = None) -> None:
    """Through the tables and the writer, as a worker does; only what was extracted is given."""
    for one in history:
        said_at = T0 + one.day * DAY
        polarity = one.more.get("polarity", "holds")
        text = one.more.get("text") or f"{one.subject} {polarity} {one.attribute} {one.value}"
        message = NewMessage("user", text, said_at, name="Ann")
        event = ingest.record_add(project, AddRequest([message], EntityIds(user_id="ann", run_id=run)))
        assert event.scope is not None
        assert ingest.claim(event)
        work = ingest.load(event)
        [row] = work.messages
        more = {k: v for k, v in one.more.items() if k != "text"}
        if "since" in more:
            more["valid_at"] = T0 + more.pop("since") * DAY
        candidate = Candidate(
            text=text,
            kind="semantic",
            grounding=(Grounding(row.pk, 0, len(text)),),
            subject=one.subject or None,
            attribute=one.attribute or None,
            value=one.value,
            **more,
        )
        work.extraction.candidates = [] if one.more.get("_none") else [candidate]
        work.vectors = embed_texts(work.texts)
        ingest.finish(work)


def facts(project: Project, *, live: bool = True) -> list[str]:
    memories = Memory.objects.filter(project=project, kind="semantic").order_by("valid_at", "id")
    return [m.text for m in memories if (m.state == "live") == live]


def state(project: Project) -> list[tuple[Any, ...]]:
    """What the memories are, whatever their ids, and what they rest on."""
    rows = Memory.objects.filter(project=project)
    return sorted(
        (
            m.text,
            m.state,
            str(m.valid_at),
            str(m.invalid_at),
            m.replaced_by.text if m.replaced_by else "",
            tuple(sorted(m.sources.values_list("message__content", flat=True))),
        )
        for m in rows
    )


MOVES = [
    told(0, "Ann", "lives in", "Lisbon"),
    told(30, "Ann", "lives in", "Oslo", since=20),
    told(31, "Ann", "has", "a dog named Rex"),
    told(40, "Ann", "lives in", "Oslo, Norway"),
    told(41, "Ann", "has", "a cat named Momo"),
    told(55, "Ann", "has", "Rex", polarity="ended", text="Ann's dog Rex died"),
    told(60, "Ann", "lives in", "Lisbon"),
    told(70, "Tom", "lives in", "Oslo"),
    told(80, "Ann", "works at", "Acme"),
    told(90, "Ann", "employment", "retired"),
    told(95, "Ann", "lives in", "Porto", corrects=True),
    told(99, "Ann", "eats", "meat", polarity="ended"),
]


def test_a_change_ends_the_old_version_at_its_date_and_keeps_it(project: Project) -> None:
    tell(project, *MOVES[:2])
    old, new = Memory.objects.order_by("valid_at")
    assert (old.state, old.invalid_at, old.replaced_by) == ("superseded", T0 + 20 * DAY, new)
    assert (new.state, new.valid_at, new.invalid_at) == ("live", T0 + 20 * DAY, None)
    [closing] = MemoryRevision.objects.filter(memory=old, operation="DELETE")
    assert "ended on 2024-01-21" in closing.reason
    assert (closing.old_text, closing.new_text, closing.policy) == (old.text, None, "local")
    assert closing.message_ids == list(new.sources.values_list("message", flat=True))


@pytest.mark.parametrize("seed", range(12))
def test_the_order_of_arrival_does_not_change_what_comes_of_it(project: Project, seed: int) -> None:
    other = Project.objects.create(organisation=project.organisation, name="in order")
    tell(other, *MOVES)
    shuffled = list(MOVES)
    random.Random(seed).shuffle(shuffled)
    tell(project, *shuffled)
    assert state(project) == state(other)


def test_a_repeated_statement_is_one_memory_with_all_its_sources(project: Project) -> None:
    tell(project, told(0, "Ann", "likes", "tea"), told(5, "Ann", "likes", "tea"), told(9, "Ann", "likes", "tea"))
    memory = Memory.objects.get()
    assert memory.sources.count() == 3
    assert memory.revisions.count() == 1


def test_words_that_are_taken_back_are_found_without_a_subject(project: Project) -> None:
    tell(project, told(0, "The meeting", "is on", "Monday", single=True, text="The meeting is on Monday"))
    tell(project, told(1, "", "", "Tuesday", corrects=True, instead_of="Monday", text="It is Tuesday, not Monday"))
    assert facts(project) == ["The meeting is on Tuesday"]
    wrong = Memory.objects.get(state="superseded")
    assert wrong.invalid_at == wrong.valid_at  # it never was so
    tell(project, told(2, "", "", "Hanna", corrects=True, instead_of="Greta", text="I meant Hanna, not Greta"))
    assert Memory.objects.get(kind="episodic").text == "I meant Hanna, not Greta"  # of nobody we know: kept as said


def test_a_bare_name_means_the_one_person_who_has_it(project: Project) -> None:
    tell(project, told(0, "Ann's sister Eva", "lives in", "York"), told(9, "Eva", "lives in", "Leeds"))
    assert facts(project) == ["Eva holds lives in Leeds"]
    tell(project, told(20, "Eva Berg", "lives in", "Bonn"), told(30, "Eva", "lives in", "Rome"))
    assert len(facts(project)) == 3  # two Evas now: the bare name ends neither


def test_a_speaker_without_a_name_is_who_they_say_they_are(project: Project) -> None:
    tell(project, told(0, "User", "lives in", "Oslo"), told(1, "User", "name", "Annika"))
    tell(project, told(9, "Annika", "lives in", "Rome"))
    assert set(facts(project)) == {"User holds name Annika", "Annika holds lives in Rome"}


def test_what_was_deleted_or_rewritten_by_hand_does_not_come_back(project: Project) -> None:
    tell(project, told(0, "Ann", "lives in", "Lisbon"), told(1, "Ann", "likes", "tea"))
    lives, likes = Memory.objects.order_by("id")
    editing.update_memory(project, lives.public_id, editing.Change(text="Ann lives in Porto"))
    editing.delete_memory(project, likes.public_id)
    tell(project, told(2, "Ann", "lives in", "Lisbon"), told(3, "Ann", "likes", "tea"))
    assert facts(project) == ["Ann lives in Porto"]
    tell(project, told(-5, "Ann", "lives in", "Faro"))
    assert facts(project) == ["Ann lives in Porto"]
    later = (datetime.now(UTC) - T0) / DAY + 30
    tell(project, told(later, "Ann", "lives in", "Oslo"))  # news is another matter
    assert facts(project) == ["Ann holds lives in Oslo"]


def test_a_fact_without_a_timeline_stays_deleted_too(project: Project) -> None:
    odd = told(0, "", "", None, text="The night train was full of singing sailors")
    tell(project, odd)
    editing.delete_memory(project, Memory.objects.get().public_id)
    tell(project, told(1, "", "", None, text="The night train was full of singing sailors."))
    assert facts(project) == []


def test_after_everything_was_deleted_it_may_be_learned_anew(project: Project) -> None:
    from memory_service import forgetting

    tell(project, told(0, "Ann", "lives in", "Lisbon"), told(5, "Ann", "lives in", "Oslo"))
    event = forgetting.record_deletion(project, raw_filter={"AND": [{"user_id": "ann"}]}, entity=None)
    forgetting.run_deletion(event.pk)
    assert facts(project) == []
    tell(project, told(9, "Ann", "lives in", "Oslo"))
    assert facts(project) == ["Ann holds lives in Oslo"]


def test_an_unsure_ending_waits_for_a_person(project: Project) -> None:
    tell(project, told(0, "Ann", "lives in", "Lisbon"), told(9, "Ann", "lives in", "Oslo", confidence=0.4))
    assert len(facts(project)) == 2
    review = Review.objects.get()
    assert "Oslo" in review.reason
    assert review.status == "pending"
    editing.decide_review(project, review.public_id, accept=True)
    assert facts(project) == ["Ann holds lives in Oslo"]
    review.refresh_from_db()
    assert review.status == "accepted"


def test_a_rejected_ending_stays_rejected(project: Project) -> None:
    tell(project, told(0, "Ann", "lives in", "Lisbon"), told(9, "Ann", "lives in", "Oslo", confidence=0.4))
    editing.decide_review(project, Review.objects.get().public_id, accept=False)
    tell(project, told(10, "Ann", "likes", "tea"), told(8, "Ann", "lives in", "Lisbon"))
    assert len(facts(project)) == 3
    assert Review.objects.get().status == "rejected"


@pytest.mark.parametrize("operation", ["ADD", "UPDATE", "DELETE"])
def test_a_revision_can_be_undone(project: Project, operation: str) -> None:
    tell(project, told(0, "Ann", "lives in", "Lisbon"))
    memory = Memory.objects.get()
    if operation == "UPDATE":
        editing.update_memory(project, memory.public_id, editing.Change(text="Ann lives in Porto"))
    elif operation == "DELETE":
        tell(project, told(9, "Ann", "lives in", "Oslo"))
    revision = MemoryRevision.objects.filter(memory=memory, operation=operation).latest("id")
    editing.undo(project, revision.public_id)
    memory.refresh_from_db()
    if operation == "ADD":
        assert memory.state == "deleted"
    else:
        assert (memory.state, memory.text) == ("live", "Ann holds lives in Lisbon")
        assert memory.invalid_at is None
    assert memory.revisions.latest("id").reason.startswith("undo")
    if operation == "DELETE":  # and it stays undone
        tell(project, told(10, "Ann", "lives in", "Oslo"))
        memory.refresh_from_db()
        assert memory.state == "live"


def search(project: Project, **kwargs: Any) -> list[str]:
    query = kwargs.pop("query", "Where does Ann live?")
    moment = moments.moment_of(query, **kwargs)
    request = SearchRequest(query, filters.parse({"user_id": "ann"}), moment=moment)
    return [hit.memory.text for hit in retrieval.search(project, request) if hit.memory]


def test_a_question_is_answered_as_of_another_time_in_the_world(project: Project) -> None:
    tell(project, told(0, "Ann", "lives in", "Lisbon"), told(30, "Ann", "lives in", "Oslo"))
    assert search(project) == ["Ann holds lives in Oslo"]
    assert search(project, as_of=T0 + 10 * DAY) == ["Ann holds lives in Lisbon"]
    assert search(project, as_of=T0 - 10 * DAY) == []
    assert set(search(project, latest_only=False)) == {"Ann holds lives in Oslo", "Ann holds lives in Lisbon"}
    assert "Ann holds lives in Lisbon" in search(project, query="Where did Ann live before?")
    assert search(project, query="Where did Ann live before?", latest_only=True) == ["Ann holds lives in Oslo"]
    january = search(project, query="Where did Ann live last month?", reference_date=T0 + 35 * DAY)
    assert "Ann holds lives in Lisbon" in january


def test_a_question_is_answered_as_the_store_knew_it(project: Project) -> None:
    tell(project, told(0, "Ann", "lives in", "Lisbon"))
    before = datetime.now(UTC)
    tell(project, told(30, "Ann", "lives in", "Oslo", since=20))
    assert search(project, known_at=before) == ["Ann holds lives in Lisbon"]
    assert search(project, known_at=before, as_of=T0 + 40 * DAY) == ["Ann holds lives in Lisbon"]  # not known yet
    after = datetime.now(UTC)
    assert search(project, known_at=after, as_of=T0 + 10 * DAY) == ["Ann holds lives in Lisbon"]
    memory = Memory.objects.live().get()
    editing.update_memory(project, memory.public_id, editing.Change(text="Ann lives in Bergen"))
    assert search(project, known_at=after) == ["Ann holds lives in Oslo"]
    assert search(project) == ["Ann lives in Bergen"]
    editing.delete_memory(project, memory.public_id)
    assert search(project, known_at=after) == ["Ann holds lives in Oslo"]
    assert search(project) == []


def test_sources_follow_the_statements_when_a_span_is_split(project: Project) -> None:
    tell(project, told(0, "Ann", "lives in", "Lisbon", text="a"), told(60, "Ann", "lives in", "Lisbon", text="b"))
    assert MemorySource.objects.filter(memory=Memory.objects.get()).count() == 2
    tell(project, told(30, "Ann", "lives in", "Oslo", text="c"))  # it was said between, and came last
    assert [row[-1] for row in state(project)] == [("a",), ("b",), ("c",)]
    assert not Assertion.objects.filter(memory=None).exists()


def test_a_statement_of_a_model_that_is_unsure_waits_as_well(project: Project) -> None:
    from memory_service.policies import Decision

    tell(project, told(0, "", "", None, text="The shop opens at nine"))
    target = Memory.objects.get()
    event = ingest.record_add(
        project, AddRequest([NewMessage("user", "It opens at ten.", T0 + DAY)], EntityIds(user_id="ann"))
    )
    work = ingest.load(event)
    candidate = Candidate("The shop opens at ten", "semantic", (Grounding(work.messages[0].pk, 0, 5),))
    decision = Decision("INVALIDATE", candidate, target.pk, None, "other hours", "two_phase", 0.3)
    plan = consolidation.Plan([decision], {target.pk: target.text})
    consolidation.apply(event, plan, embed_texts([candidate.text]), work.messages)
    assert len(facts(project)) == 2
    editing.decide_review(project, Review.objects.get().public_id, accept=True)
    assert facts(project) == ["The shop opens at ten"]


def test_the_difference_of_two_moments(project: Project) -> None:
    tell(project, told(0, "Ann", "lives in", "Lisbon"), told(1, "Ann", "likes", "tea"), told(2, "Ann", "has", "a dog"))
    before = datetime.now(UTC)
    tell(project, told(30, "Ann", "lives in", "Oslo"))
    tea = Memory.objects.get(value="tea")
    editing.update_memory(project, tea.public_id, editing.Change(text="Ann likes green tea"))
    difference = moments.difference(project, filters.parse({"user_id": "ann"}), before, datetime.now(UTC))
    assert texts(difference.added) == ["Ann holds lives in Oslo"]
    assert texts(difference.removed) == ["Ann holds lives in Lisbon"]
    assert [(old, new.text) for old, new in difference.changed] == [("Ann holds likes tea", "Ann likes green tea")]


def texts(memories: Sequence[Memory]) -> list[str]:
    return [memory.text for memory in memories]


def test_the_chronicle_is_locked_for_the_transaction(project: Project) -> None:
    from django.db import connection

    tell(project, told(0, "Ann", "likes", "tea"))
    chronicle.lock(Memory.objects.get().scope_id)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        assert cursor.fetchone()[0] >= 1
