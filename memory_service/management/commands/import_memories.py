"""`manage.py import_memories FILE`: memories or messages from a file, as POST /v1/imports/ takes them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from memory_service import importing, tasks
from memory_service.errors import NotFound, ServiceError
from memory_service.filters import ENTITY_FIELDS
from memory_service.models import ImportJob, JobStatus, Project
from memory_service.organisations import named_project


class Command(BaseCommand):
    help = "Import memories: a JSON list, an export of mem0 or of this service, or JSON lines."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the file, or - for standard input")
        parser.add_argument("--project", default="default", help="the project's name or id")
        for name in ENTITY_FIELDS:
            parser.add_argument(f"--{name.replace('_', '-')}", help=f"the {name} of lines that name nobody")

    def handle(self, *args: Any, **options: Any) -> None:
        project = self._find_project(options["project"])
        defaults = {name: options[name] for name in ENTITY_FIELDS}
        try:
            job = self._create(project, options["file"], defaults)
        except OSError as exc:
            raise CommandError(f"{options['file']} cannot be read: {exc.strerror}") from exc
        except ServiceError as exc:
            raise CommandError(str(exc)) from exc
        self._run(job)
        self._report(job)

    def _find_project(self, name: str) -> Project:
        try:
            return named_project(name)
        except NotFound as exc:
            raise CommandError(f"--project={exc}") from exc

    def _create(self, project: Project, path: str, defaults: dict[str, Any]) -> ImportJob:
        if path == "-":
            return importing.create_job(project, importing.read_file(sys.stdin.buffer), defaults=defaults)
        with Path(path).open("rb") as file:
            items = importing.read_file(file)
            return importing.create_job(project, items, defaults=defaults, source=Path(path).name)

    def _run(self, job: ImportJob) -> None:
        while True:
            events, retry_at = importing.run_import(job.pk)
            for event in events:
                tasks.enqueue(event)
            job.refresh_from_db()
            done = job.num_lines - importing.progress(job)["pending"]
            self.stdout.write(f"{done} of {job.num_lines} lines")
            if job.status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
                return
            time.sleep(max(0.0, (retry_at - timezone.now()).total_seconds()) if retry_at else 1.0)

    def _report(self, job: ImportJob) -> None:
        counts = importing.progress(job)
        for line in importing.errors(job).iterator():
            self.stderr.write(f"line {line.number}: {line.error}")
        self.stdout.write(
            f"{counts['done']} imported, {counts['known']} known already, {counts['failed']} with errors; "
            f"import {job.public_id}"
        )
        if job.status == JobStatus.FAILED:
            raise CommandError(f"the import stopped: {job.error}")
        if counts["failed"]:
            raise CommandError(f"{counts['failed']} lines were not imported: see above")
