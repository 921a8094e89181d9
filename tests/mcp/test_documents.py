"""Documents through the tools: found where they are asked for, and only the connection's own."""

from __future__ import annotations

import io

import pytest

from memory_service import documents, jobs
from memory_service.errors import InvalidInput
from memory_service.ingest import EntityIds
from memory_service.mcp.connection import Connection
from memory_service.mcp.tools import TOOLS, call
from memory_service.models import Project
from tests.conftest import Worker

from .test_tools import connect

pytestmark = pytest.mark.django_db(transaction=True)

LEASE = "The deposit of the flat in Bergen is three months of rent."


@pytest.fixture
def ann(project: Project, worker: Worker) -> Connection:
    new = documents.NewDocument(EntityIds(user_id="ann"), io.BytesIO(LEASE.encode()), filename="lease.txt")
    received = documents.receive(project, new)
    assert received.event is not None
    while jobs.run(received.event.pk) is not None:  # in turns: the first loads the model
        pass
    return connect(project, user_id="ann")


def test_it_finds_documents_where_they_are_asked_for(ann: Connection) -> None:
    query = {"query": "How high is the deposit?"}
    assert call(ann, TOOLS["search_memories"], query).memories == []  # type: ignore[attr-defined]
    found = call(ann, TOOLS["search_memories"], {**query, "include": ["memories", "documents"]})
    [hit] = found.memories  # type: ignore[attr-defined]
    assert (hit.memory, hit.document) == (LEASE, "lease.txt")
    assert f"lease.txt: {LEASE}" in found.to_text()
    context = call(ann, TOOLS["get_context"], query)
    assert LEASE in context.context  # type: ignore[attr-defined]
    with pytest.raises(InvalidInput, match="include"):
        call(ann, TOOLS["search_memories"], {**query, "include": ["everything"]})


def test_it_shows_nobody_elses_documents(ann: Connection, project: Project) -> None:
    bob = connect(project, user_id="bob")
    query = {"query": "How high is the deposit?", "include": ["documents"]}
    assert call(ann, TOOLS["search_memories"], query).memories  # type: ignore[attr-defined]
    assert call(bob, TOOLS["search_memories"], query).memories == []  # type: ignore[attr-defined]
    assert call(bob, TOOLS["get_context"], {"query": query["query"]}).context == ""  # type: ignore[attr-defined]
