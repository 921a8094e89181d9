"""`python -m benchmarks.stories [FOLDER ...]`: the share of stories remembered as a careful reader would, by kind.

Plays each story (tests/stories/harness.py) to a database of its own on the embedded PostgreSQL and Redis, in this
process, without a language model. A FOLDER holds *.json files of stories; tests/stories/dev and tests/stories/second
unless given.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.stories import harness, scripted

if TYPE_CHECKING:
    from tests.stories.harness import Failure, Story

KNOWN_FAILURES_FILE = Path(__file__).resolve().parent.parent / "docs" / "stories.md"
START, END = "<!-- known failures:start -->", "<!-- known failures:end -->"

Results = Sequence[tuple["Story", list["Failure"]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="*", default=[harness.DEV, harness.SECOND])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--reasons", action="store_true", help="say of each story that failed which check, and why")
    parser.add_argument("--whole-sessions", action="store_true", help="post a session's messages in one add")
    parser.add_argument("--ideal", action="store_true", help="with a scripted model that makes no mistakes")
    parser.add_argument("--only", default="", help="stories whose kind/name contains this")
    parser.add_argument("--write-known", action="store_true", help="write the failing ones to docs/stories.md")
    args = parser.parse_args()
    stories = [s for folder in args.folder for s in harness.load_stories(folder) if args.only in f"{s.kind}/{s.name}"]
    if not stories:
        raise SystemExit(
            f"no stories in {', '.join(map(str, args.folder))}" + (f" match {args.only!r}" if args.only else "")
        )
    started = time.monotonic()
    results = play_all(stories, whole_sessions=args.whole_sessions, ideal=args.ideal)
    took_s = time.monotonic() - started
    print(json.dumps(to_json(results, took_s), indent=1) if args.json else to_table(results, took_s))
    if args.reasons:
        print_reasons(results)
    if args.write_known:
        write_known_failures([story.name for story, failures in results if failures])


def play_all(stories: Sequence[Story], *, whole_sessions: bool = False, ideal: bool = False) -> Results:
    with database() as api:
        if ideal:
            from django.conf import settings

            return [(story, scripted.run_ideal(story, api, settings)) for story in stories]
        return [(story, harness.run(story, api, whole_sessions=whole_sessions)) for story in stories]


@contextmanager
def database() -> Iterator[harness.Api]:
    """The API over a fresh database, with a worker in this process. Once a process: it sets Django up."""
    data_dir = Path(tempfile.mkdtemp(prefix="ms-stories-")).resolve()
    for name in ("DATABASE_URL", "CELERY_BROKER_URL", "LLM_MODEL", "EMBEDDING_MODEL", "SECURE", "DEBUG"):
        os.environ.pop(name, None)
    os.environ |= {"DATA_DIR": str(data_dir), "LOG_LEVEL": "WARNING", "DATABASE_POOL": "false"}
    from memory_service import embedded

    redis = embedded.start_redis(data_dir, log=data_dir / "redis.log")
    postgres = embedded.start_postgres(data_dir, log=data_dir / "postgres.log")
    try:
        embedded.create_database(data_dir)
        yield _client()
    finally:
        embedded.stop_postgres(postgres)
        embedded.stop(redis, timeout_s=5)
        shutil.rmtree(data_dir, ignore_errors=True)


def _client() -> harness.Api:
    """Imports what needs Django's settings, which need the environment."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_service.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "testserver"]
    call_command("migrate", verbosity=0)
    from memory_service import ingest, tasks
    from memory_service.embedding import ensure_profile
    from memory_service.models import ApiKey, Organisation, Project

    ensure_profile()
    tasks.enqueue = lambda event: ingest.drain_scope(event.scope_id)  # type: ignore[assignment,arg-type]
    project = Project.objects.create(organisation=Organisation.objects.create(name="Stories"), name="Stories")
    return InProcess(ApiKey.issue(project)[1])


@dataclass(frozen=True)
class Answer:
    status: int
    json: Any


class InProcess:
    """The API without a server: Django's own test client with a key."""

    def __init__(self, key: str) -> None:
        from django.test import Client

        self._client = Client(headers={"Authorization": f"Token {key}"})

    def post(self, path: str, body: Any) -> Answer:
        return self._answer(self._client.post(path, json.dumps(body), content_type="application/json"))

    def get(self, path: str) -> Answer:
        return self._answer(self._client.get(path))

    def _answer(self, response: Any) -> Answer:
        return Answer(response.status_code, json.loads(response.content))


# Showing


def by_kind(results: Results) -> dict[str, Results]:
    kinds: dict[str, list[Any]] = defaultdict(list)
    for story, failures in results:
        kinds[story.kind].append((story, failures))
    return dict(sorted(kinds.items()))


def to_table(results: Results, took_s: float) -> str:
    lines = ["| kind | stories | hold | share | failing |", "|---|---|---|---|---|"]
    for kind, rows in {**by_kind(results), "all": results}.items():
        failing = [story.name for story, failures in rows if failures]
        named = "" if kind == "all" else ", ".join(failing)
        hold = len(rows) - len(failing)
        lines.append(f"| {kind} | {len(rows)} | {hold} | {100 * hold / len(rows):.0f} % | {named} |")
    return "\n".join([*lines, "", f"{took_s:.1f} s"])


def to_json(results: Results, took_s: float) -> dict[str, Any]:
    def count(rows: Results) -> dict[str, Any]:
        failing = [story.name for story, failures in rows if failures]
        return {"stories": len(rows), "share": round(1 - len(failing) / len(rows), 4), "failing": failing}

    return {
        **count(results),
        "kinds": {kind: count(rows) for kind, rows in by_kind(results).items()},
        "reasons": {story.name: [str(failure) for failure in failures] for story, failures in results if failures},
        "took_s": round(took_s, 1),
    }


def print_reasons(results: Results) -> None:
    for story, failures in results:
        for failure in failures:
            print(f"{story.kind}/{story.name}: {failure}")


# The list of known failures


def read_known_failures() -> list[str]:
    """The names in docs/stories.md between the marks."""
    listed = KNOWN_FAILURES_FILE.read_text("utf-8").split(START)[1].split(END)[0]
    return re.findall(r"`([^`]+)`", listed)


def write_known_failures(names: Sequence[str]) -> None:
    head, rest = KNOWN_FAILURES_FILE.read_text("utf-8").split(START)
    listed = "\n".join(f"- `{name}`" for name in names) or "None."
    KNOWN_FAILURES_FILE.write_text(f"{head}{START}\n{listed}\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
