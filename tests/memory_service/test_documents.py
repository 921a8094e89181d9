"""Documents on their way: received, parsed, cut, embedded, served; edited, cut anew, switched, forgotten."""

from __future__ import annotations

import io
from typing import Any

import pytest

from memory_service import documents, jobs
from memory_service.ingest import EntityIds
from memory_service.models import Document, Event, EventStatus, Project


def new(text: str | bytes, user: str = "ann", **more: Any) -> documents.NewDocument:
    raw = text.encode() if isinstance(text, str) else text
    return documents.NewDocument(ids=EntityIds(user_id=user), file=io.BytesIO(raw), **more)


def run(event: Event | None) -> Event:
    assert event is not None
    while jobs.run(event.pk) is not None:
        pass
    event.refresh_from_db()
    return event


def post(project: Project, text: str | bytes, **more: Any) -> Document:
    received = documents.receive(project, new(text, **more))
    event = run(received.event)
    assert event.status == EventStatus.SUCCEEDED, event.error
    received.document.refresh_from_db()
    return received.document


TEXT = "\n\n".join(f"Paragraph {i}: the harbour of Bergen has pier number {i}, built in {1800 + i}." for i in range(60))


@pytest.mark.django_db(transaction=True)
def test_it_serves_what_was_sent(project: Project) -> None:
    document = post(project, TEXT, title="Harbour")
    chunks = list(documents.chunks_of(document))
    assert "".join(chunk.text for chunk in chunks) == TEXT
    assert [TEXT[chunk.start : chunk.end] for chunk in chunks] == [chunk.text for chunk in chunks]
    assert document.state == "SUCCEEDED"
