"""After a user was deleted no table, cache, queue or file holds a word of what came in with them, wherever it came in.

Nothing here names a table: all tables and columns of the database are read, so one that is added is looked at too.
"""

from __future__ import annotations

import functools
import gc
import io
import json
import logging
import types
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connection

from memory_service import caches, documents, erasure, forgetting, ingest, lexical, retrieval, session_summaries, tasks
from memory_service.embedding import embed_query
from memory_service.models import (
    Event,
    ForgettingReceipt,
    Memory,
    MemoryRevision,
    Message,
    Project,
    Scope,
    Session,
)
from memory_service.search_cache import SearchCache
from tests.conftest import ApiClient, Worker
from tests.fakes import ScriptedLLM, asked_for

# One rare word for each way in; without digits, which extraction looks at.
MARKERS = {
    way: f"{way}zqxkvj"
    for way in [
        *("message", "speaker", "client", "user", "agent", "app", "run", "metakey", "metavalue", "category"),
        *("meaning", "instruction", "include", "exclude", "feedback", "edit", "fact", "unfounded", "entity"),
        *("decision", "summary", "query", "filter", "pending", "withdrawn", "failure", "assistant", "rendered"),
        *("question", "corrected", "answered"),
        *("document", "title", "source", "described", "unread"),
    ]
}
WAYS = tuple(MARKERS)
# They need not be in the database while the user is there: a query is only cached, and PostgreSQL's error only logged.
NOT_STORED = {"query"}

pytestmark = pytest.mark.django_db(transaction=True)


def say(client: ApiClient, text: str, **more: Any) -> str:
    m = MARKERS
    message = {"role": "user", "content": text, "name": m["speaker"], "id": f"{m['client']}-{abs(hash(text))}"}
    body = {
        "messages": [message, {"role": "assistant", "content": f"Noted, {m['assistant']}."}],
        "user_id": m["user"],
        "agent_id": m["agent"],
        "app_id": m["app"],
        "run_id": m["run"],
        "metadata": {m["metakey"]: {"deep": [m["metavalue"]]}},
        "custom_instructions": m["instruction"],
        "custom_categories": [{m["category"]: m["meaning"]}],
        "includes": m["include"],
        "excludes": m["exclude"],
    } | more
    answer = client.post("/v3/memories/add/", body)
    assert answer.status == 200, answer.json
    return str(answer.json["event_id"])


def model_answers(request: dict[str, Any]) -> dict[str, Any]:
    m = MARKERS
    if asked_for(request) == "Facts":
        place = "attic" if "attic" in request["messages"][-1]["content"].split("## NEW MESSAGES")[1] else "shed"
        fact = {
            "text": f"{m['speaker']} keeps {m['message']} and {m['fact']} in the {place}",
            "message": 1,
            "quote": m["message"],
            "kind": "semantic",
            "entities": [{"name": m["entity"], "type": "thing"}],
            "categories": [m["category"]],
            "subject": m["speaker"],
            "attribute": "keeps",
            "value": m["message"],
        }
        return {"facts": [fact, {"text": f"a {m['unfounded']} made up", "message": 1, "quote": "never said this"}]}
    if asked_for(request) == "FactDecisions":
        return {"decisions": [{"fact": 0, "operation": "INVALIDATE", "target": 0, "reason": m["decision"]}]}
    return {"summary": f"They spoke of {m['summary']}."}


@pytest.fixture
def told(client: ApiClient, worker: Worker, settings: Any, project: Project) -> Iterator[None]:
    """Everything comes in: through the API and, for what the API does later, the tasks' own functions."""
    m = MARKERS
    with ExitStack() as stack:
        server = stack.enter_context(ScriptedLLM(model_answers))
        before = settings.ENV
        changed = {"llm_model": "openai/scripted", "llm_api_base": server.base_url, "llm_timeout_s": 10.0}
        settings.ENV = before.model_copy(update={**changed, "llm_api_key": "test"})
        say(client, f"I keep {m['message']} in the shed. <memory-context>{m['rendered']}</memory-context>")
        say(client, f"I keep {m['message']} and {m['message']} in the attic now, all {m['fact']}.")
        for number in range(10):
            say(client, f"I keep {m['message']}, day {number}.")
        for session in Session.objects.all():
            session_summaries.refresh(session)
        settings.ENV = before
        say(client, f"My brother Anton {m['message']} lives in Bergen.")
        tell_by_hand(client)
        worker.paused = True
        say(client, f"Not yet processed: {m['pending']}.")
        failed = say(client, f"It will fail: {m['failure']}.")
        Event.objects.filter(public_id=failed).update(status="FAILED", error=f"ValueError: {m['failure']}")
        worker.waiting.clear()
        worker.paused = False
        yield


def tell_by_hand(client: ApiClient) -> None:
    m = MARKERS
    memory = Memory.objects.live().filter(kind="semantic").latest("id")
    changed = client.put(f"/v1/memories/{memory.public_id}/", {"text": f"They keep {m['edit']}", "metadata": {"a": 1}})
    assert changed.status == 200
    said = {"memory_id": str(memory.public_id), "feedback": "NEGATIVE", "feedback_reason": m["feedback"]}
    assert client.post("/v1/feedback/", said).status == 200
    mine = {"user_id": m["user"]}
    for _ in range(3):  # from the second time on a process keeps what it searched
        client.post("/v3/memories/search/", {"query": f"where is {m['query']}?", "filters": mine})
        client.post("/v3/memories/search/", {"query": f"where is {m['query']}?"})
    client.post("/v3/memories/", {"filters": mine})
    asked = {"query": f"What is {m['question']}?", "filters": {"AND": [mine, {"text": {"contains": m["answered"]}}]}}
    answer = client.post("/v1/answers/", asked)
    correction = {"correct": False, "corrected_answer": f"It is {m['corrected']}."}
    assert client.post(f"/v1/answers/{answer.json['id']}/feedback/", correction).status == 200
    send_documents(client)
    waiting = say(client, f"Soon withdrawn: {m['withdrawn']}.", metadata={"withdrawn": m["withdrawn"]})
    Message.objects.filter(event__public_id=waiting).update(withdrawn_at="2025-01-01T00:00:00Z")
    chosen = {"AND": [mine, {"text": {"contains": m["filter"]}}]}
    assert client.delete(f"/v1/memories/?filters={quote(json.dumps(chosen))}").status == 200


def send_documents(client: ApiClient) -> None:
    """One that is read, one that was edited since, and one that waits to be."""
    m = MARKERS
    whose = {"user_id": m["user"], "agent_id": m["agent"], "app_id": m["app"], "run_id": m["run"]}
    told = {"title": m["title"], "source": m["source"], "metadata": {"of": m["described"]}}
    for text in (f"A text about {m['document']}.", "Nothing of it any more."):
        assert client.post("/v1/documents/", {**whose, **told, "content": text}).status == 200
    waiting = documents.NewDocument(ids=ingest.EntityIds(**whose), file=io.BytesIO(m["unread"].encode()))
    documents.receive(Project.objects.get(name="Relocation"), waiting)


def columns() -> list[tuple[str, str, str]]:
    """(schema, table, column) of every column of every table that is not PostgreSQL's own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_schema, table_name, column_name FROM information_schema.columns "
            "JOIN information_schema.tables USING (table_schema, table_name) WHERE table_type = 'BASE TABLE' "
            "AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        )
        return list(cursor.fetchall())


def in_database(*, samples: bool = False) -> dict[str, set[str]]:
    """Marker -> the columns that hold it, bytea as the text that it encodes. samples: the planner's too."""
    found: dict[str, set[str]] = {}
    pattern = "|".join(MARKERS.values())
    with connection.cursor() as cursor:
        for schema, table, column in columns():
            text = f"encode(convert_to(\"{column}\"::text, 'UTF8'), 'escape')"
            cursor.execute(
                f'SELECT DISTINCT "{column}"::text, {text} FROM "{schema}"."{table}" '
                f'WHERE "{column}"::text ~* %s OR "{column}"::text ILIKE %s',
                [pattern, r"\\x%"],
            )
            for value, _ in cursor.fetchall():
                plain = value + (bytes.fromhex(value[2:]).decode("utf-8", "replace") if value.startswith("\\x") else "")
                for marker in MARKERS.values():
                    if marker in plain.casefold():
                        found.setdefault(marker, set()).add(f"{table}.{column}")
        if not samples:
            return found
        cursor.execute("SELECT tablename, attname, concat_ws(' ', most_common_vals, histogram_bounds) FROM pg_stats")
        for table, column, values in cursor.fetchall():
            for marker in MARKERS.values():
                if marker in values.casefold():
                    found.setdefault(marker, set()).add(f"pg_stats: {table}.{column}")
    return found


def in_redis() -> set[str]:
    import redis

    from memory_service.embedded import redis_socket

    client = redis.Redis(unix_socket_path=str(redis_socket(django_settings.DATA_DIR)))
    blob = b" ".join(key + b" " + (client.dump(key) or b"") for key in client.keys("*")).lower()
    return {marker for marker in MARKERS.values() if marker.encode() in blob}


def in_files() -> dict[str, set[str]]:
    """Marker -> files under DATA_DIR. Not the write-ahead log: docs/forgetting.md says how long it stays."""
    found: dict[str, set[str]] = {}
    for path in django_settings.DATA_DIR.rglob("*"):
        if path.is_file() and "pg_wal" not in path.parts:
            content = path.read_bytes().lower()
            for marker in MARKERS.values():
                if marker.encode() in content:
                    found.setdefault(marker, set()).add(str(path.relative_to(django_settings.DATA_DIR)))
    return found


def in_caches() -> dict[str, set[str]]:
    """Marker -> functions with a cache, anywhere in the process, that hold it in a key or a value."""
    found: dict[str, set[str]] = {}
    for wrapper in [one for one in gc.get_objects() if type(one) is functools._lru_cache_wrapper]:
        text = " ".join(_strings_in(wrapper, depth=5)).casefold()
        for marker in MARKERS.values():
            if marker in text or lexical.stem.__wrapped__(marker) in text:  # type: ignore[attr-defined]
                found.setdefault(marker, set()).add(getattr(wrapper, "__name__", repr(wrapper)))
    for cache in [one for one in gc.get_objects() if type(one) is SearchCache]:
        text = repr([*cache._entries, *cache._asked, *cache._used])
        for marker in MARKERS.values():
            if marker in text:
                found.setdefault(marker, set()).add("search cache")
    return found


def _strings_in(value: Any, *, depth: int) -> Iterator[str]:
    kind = type(value)  # isinstance would wake Django's lazy objects
    if kind is str:
        yield value
    elif depth and kind not in (type, types.FunctionType, types.ModuleType):
        for inner in gc.get_referents(value):
            if not isinstance(inner, dict) or "__builtins__" not in inner:
                yield from _strings_in(inner, depth=depth - 1)


def forget_user(client: ApiClient) -> dict[str, Any]:
    answer = client.delete(f"/v2/entities/user/{MARKERS['user']}/", X_Request_ID="req-7")
    assert answer.status == 200
    return client.get(f"/v1/event/{answer.json['event_id']}/").json


def test_nothing_of_a_user_is_left_anywhere(
    client: ApiClient, told: None, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute("CHECKPOINT")
    before = in_database()
    assert {way for way in WAYS if MARKERS[way] not in before} == NOT_STORED, "a way in that nothing came in by"
    assert in_files(), "the files were not read"
    assert "pg_stats" in str(in_database(samples=True))
    held = {name for names in in_caches().values() for name in names}
    assert {"embed_query", "stem", "count_terms", "search cache"} <= held, held

    caplog.set_level(logging.DEBUG)
    caplog.clear()
    event = forget_user(client)
    assert event["status"] == "SUCCEEDED", event

    logged = caplog.text.casefold()
    assert not [marker for marker in MARKERS.values() if marker in logged]
    assert in_caches() == {}
    call_command("purge", verbosity=0)
    assert in_database(samples=True) == {}
    assert in_files() == {}


def test_the_queue_carries_numbers_only(project: Project, monkeypatch: pytest.MonkeyPatch, client: ApiClient) -> None:
    """On the real broker, with no worker to take the messages away."""
    from memory_service.celery import app

    sent: list[str] = []
    monkeypatch.setattr(tasks, "enqueue", lambda event: (sent.append(event.type), ENQUEUE(event)))
    try:
        say(client, f"I keep {MARKERS['message']}.", infer=True)
        client.delete(f"/v1/memories/?user_id={MARKERS['user']}")
        assert sent == ["ADD", "DELETE"]
        with app.connection_for_read() as broker:
            assert broker.default_channel.client.llen("default") >= 2, "nothing was queued"
        assert in_redis() == set()
    finally:
        app.control.purge()


ENQUEUE = tasks.enqueue


@pytest.mark.parametrize("kind", ["agent", "app"])
def test_an_agent_and_an_app_are_forgotten_as_a_user_is(client: ApiClient, kind: str) -> None:
    say(client, f"I keep {MARKERS['message']}.")
    assert client.delete(f"/v2/entities/{kind}/{MARKERS[kind]}/").status == 200
    assert in_database() == {}


def test_a_run_is_forgotten_and_the_others_stay(client: ApiClient) -> None:
    say(client, f"I keep {MARKERS['message']}. I live in Oslo.", run_id="other-run")
    user = MARKERS["user"]
    said = {"role": "user", "content": f"I keep bees near {MARKERS['pending']}. I live in Rome."}
    body = {"messages": [said], "user_id": user, "run_id": MARKERS["run"], "agent_id": MARKERS["agent"]}
    client.post("/v3/memories/add/", body | {"app_id": MARKERS["app"]})
    assert MARKERS["pending"] in in_database()
    assert client.delete(f"/v2/entities/run/{MARKERS['run']}/").status == 200
    left = in_database()
    assert MARKERS["pending"] not in left and MARKERS["run"] not in left
    assert MARKERS["message"] in left and Session.objects.get().run_id == "other-run"


def test_another_user_loses_nothing(client: ApiClient, stranger: ApiClient) -> None:
    bob = {"messages": [{"role": "user", "content": "I live in Oslo."}], "user_id": "bob"}
    client.post("/v3/memories/add/", bob)
    namesake = bob | {"user_id": MARKERS["user"]}
    stranger.post("/v3/memories/add/", namesake)
    say(client, f"I keep {MARKERS['message']}.")
    kept = set(Memory.objects.exclude(user_id=MARKERS["user"], project__name="Relocation").values_list("pk", flat=True))
    forget_user(client)
    assert set(Memory.objects.values_list("pk", flat=True)) == kept and len(kept) >= 2


# Tables that are not there yet


def test_every_table_with_text_is_reached_or_has_a_reason() -> None:
    assert erasure.uncovered() == [], (
        "these can hold text and no deletion reaches them: give them a foreign key to what they are about, or say in "
        "erasure.KEPT why they stay"
    )
    assert set(erasure.KEPT) <= {model.__name__ for model in erasure._models()}, "KEPT names a table that is gone"


def test_a_table_that_nothing_reaches_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {name: reason for name, reason in erasure.KEPT.items() if name != "ApiKey"}
    monkeypatch.setattr(erasure, "KEPT", kept)
    assert erasure.uncovered() == ["ApiKey"]


# In batches, and again


def test_it_deletes_in_bounded_batches_and_counts_each_row_once(
    client: ApiClient, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        say(client, f"I keep {MARKERS['message']} number {number}.")
    monkeypatch.setattr(erasure, "BATCH", 4)
    expected = {"memories": Memory.objects.count(), "messages": Message.objects.count(), "sessions": 1, "scopes": 1}
    expected |= {"memory_revisions": MemoryRevision.objects.count(), "events": 9}
    saved: list[dict[str, int]] = []
    monkeypatch.setattr(forgetting, "_save_counts", lambda event, counts: saved.append(dict(counts)))
    counts = forget_user(client)["results"][0]["deleted"]
    assert {name: counts[name] for name in expected} == expected
    steps = [later.get("memories", 0) - earlier.get("memories", 0) for earlier, later in zip([{}, *saved], saved)]  # noqa: B905
    assert max(steps) == 4 and sum(steps) == expected["memories"]


def test_it_goes_on_where_it_was_interrupted(
    client: ApiClient, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        say(client, f"I keep {MARKERS['message']} number {number}.")
    memories, messages = Memory.objects.count(), Message.objects.count()
    monkeypatch.setattr(erasure, "BATCH", 3)
    monkeypatch.setattr(ingest, "backoff_s", lambda attempts, exc: 0.0)
    whole = erasure.Erasure.destroy_batch
    calls: list[int] = []

    def break_down(self: erasure.Erasure, rows: Any) -> int:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("the power went")
        return whole(self, rows)

    monkeypatch.setattr(erasure.Erasure, "destroy_batch", break_down)
    event = forgetting.record_deletion(
        Project.objects.get(), raw_filter=None, entity={"type": "user", "name": MARKERS["user"]}
    )
    assert forgetting.run_deletion(event.pk) is not None
    assert 0 < Memory.objects.count() + Message.objects.count() < memories + messages
    assert forgetting.run_deletion(event.pk) is None
    event.refresh_from_db()
    counts = event.results[0]["deleted"]
    assert (counts["memories"], counts["messages"]) == (memories, messages)
    assert in_database() == {} and not Scope.objects.exists()


# Caches


def test_a_cache_is_swept_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    caches.forget()
    if caches._timer is not None:
        caches._timer.cancel()
    monkeypatch.setattr(caches, "_timer", None)
    monkeypatch.setattr(caches, "LIFETIME_S", 0.05)
    lexical.stem("swimmingzqx")
    assert lexical.stem.cache_info().currsize == 1  # type: ignore[attr-defined]
    end = time.monotonic() + 5
    while lexical.stem.cache_info().currsize and time.monotonic() < end:  # type: ignore[attr-defined]
        time.sleep(0.01)
    assert lexical.stem.cache_info().currsize == 0  # type: ignore[attr-defined]


def test_a_search_that_is_not_repeated_is_dropped_by_the_second_sweep(client: ApiClient) -> None:
    say(client, f"I keep {MARKERS['message']}.")
    for _ in range(2):
        client.post("/v3/memories/search/", {"query": "keep", "filters": {"user_id": MARKERS["user"]}})
    cache = retrieval._cache()
    assert cache.sweep(False) is True and "search cache" in str(in_caches())
    assert cache.sweep(False) is False and "search cache" not in str(in_caches())


def test_a_child_process_inherits_no_texts() -> None:
    import os

    embed_query(f"inherited {MARKERS['query']}")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(embed_query.cache_info().currsize).encode())  # type: ignore[attr-defined]
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"0" and embed_query.cache_info().currsize >= 1  # type: ignore[attr-defined]


# Receipts: see tests/api/test_receipts.py


def test_the_receipt_is_all_that_stays(client: ApiClient) -> None:
    say(client, f"I keep {MARKERS['message']}.")
    event = forget_user(client)
    receipt = ForgettingReceipt.objects.get()
    assert event["payload"] == {"entity": {"type": "user", "name_hash": receipt.name_hash}}
    assert (receipt.request_id, receipt.name, receipt.counts) == ("req-7", None, event["results"][0]["deleted"])
