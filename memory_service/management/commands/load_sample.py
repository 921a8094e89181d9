"""`manage.py load_sample`: our own small story, so that an empty service has something to show."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from memory_service import ingest, sample, tasks
from memory_service.models import Message, Project


class Command(BaseCommand):
    help = "Add the sample conversations to the default project, if no message is stored yet."

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.order_by("id").first()
        if project is None or Message.objects.exists():
            return
        num_messages = 0
        for session in sample.load():
            event = ingest.record_add(project, _to_request(session))
            tasks.enqueue(event)
            num_messages += len(session["messages"])
        self.stdout.write(f"Loaded the sample: {num_messages} messages of users maya and team-harbour.")


def _to_request(session: dict[str, Any]) -> ingest.AddRequest:
    messages = [
        ingest.NewMessage(m["role"], m["content"], session["timestamp"], m.get("id"), m.get("name"))
        for m in session["messages"]
    ]
    ids = ingest.EntityIds(user_id=session["user_id"], run_id=session["run_id"])
    return ingest.AddRequest(messages=messages, ids=ids)
