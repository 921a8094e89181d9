"""`manage.py import_documents FOLDER`: the files of a folder, as POST /v1/documents/ takes them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from memory_service import documents, jobs, tasks
from memory_service.errors import NotFound, ServiceError
from memory_service.filters import ENTITY_FIELDS
from memory_service.ingest import EntityIds
from memory_service.models import Event, EventStatus, Project
from memory_service.models.documents import MAX_SOURCE_CHARS
from memory_service.organisations import named_project
from memory_service.parsing.types import storable
from memory_service.validation import MAX_NAME_CHARS, check_name

BAR_CHARS = 30


class Command(BaseCommand):
    help = "Import the files of a folder as documents: text, Markdown, HTML, PDF and DOCX. Again: only what changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", help="a folder, or one file")
        parser.add_argument("--project", default="default", help="the project's name or id")
        parser.add_argument("--strategy", help="how they are cut")
        parser.add_argument("--enqueue", action="store_true", help="leave the reading to the service's workers")
        for name in ENTITY_FIELDS:
            parser.add_argument(f"--{name.replace('_', '-')}", help=f"the {name} whose documents these are")

    def handle(self, *args: Any, **options: Any) -> None:
        project = self._find_project(options["project"])
        ids = self._read_ids(options)
        folder = Path(options["folder"]).resolve()
        files = sorted(_files(folder))
        if not files:
            raise CommandError(f"{options['folder']} holds no file")
        counts = {"imported": 0, "unchanged": 0, "failed": 0}
        for number, path in enumerate(files):
            self._bar(number, len(files), path.name)
            counts[self._import(project, ids, path, folder, options)] += 1
        self._bar(len(files), len(files), "")
        self.stdout.write("")
        done = "sent" if options["enqueue"] else "imported"
        self.stdout.write(
            f"{counts['imported']} {done}, {counts['unchanged']} unchanged, {counts['failed']} with errors"
        )
        if counts["failed"]:
            raise CommandError(f"{counts['failed']} files were not imported: see above")

    def _find_project(self, name: str) -> Project:
        try:
            return named_project(name)
        except NotFound as exc:
            raise CommandError(f"--project={exc}") from exc

    def _read_ids(self, options: dict[str, Any]) -> EntityIds:
        try:
            named = {name: check_name(options[name], name=name) for name in ENTITY_FIELDS if options[name]}
        except ServiceError as exc:
            raise CommandError(str(exc)) from exc
        if not named:
            raise CommandError("name whose documents these are: --user-id, --agent-id, --app-id or --run-id")
        return EntityIds(**named)

    def _import(self, project: Project, ids: EntityIds, path: Path, folder: Path, options: dict[str, Any]) -> str:
        """What became of the file: imported, unchanged or failed. Its source is its path, so that another content of
        the same file is an edit."""
        try:
            with path.open("rb") as file:
                new = documents.NewDocument(
                    ids=ids,
                    file=file,
                    filename=storable(path.name)[:MAX_NAME_CHARS],
                    source=storable(path.as_uri())[:MAX_SOURCE_CHARS],
                    strategy=options["strategy"],
                )
                received = documents.receive(project, new)
            if not received.changed or received.event is None:
                return "unchanged"
            if options["enqueue"]:
                tasks.enqueue(received.event)
                return "imported"
            event = _finish(received.event)
            if event.status == EventStatus.SUCCEEDED:
                return "imported"
            self._tell(path, event.error)
        except (ServiceError, OSError) as exc:
            self._tell(path, str(exc))
        return "failed"

    def _tell(self, path: Path, error: str) -> None:
        self.stderr.write(f"\n{path}: {error}")

    def _bar(self, done: int, total: int, name: str) -> None:
        filled = BAR_CHARS * done // total
        bar = "#" * filled + "." * (BAR_CHARS - filled)
        self.stdout.write(f"\r[{bar}] {done} of {total} {name[:40]:<40}", ending="")
        self.stdout.flush()


def _files(folder: Path) -> Iterator[Path]:
    """All below the folder but hidden ones, and links that lead elsewhere."""
    if folder.is_file():
        yield folder
        return
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.resolve().is_relative_to(folder):
            yield path


def _finish(event: Event) -> Event:
    """Does the work here, or waits for a worker that was quicker."""
    while event.status in (EventStatus.PENDING, EventStatus.RUNNING):
        retry_at = jobs.run(event.pk)
        event.refresh_from_db()
        if event.status in (EventStatus.PENDING, EventStatus.RUNNING):
            pause_s = (retry_at - timezone.now()).total_seconds() if retry_at else 0.5
            time.sleep(max(0.0, pause_s))
    return event
