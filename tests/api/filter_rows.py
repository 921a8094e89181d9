"""Some memories of every shape, and what each of them is to a filter, written down by hand beside the row."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from memory_service.models import Memory, Project, Scope, Session, hash_text
from memory_service.storage import prepare, write_index

WORD = "harbour"  # in every text, so that a search can find them all


@dataclass(frozen=True)
class Row:
    """One memory as the reference sees it: no column of it is read back from the database."""

    user_id: str | None = None
    agent_id: str | None = None
    app_id: str | None = None
    run_id: str | None = None
    kind: str = "episodic"
    text: str = ""
    categories: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    created_at: datetime = datetime(2025, 3, 31, 12, 0, tzinfo=UTC)
    updated_at: datetime = datetime(2025, 4, 1, tzinfo=UTC)
    valid_at: datetime | None = None
    invalid_at: datetime | None = None
    expiration_date: date | None = None


NOON = datetime(2025, 3, 31, 12, 0, tzinfo=UTC)
MIDNIGHT = datetime(2025, 3, 31, tzinfo=UTC)
NEXT_MIDNIGHT = datetime(2025, 4, 1, tzinfo=UTC)
LATER = datetime(2025, 6, 1, 8, 30, tzinfo=UTC)
FIRST, LAST = date(2025, 3, 31), date(2099, 12, 31)

ROWS = (
    Row(user_id="alice", text=f"{WORD} Walnut", metadata={"k": 1}, categories=("food",)),
    Row(user_id="alice", run_id="r1", text=f"{WORD} walnut cake", metadata={"k": "1"}, created_at=MIDNIGHT),
    Row(user_id="alice", run_id="r2", text=f"{WORD} 100% oak_tree", metadata={"k": True}, kind="semantic"),
    Row(user_id="alice", text=f"{WORD} a\\b", metadata={"k": None}, created_at=NEXT_MIDNIGHT, valid_at=NOON),
    Row(user_id="alice", agent_id="bot", text=f"{WORD} tree", metadata={"k": ["a", "b", 1]}, categories=("Food",)),
    Row(user_id="alice", agent_id="bot", app_id="web", text=f"{WORD} 1", metadata={"k": "abc", "7": "x"}),
    Row(user_id="bob", text=f"{WORD} Boat", metadata={"7": 2.5}, kind="procedural", created_at=LATER),
    Row(user_id="bob", run_id="r1", text=f"{WORD} boat", metadata={"k": -3}, updated_at=LATER),
    Row(user_id="bob", app_id="web", text=f"{WORD} x", metadata={"k": {"a": 1}}, valid_at=MIDNIGHT),
    Row(agent_id="bot", text=f"{WORD} y", metadata={"a b": "é"}, categories=("seafood", "travel")),
    Row(agent_id="bot", run_id="r3", text=f"{WORD} z", valid_at=NOON, invalid_at=LATER, kind="semantic"),
    Row(app_id="web", text=f"{WORD} food", metadata={"eq": 1}, expiration_date=FIRST),
    Row(app_id="web", text=f"{WORD} é", metadata={"k": "a"}, expiration_date=LAST, categories=("foo%", "a_b")),
    Row(run_id="r1", text=f"{WORD} run one", metadata={"k": False}),
    Row(run_id="r4", text=f"{WORD} run four", metadata={"k": 0}, invalid_at=NEXT_MIDNIGHT),
    Row(user_id="eve's", text=f"{WORD} quote '\"", metadata={"k": 1.0, "7": None}, expiration_date=date(2025, 4, 1)),
)


def make_rows(project: Project) -> dict[str, Row]:
    """Writes ROWS with their words and vectors. Returns them by the memory's id as the API gives it."""
    memories = [prepare(_memory(project, row)) for row in ROWS]
    Memory.objects.bulk_create(memories)
    write_index(memories, np.eye(len(ROWS), 384, dtype=np.float32))
    return {str(memory.public_id): row for memory, row in zip(memories, ROWS, strict=True)}


def _memory(project: Project, row: Row) -> Memory:
    named = {"user_id": row.user_id, "agent_id": row.agent_id, "app_id": row.app_id}
    if not any(named.values()):
        named["run_id"] = row.run_id
    scope, _ = Scope.objects.get_or_create(project=project, **named)
    session, _ = Session.objects.get_or_create(scope=scope, run_id=row.run_id)
    return Memory(
        project=project,
        scope=scope,
        session=session,
        user_id=row.user_id,
        agent_id=row.agent_id,
        app_id=row.app_id,
        run_id=row.run_id,
        kind=row.kind,
        text=row.text,
        text_hash=hash_text(row.text),
        categories=list(row.categories),
        metadata=row.metadata,
        said_at=row.created_at,
        updated_at=row.updated_at,
        valid_at=row.valid_at,
        invalid_at=row.invalid_at,
        expiration_date=row.expiration_date,
    )
