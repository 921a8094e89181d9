"""A process that consolidates statements of one user, without the lock that a worker holds on the scope: run by
test_two_workers. Arguments: how many days there are, how many processes share them, and which of them this is."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import django

django.setup()

from memory_service import ingest  # noqa: E402 - after the set-up
from memory_service.embedding import embed_texts  # noqa: E402
from memory_service.extraction.types import Candidate, Grounding  # noqa: E402
from memory_service.ingest import AddRequest, EntityIds, NewMessage  # noqa: E402
from memory_service.models import Project  # noqa: E402

START = datetime(2024, 1, 1, tzinfo=UTC)
DRINKS = ("tea", "milk", "water")


def main(num_days: int, num_processes: int, which: int) -> None:
    embed_texts(["the model is loaded before anything waits for it"])
    project = Project.objects.earliest("id")
    for day in range(which, num_days, num_processes):
        said = [("lives in", f"City{day}"), ("likes", DRINKS[day % len(DRINKS)])]
        at = START + timedelta(days=day)
        messages = [NewMessage("user", f"Ann {attribute} {value}", at, name="Ann") for attribute, value in said]
        event = ingest.record_add(project, AddRequest(messages, EntityIds(user_id="shared")))
        assert ingest.claim(event)
        work = ingest.load(event)
        work.extraction.candidates = [
            Candidate(
                f"Ann {attribute} {value}",
                "semantic",
                (Grounding(message.pk, 0, len(message.content)),),
                subject="Ann",
                attribute=attribute,
                value=value,
            )
            for (attribute, value), message in zip(said, work.messages, strict=True)
        ]
        work.vectors = embed_texts(work.texts)
        ingest.finish(work)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
