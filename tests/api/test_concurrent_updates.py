"""Updates that come at the same moment: one goes first, the others are told so, none fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from memory_service import editing, ingest
from memory_service.editing import Change
from memory_service.errors import Conflict
from memory_service.models import Memory, Project

START = datetime(2025, 3, 1, tzinfo=UTC)
NUM_CALLERS = 6


@pytest.fixture
def memories(project: Project) -> list[Memory]:
    messages = [ingest.NewMessage("user", f"Note number {i}.", START) for i in range(NUM_CALLERS)]
    request = ingest.AddRequest(messages, ingest.EntityIds(user_id="ann"), infer=False)
    ingest.drain_scope(ingest.record_add(project, request).scope_id)  # type: ignore[arg-type]
    return list(Memory.objects.live().order_by("id"))


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each returned or raised, in order."""

    def run(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            return exc
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.mark.django_db(transaction=True)
def test_one_of_many_gets_a_text_and_the_others_a_conflict(
    project: Project, memories: list[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    everyone = threading.Barrier(NUM_CALLERS, timeout=20)
    lock = editing._lock_scopes

    def lock_together(*args: Any) -> None:
        everyone.wait()
        lock(*args)

    monkeypatch.setattr(editing, "_lock_scopes", lock_together)
    change = Change(text="The very same.")
    answers = at_once([lambda m=m: editing.update_memory(project, m.public_id, change) for m in memories])
    refused = [answer for answer in answers if not isinstance(answer, Memory)]
    assert len(refused) == NUM_CALLERS - 1
    assert all(isinstance(answer, Conflict) for answer in refused), refused
    assert "says exactly this already" in str(refused[0])
    assert Memory.objects.live().filter(text="The very same.").count() == 1


@pytest.mark.django_db(transaction=True)
def test_batches_in_any_order_wait_for_each_other(project: Project, memories: list[Memory]) -> None:
    forwards = [(memory.public_id, Change(metadata={"n": 1})) for memory in memories]
    calls = [lambda order=order: editing.update_batch(project, order) for order in (forwards, forwards[::-1]) * 3]
    assert at_once(calls) == [NUM_CALLERS] * len(calls)


@pytest.mark.django_db
def test_a_batch_is_embedded_in_one_go_and_its_rows_are_locked_in_one(
    project: Project, memories: list[Memory], monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    embedded: list[list[str]] = []
    embed = editing.embed_texts
    monkeypatch.setattr(editing, "embed_texts", lambda texts: embedded.append(list(texts)) or embed(texts))
    changes = [(memory.public_id, Change(text=f"Changed {i}.")) for i, memory in enumerate(memories)]
    assert editing.update_batch(project, changes) == NUM_CALLERS
    assert embedded == [[f"Changed {i}." for i in range(NUM_CALLERS)]]
    assert [m.text for m in Memory.objects.live().order_by("id")] == embedded[0]


@pytest.mark.django_db
def test_a_memory_named_twice_in_a_batch_is_changed_twice(project: Project, memories: list[Memory]) -> None:
    first = memories[0]
    editing.update_batch(
        project, [(first.public_id, Change(text="Other.")), (first.public_id, Change(text=first.text))]
    )
    assert [r.new_text for r in first.revisions.order_by("id")][1:] == ["Other.", first.text]
