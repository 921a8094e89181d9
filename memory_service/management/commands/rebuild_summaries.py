"""`manage.py rebuild_summaries`: the trees of summaries over sessions; goes on where an earlier run stopped."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from memory_service import session_summaries
from memory_service.errors import ServiceError
from memory_service.models import Project, Session, SummaryNode


class Command(BaseCommand):
    help = "Build the trees of summaries over sessions, reusing every node that is still right."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--session", help="one session's id")
        parser.add_argument("--project", help="a project's name or id; without it, all projects")
        parser.add_argument("--max-words", type=int, default=session_summaries.DEFAULT_WORDS, help="of each summary")

    def handle(self, *args: Any, **options: Any) -> None:
        max_words = options["max_words"]
        if not session_summaries.MIN_WORDS <= max_words <= session_summaries.MAX_WORDS:
            bounds = f"{session_summaries.MIN_WORDS} to {session_summaries.MAX_WORDS}"
            raise CommandError(f"--max-words={max_words} is out of range: {bounds} is accepted")
        sessions = self._sessions(options["session"], options["project"])
        num_failed = sum(not self._rebuild(session, max_words) for session in sessions.iterator())
        nodes = SummaryNode.objects.filter(session__in=sessions)
        self._print_error(session_summaries.length_error(nodes))
        if num_failed:
            raise CommandError(f"{num_failed} sessions were not finished; run the command again to go on")

    def _sessions(self, session: str | None, project: str | None) -> Any:
        rows = Session.objects.select_related("scope__project").order_by("pk")
        if project:
            found = [p for p in Project.objects.all() if project in (p.name, str(p.public_id))]
            if not found:
                raise CommandError(f"--project={project!r} is unknown")
            rows = rows.filter(scope__project__in=found)
        if session:
            rows = rows.filter(pk__in=[s.pk for s in rows if str(s.public_id) == session])
            if not rows.exists():
                raise CommandError(f"--session={session!r} is unknown")
        return rows

    def _rebuild(self, session: Session, max_words: int) -> bool:
        try:
            built = session_summaries.rebuild(session, max_words=max_words)
        except ServiceError as exc:
            self.stderr.write(f"session {session.public_id} stopped: {exc}")
            return False
        made = f"{built.num_nodes} nodes in {built.num_levels} levels, {built.num_computed} of them made now"
        self.stdout.write(f"session {session.public_id}: {made}")
        for note in built.notes:
            self.stdout.write(f"  {note}")
        return True

    def _print_error(self, error: dict[str, Any]) -> None:
        if error["mean_error"] is None:
            self.stdout.write("length error: no summary of these sessions was written by a language model")
            return
        self.stdout.write(
            f"length error: {100 * error['mean_error']:.1f} % on average over {error['num_nodes']} summaries, "
            f"{error['num_over']} longer than asked, {error['mean_tries']:.2f} answers each"
        )
