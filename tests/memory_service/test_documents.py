"""Documents on their way: received, parsed, cut, embedded, served; cut off anywhere, sent twice, switched."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import timezone

from chunking.types import Chunk
from memory_service import (
    document_search,
    document_stages,
    document_storage,
    documents,
    forgetting,
    jobs,
    tasks,
    webhooks,
)
from memory_service.errors import Conflict, InvalidInput
from memory_service.filters import parse
from memory_service.ingest import EntityIds
from memory_service.models import (
    Chunking,
    Document,
    DocumentChunk,
    DocumentChunking,
    DocumentContent,
    DocumentPage,
    Event,
    EventStatus,
    Passage,
    PassageEmbedding,
    Project,
    Webhook,
    WebhookDelivery,
)
from memory_service.models.change import versions_of
from memory_service.parsing.types import Limits, Refused

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "\n\n".join(f"Paragraph {i}: the harbour of Bergen has pier number {i}, built in {1800 + i}." for i in range(60))
SMALL = {"max_tokens": 32}


def new(text: str | bytes, user: str = "ann", **more: Any) -> documents.NewDocument:
    raw = text.encode() if isinstance(text, str) else text
    return documents.NewDocument(ids=EntityIds(user_id=user), file=io.BytesIO(raw), **{"options": SMALL, **more})


def run(event: Event | None) -> Event:
    """As a worker does, in as many turns as it takes."""
    assert event is not None
    while (retry_at := jobs.run(event.pk)) is not None and retry_at <= timezone.now():
        pass
    event.refresh_from_db()
    return event


def post(project: Project, text: str | bytes, user: str = "ann", **more: Any) -> Document:
    received = documents.receive(project, new(text, user, **more))
    event = run(received.event)
    assert event.status == EventStatus.SUCCEEDED, event.error
    received.document.refresh_from_db()
    return received.document


def found(project: Project, query: str, user: str = "ann") -> list[str]:
    asked = document_search.ChunkQuery(query, parse({"user_id": user}), top_k=3)
    return [one.text for one in document_search.find_chunks(project, asked)]


def pdf(num_pages: int) -> bytes:
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    for page in range(num_pages):
        canvas.drawString(50, 700, f"Page {page} tells of pier {page} in the harbour of Bergen.")
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def test_it_serves_what_was_sent(project: Project) -> None:
    document = post(project, TEXT, title="Harbour")
    chunks = list(documents.chunks_of(document))
    assert "".join(chunk.text for chunk in chunks) == TEXT
    assert [TEXT[chunk.start : chunk.end] for chunk in chunks] == [chunk.text for chunk in chunks]
    assert document.state == "SUCCEEDED"
    assert "pier number 41" in found(project, "When was pier number 41 built?")[0]
    assert not document.content.blobs.exists()


def test_it_finds_the_same_through_the_index(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """HNSW and BM25 give the candidates above EXACT_LIMIT; the exact path is the measure."""
    post(project, TEXT)
    asked = document_search.ChunkQuery("When was pier number 41 built?", parse({"user_id": "ann"}), top_k=5)
    exact = document_search.find_chunks(project, asked)
    monkeypatch.setattr(document_search, "EXACT_LIMIT", 0)
    approximate = document_search.find_chunks(project, asked)
    assert [one.pk for one in approximate] == [one.pk for one in exact]
    assert [one.score for one in approximate] == pytest.approx([one.score for one in exact], abs=1e-4)


def test_it_keeps_parents_out_of_the_search(project: Project) -> None:
    text = "One sentence. Another sentence."
    split = [
        Chunk(text[:14], 0, 14, 3, parent=2),
        Chunk(text[14:], 14, 31, 3, parent=2),
        Chunk(text, 0, 31, 6, level=1),
    ]
    placed = document_storage.place(split)
    assert [(one.chunk.level, one.ordinal, one.parent) for one in placed] == [(0, 0, 2), (0, 1, 2), (1, 2, None)]
    document = post(project, "Anything.")
    chunking = Chunking.objects.create(content=document.content, strategy="parents", options_hash="x")
    document_storage.save_chunks(chunking, placed, project.pk)
    chunking.refresh_from_db()
    assert (chunking.num_chunks, DocumentChunk.objects.filter(chunking=chunking).count()) == (2, 3)
    assert DocumentChunk.objects.get(chunking=chunking, level=1).passage is None


# Two at once


def test_it_makes_one_document_of_two_posts_at_once(project: Project) -> None:
    together = threading.Barrier(4)

    def receive(_: int) -> documents.Received:
        try:
            together.wait()
            return documents.receive(project, new(TEXT))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        received = list(pool.map(receive, range(4)))
    assert len({one.document.pk for one in received}) == 1
    assert [one.made for one in received].count(True) == 1
    assert (Document.objects.count(), DocumentContent.objects.count()) == (1, 1)


def test_it_processes_a_text_of_two_users_once(project: Project) -> None:
    received = [documents.receive(project, new(TEXT, user)) for user in ("ann", "ben")]
    together = threading.Barrier(2)

    def work(one: documents.Received) -> None:
        try:
            together.wait()
            assert one.event is not None
            for _ in range(600):
                one.event.refresh_from_db()
                if one.event.status == EventStatus.SUCCEEDED:
                    return
                jobs.run(one.event.pk)
                Event.objects.filter(pk=one.event.pk).update(retry_at=None)
                threading.Event().wait(0.05)
            raise AssertionError(one.event.error or one.event.status)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, received))
    assert (DocumentContent.objects.count(), Chunking.objects.count()) == (1, 1)
    assert Passage.objects.count() == PassageEmbedding.objects.count()
    assert found(project, "pier number 41", "ann") == found(project, "pier number 41", "ben")


# Cut off


class Killed(BaseException):
    """What a kill -9 is to the code: nothing after it runs."""


def kill_in(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, *, call: int) -> None:
    real: Callable[..., Any] = getattr(module, name)
    calls = 0

    def deadly(*args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return real(*args, **more)

    monkeypatch.setattr(module, name, deadly)


@pytest.mark.parametrize(
    ("name", "call"),
    [("_save_pages", 2), ("save_chunks", 1), ("attach", 1), ("save_vectors", 2), ("finish", 1)],
)
def test_it_goes_on_where_a_dead_worker_was(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    monkeypatch.setattr(document_stages, "PAGES_A_BATCH", 3)
    monkeypatch.setattr(document_stages, "PASSAGES_A_BATCH", 4)
    received = documents.receive(project, new(pdf(10)))
    event = received.event
    assert event is not None
    with monkeypatch.context() as dying:
        kill_in(dying, document_stages, name, call=call)
        with pytest.raises(Killed):
            jobs.run(event.pk)
    event.refresh_from_db()
    assert event.status == EventStatus.RUNNING
    pages, vectors = DocumentPage.objects.count(), PassageEmbedding.objects.count()
    assert pages == (3 if name == "_save_pages" else 10)
    assert (vectors > 0) == (name in ("save_vectors", "finish"))
    saved: list[int] = []
    real = document_stages.save_vectors
    monkeypatch.setattr(document_stages, "save_vectors", lambda ids, v: (saved.extend(ids), real(ids, v)))
    assert run(event).status == EventStatus.SUCCEEDED, event.error
    assert len(saved) == PassageEmbedding.objects.count() - vectors  # nothing is embedded twice
    chunks = list(documents.chunks_of(received.document))
    content = DocumentContent.objects.get()
    assert "".join(chunk.text for chunk in chunks) == document_storage.read_text(content)
    assert list(content.pages.order_by("number").values_list("page", flat=True)) == list(range(1, 11))
    assert event.results[0]["num_embedded"] == PassageEmbedding.objects.count()


def test_it_takes_turns(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long document gives the worker back, and is done in the end."""
    monkeypatch.setattr(document_stages, "TURN_S", 0.0)
    monkeypatch.setattr(document_stages, "PASSAGES_A_BATCH", 16)
    event = documents.receive(project, new(TEXT)).event
    assert event is not None
    turns = 0
    while (retry_at := jobs.run(event.pk)) is not None:
        turns += 1
        event.refresh_from_db()
        assert (event.status, event.num_attempts) == (EventStatus.PENDING, 0)
        assert retry_at <= timezone.now() + timedelta(seconds=1)
    event.refresh_from_db()
    assert event.status == EventStatus.SUCCEEDED
    assert turns >= 2


def test_it_shows_how_far_it_is(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_stages, "TURN_S", 0.0)
    monkeypatch.setattr(document_stages, "PAGES_A_BATCH", 4)
    monkeypatch.setattr(document_stages, "PASSAGES_A_BATCH", 4)
    received = documents.receive(project, new(pdf(10)))
    assert received.event is not None
    seen = []
    while True:
        document = documents.find(project, received.document.public_id)
        seen.append(documents.progress_of(document, document.event))
        if jobs.run(received.event.pk) is None:
            break
    assert seen[0].stage == "waiting"
    assert {"parsing", "embedding"} <= {one.stage for one in seen}
    assert next(one.pages for one in seen if one.stage == "parsing") == (4, 10)
    embedded = [one.chunks[0] for one in seen if one.stage == "embedding"]
    assert embedded == sorted(embedded)
    assert embedded[-1] > 0


# Changes while work is under way


def test_it_lets_the_later_edit_win(project: Project) -> None:
    document = post(project, TEXT, source="s")
    slow = documents.receive(project, new("An older edit.", source="s"))
    late = documents.receive(project, new("The latest edit.", source="s"))
    assert run(late.event).status == EventStatus.SUCCEEDED
    assert run(slow.event).notes == [document_stages.OUTDATED]
    assert [chunk.text for chunk in documents.chunks_of(document)] == ["The latest edit."]


def test_it_serves_on_while_an_edit_fails(project: Project) -> None:
    document = post(project, TEXT)
    failed = documents.edit(project, document.public_id, new(b"%PDF-1.4 broken", filename="a.pdf"))
    assert run(failed.event).status == EventStatus.FAILED
    document.refresh_from_db()
    assert (document.state, "damaged" in document.error) == ("FAILED", True)
    assert found(project, "pier number 7")
    again = documents.edit(project, document.public_id, new(TEXT))
    assert run(again.event).status == EventStatus.SUCCEEDED
    document.refresh_from_db()
    assert (document.state, document.error) == ("SUCCEEDED", "")


def test_it_tries_a_failed_document_anew_when_it_is_sent_again(project: Project) -> None:
    broken = new(pdf(3)[:200], filename="a.pdf")
    first = documents.receive(project, broken)
    assert run(first.event).status == EventStatus.FAILED
    again = documents.receive(project, broken)
    assert (again.document.pk, again.changed) == (first.document.pk, True)
    assert run(again.event).status == EventStatus.FAILED


def test_it_drops_the_work_on_a_deleted_document(project: Project) -> None:
    received = documents.receive(project, new(TEXT))
    documents.delete(project, received.document.public_id)
    assert run(received.event).notes == [document_stages.DELETED]
    assert found(project, "pier number 7") == []


def test_it_switches_while_it_is_searched(project: Project) -> None:
    """Every search sees one chunking or the other, whole."""
    document = post(project, TEXT)
    received = documents.rechunk(project, document.public_id, strategy="sentence", options={"max_tokens": 100})
    run(received.event)
    uses = list(document.chunkings.order_by("id"))
    over = threading.Event()

    def search() -> list[int]:
        sizes = []
        try:
            while not over.is_set():
                asked = document_search.ChunkQuery("pier", parse({"user_id": "ann"}), top_k=1000)
                sizes.append(document_search.load_searched(project, asked).size)
                assert document_search.find_chunks(project, asked)
        finally:
            connections.close_all()
        return sizes

    with ThreadPoolExecutor(1) as pool:
        searching = pool.submit(search)
        for i in range(30):
            documents.switch(project, document.public_id, uses[i % 2].public_id)
        over.set()
        sizes = searching.result()
    counts = set(Chunking.objects.values_list("num_chunks", flat=True))
    assert len(counts) == 2
    assert set(sizes) <= counts
    assert DocumentChunking.objects.filter(document=document, state="serving").count() == 1


def test_it_lets_one_chunking_serve_by_constraint(project: Project) -> None:
    from django.db import IntegrityError

    document = post(project, TEXT)
    version = document.versions.get()
    other = Chunking.objects.create(content=document.content, strategy="other", options_hash="x")
    with pytest.raises(IntegrityError, match="document_one_chunking_serves"):
        DocumentChunking.objects.create(document=document, version=version, chunking=other, state="serving")


def test_it_refuses_to_switch_to_what_is_not_ready(project: Project) -> None:
    document = post(project, TEXT)
    received = documents.rechunk(project, document.public_id, strategy="sentence", options=None)
    chunking = Chunking.objects.create(content=document.content, strategy="sentence", options_hash="x")
    use = DocumentChunking.objects.create(document=document, version=document.versions.get(), chunking=chunking)
    with pytest.raises(Conflict, match="still being built"):
        documents.switch(project, document.public_id, use.public_id)
    assert received.event is not None


def test_it_refuses_an_edit_that_makes_two_documents_one(project: Project) -> None:
    post(project, TEXT)
    other = post(project, "Something else.")
    with pytest.raises(Conflict, match="has this content already"):
        documents.edit(project, other.public_id, new(TEXT))


def test_it_raises_the_scopes_version_when_another_text_serves(project: Project) -> None:
    document = post(project, TEXT, source="s")
    before = versions_of([document.scope_id])
    post(project, TEXT + " More.", source="s")
    assert versions_of([document.scope_id])[document.scope_id] > before[document.scope_id]


# Forgetting


def test_it_leaves_nothing_of_a_forgotten_user(project: Project) -> None:
    post(project, "The zebrafinch sings.", title="zebrafinch", metadata={"zebrafinch": 1}, source="zebrafinch")
    kept = post(project, TEXT, "ben")
    forgetting.forget_entity(project, "user", "ann")
    assert list(Document.objects.all()) == [kept]
    assert rows_with("zebrafinch") == []
    assert found(project, "pier number 7", "ben")


def test_it_forgets_a_document_while_it_is_processed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    received = documents.receive(project, new("The zebrafinch sings. " * 40))
    real = document_stages.embed_texts

    def forget_first(texts: Any) -> Any:
        monkeypatch.setattr(document_stages, "embed_texts", real)
        forgetting.forget_entity(project, "user", "ann")
        return real(texts)

    monkeypatch.setattr(document_stages, "embed_texts", forget_first)
    assert received.event is not None
    assert jobs.run(received.event.pk) is None
    assert rows_with("zebrafinch") == []
    assert not Event.objects.filter(type="DOCUMENT").exists()


def rows_with(word: str) -> list[str]:
    """Tables of the service that hold the word in any column."""
    holding = []
    with connection.cursor() as cursor:
        tables = [name for name in connection.introspection.table_names(cursor) if name.startswith("memory_service_")]
        for table in tables:
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text ILIKE %s', [f"%{word}%"])
            if cursor.fetchone()[0]:
                holding.append(table)
    return holding


# Around


def test_it_tells_webhooks_what_became_of_a_document(project: Project) -> None:
    kinds = ["document_add", "document_update", "document_delete", "document_fail"]
    hook = Webhook.objects.create(project=project, name="h", url="https://example.org/", event_types=kinds)
    document = post(project, TEXT, source="s", title="Harbour")
    post(project, TEXT + " More.", source="s")
    run(documents.receive(project, new(b"%PDF-1.4 x", source="other", filename="b.pdf")).event)
    documents.delete(project, document.public_id)
    told = list(hook.deliveries.order_by("id"))
    assert [one.event_type for one in told] == ["document_add", "document_update", "document_fail", "document_delete"]
    payload = webhooks.render_payload(WebhookDelivery.objects.select_related("webhook__project").get(pk=told[0].pk))
    assert payload is not None
    assert payload["event_details"]["title"] == "Harbour"
    assert "pier" not in str(payload)  # no text leaves
    forgetting.forget_entity(project, "user", "ann")
    assert webhooks.render_payload(told[0]) is None


def test_it_imports_a_folder_and_then_what_changed(project: Project, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a.md").write_text("# Boats\n\nThe blue boat is for hire.\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text("The lighthouse keeper has a parrot.")
    (tmp_path / ".hidden.txt").write_text("Nobody reads this.")
    named = ["--project", str(project.public_id), "--user-id", "ann"]
    call_command("import_documents", str(tmp_path), *named)
    assert "2 imported, 0 unchanged" in capsys.readouterr().out
    (tmp_path / "a.md").write_text("# Boats\n\nThe green boat is for hire.\n")
    (tmp_path / "c.pdf").write_bytes(b"%PDF-1.4 broken")
    with pytest.raises(CommandError, match="1 files were not imported"):
        call_command("import_documents", str(tmp_path), *named)
    printed = capsys.readouterr()
    assert "1 imported, 1 unchanged, 1 with errors" in printed.out
    assert "damaged" in printed.err
    assert "green" in found(project, "Which boat is for hire?")[0]
    assert Document.objects.filter(title="Boats").count() == 1
    with pytest.raises(CommandError, match="--user-id"):
        call_command("import_documents", str(tmp_path), "--project", str(project.public_id))


def test_it_stops_a_file_that_takes_too_long(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Limits(2**20, 10, 1000, 512, 0.01)
    monkeypatch.setattr(document_stages, "limits", lambda: quick)
    received = documents.receive(project, new(pdf(3)))
    assert "longer than 0.01 s" in run(received.event).error


def test_it_says_what_a_document_is_that_has_no_text(project: Project) -> None:
    with pytest.raises(InvalidInput, match="no text"):
        content = DocumentContent.objects.create(project=project, sha256="0", format="text", num_bytes=1)
        content.blobs.create(number=0, data=b" ")
        event = Event.objects.create(project=project, type="DOCUMENT", status="RUNNING")
        document_stages.parse(content, document_stages.Turn(event))
    assert not content.pages.exists()
    assert issubclass(Refused, ValueError)


def test_it_waits_in_a_queue_of_its_own(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or memories would wait for all the documents that were sent before them."""
    sent: list[tuple[str, str]] = []

    def publish(task: Any, *args: Any, **options: Any) -> None:
        route = tasks.process_document.app.amqp.router.route({}, task.name)
        queue = route.get("queue")
        sent.append((task.name.rpartition(".")[2], getattr(queue, "name", queue) or "default"))

    monkeypatch.setattr("celery.app.task.Task.apply_async", publish)
    event = documents.receive(project, new(TEXT)).event
    assert event is not None
    tasks.enqueue(event)
    Event.objects.filter(pk=event.pk).update(updated_at=timezone.now() - timedelta(minutes=1))
    tasks.sweep()
    assert sent == [("process_document", "documents")] * 2
    assert {queue.name for queue in tasks.process_document.app.conf.task_queues} == {"default", "documents"}
