"""`manage.py evaluate`: whether search finds the messages that answer a question, on a public set or one's own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from kombu.exceptions import OperationalError

from memory_service.celery import app
from memory_service.errors import Conflict, NotFound, ServiceError
from memory_service.evaluation import chunk_runs, comparing, datasets, report, runner
from memory_service.evaluation.asking import OverHTTP, drop_corpus, stages
from memory_service.evaluation.datasets import Dataset
from memory_service.evaluation.runner import Plan, Progress
from memory_service.management import evaluate_chunking
from memory_service.management.database import running_database
from memory_service.models import EvaluationCorpus, EvaluationRun, Project
from memory_service.organisations import named_project

WORKER_TIMEOUT_S = 1.0
CONNECT_TIMEOUT_S = 1
BAR_CHARS = 30
REDRAW_S = 0.2
LISTED_METRICS = ("recall@10", "recall@1000t", "recall", "iou")
PLAIN_STEPS = 10  # lines of progress where the output is no terminal


class Command(BaseCommand):
    help = "Measure evidence recall: ingest a set into a scratch project, ask its questions, tell the figures."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for kind in datasets.KINDS:
            self._add_run_arguments(actions.add_parser(kind, help=f"a file in the format of {kind}"), kind)
        evaluate_chunking.add_arguments(
            actions.add_parser("chunking", help="strategies of chunking, beside each other")
        )
        compare = actions.add_parser("compare", help="two runs, question by question")
        compare.add_argument("run_a", help="a run's id, its beginning, or a file written by --json")
        compare.add_argument("run_b")
        compare.add_argument("--json", type=Path, help="write the comparison there too")
        actions.add_parser("list", help="the runs that are stored, newest first")
        show = actions.add_parser("show", help="a run's figures again")
        show.add_argument("run", help="its id, or the beginning of it")
        show.add_argument("--json", type=Path)
        actions.add_parser("clean", help="remove the scratch projects, also those that were kept")

    def _add_run_arguments(self, parser: CommandParser, kind: str) -> None:
        parser.add_argument("file", type=Path, help="a folder of chats is accepted too" if kind == "beam" else None)
        parser.add_argument("--project", default="default", help="whose run it is: a project's name or id")
        parser.add_argument("--name", default="", help="what the run is called in lists")
        parser.add_argument("--conversations", help="only these, by id, separated by commas")
        parser.add_argument("--limit-questions", type=int, help="only the first so many")
        parser.add_argument(
            "--option", action="append", default=[], metavar="NAME=VALUE", help="of the search, e.g. top_k=50"
        )
        parser.add_argument(
            "--ablate", nargs="?", const="all", metavar="STAGES", help="ask again without each stage of retrieval"
        )
        parser.add_argument("--seeds", type=int, default=1, help="runs, each with another order of ingesting")
        parser.add_argument(
            "--judge", nargs="?", const=1, default=0, type=int, metavar="N", help="judge answers, N times each"
        )
        parser.add_argument("--policy", default="local", choices=runner.POLICIES, help="how messages become memories")
        parser.add_argument("--reuse", action="store_true", help="keep what is ingested, and use it where it is kept")
        parser.add_argument("--keep", action="store_true", help="leave the scratch project there")
        parser.add_argument("--resume", metavar="RUN", help="go on with a run that was interrupted")
        parser.add_argument("--host", help="measure a service there, over HTTP")
        parser.add_argument("--api-key", help="of that service")
        parser.add_argument("--json", type=Path, help="write figures and every question's scores there")
        parser.add_argument("--baseline", metavar="RUN", help="compare with this run: an id, or a file of --json")
        parser.add_argument(
            "--fail-under", action="append", default=[], metavar="METRIC[:CATEGORY]=VALUE", help="exit with 1 below it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        action = options["action"]
        try:
            gates = [comparing.read_gate(one) for one in options.get("fail_under") or []]
            dataset = self._read(options) if action in datasets.KINDS else None
            with running_database():
                if dataset is not None:
                    self._measure(dataset, options, gates)
                else:
                    getattr(self, f"_{action}")(options)
        except ServiceError as exc:
            raise CommandError(str(exc)) from exc
        except OSError as exc:
            raise CommandError(f"{exc.filename or exc}: {exc.strerror or exc}") from exc

    # Runs

    def _read(self, options: dict[str, Any]) -> Dataset:
        wanted = options["conversations"].split(",") if options["conversations"] else None
        if options["limit_questions"] is not None and options["limit_questions"] < 1:
            raise CommandError(f"--limit-questions={options['limit_questions']} must be at least 1")
        whole = datasets.read_dataset(options["action"], options["file"])
        return datasets.select(whole, conversations=wanted, max_questions=options["limit_questions"])

    def _measure(self, dataset: Dataset, options: dict[str, Any], gates: Sequence[comparing.Gate]) -> None:
        project = self._find_project(options["project"])
        baseline = comparing.load(options["baseline"]) if options["baseline"] else None
        run = self._find_run(project, dataset, options)
        self.stdout.write(f"run {run.public_id}: {dataset.num_messages} messages, {dataset.num_questions} questions")
        for note in run.notes:
            self.stdout.write(f"  {note}")
        self._execute(run, dataset, options)
        self._tell(run)
        if options["json"]:
            comparing.write(run, options["json"])
        if baseline is not None:
            self._tell_difference(comparing.compare(baseline, comparing.of_run(run)))
        missed = [text for gate in gates if (text := gate.missed_by(run.summary))]
        if missed:
            raise CommandError("; ".join(missed))

    def _find_project(self, name: str) -> Project:
        try:
            return named_project(name)
        except NotFound as exc:
            raise CommandError(f"--project={exc}") from exc

    def _find_run(self, project: Project, dataset: Dataset, options: dict[str, Any]) -> EvaluationRun:
        if options["resume"]:
            run = comparing.find_run(options["resume"])
            if run.data_hash != runner.hash_dataset(dataset):
                raise Conflict(f"run {run.public_id} was made over other data: give the same file and selection")
            EvaluationRun.objects.filter(pk=run.pk).exclude(status="SUCCEEDED").update(status="PENDING", error="")
            run.refresh_from_db()
            return run
        if options["host"] and options["seeds"] > 1:
            raise CommandError("--seeds ingests several times, which --host cannot")
        if options["host"] and options["ablate"]:
            raise CommandError("--ablate leaves stages out in process, which --host cannot")
        if bool(options["host"]) != bool(options["api_key"]):
            raise CommandError("--host and --api-key belong together")
        return runner.create_run(
            project, dataset, self._plan(options), name=options["name"], source=self._source(options)
        )

    def _source(self, options: dict[str, Any]) -> str:
        name = options["file"].name
        return f"{name} at {options['host']}" if options["host"] else name

    def _plan(self, options: dict[str, Any]) -> Plan:
        wanted = options["ablate"]
        if wanted == "all" and not stages():
            raise CommandError("--ablate: retrieval names no stages that can be left out")
        ablate = () if not wanted else stages() if wanted == "all" else tuple(wanted.split(","))
        return Plan(
            options=dict(self._option(one) for one in options["option"]),
            ablate=ablate,
            seeds=options["seeds"],
            judgings=options["judge"],
            policy=options["policy"],
            reuse=options["reuse"],
            keep=options["keep"],
        )

    def _option(self, written: str) -> tuple[str, Any]:
        """name=value: JSON where it is JSON, else a string."""
        name, separator, value = written.partition("=")
        if not separator:
            raise CommandError(f"--option {written!r} must be NAME=VALUE")
        try:
            return name, json.loads(value)
        except ValueError:
            return name, value

    def _execute(self, run: EvaluationRun, dataset: Dataset, options: dict[str, Any]) -> None:
        if run.status == "SUCCEEDED":
            return
        bar = Bar(self.stderr)
        try:
            if options["host"]:
                self._execute_over_http(run, dataset, options, bar)
            else:
                runner.execute(run, dataset, enqueue=find_worker(), on_progress=bar)
        except runner.Stopped as exc:
            raise CommandError(f"run {run.public_id} was cancelled or deleted meanwhile") from exc
        except KeyboardInterrupt as exc:
            raise CommandError(f"interrupted; go on with --resume {run.public_id}") from exc
        except Exception as exc:
            if not connection.is_usable():
                connection.close()
            runner.fail(run, str(exc) or type(exc).__name__)
            raise
        finally:
            bar.end()
        run.refresh_from_db()

    def _execute_over_http(self, run: EvaluationRun, dataset: Dataset, options: dict[str, Any], bar: Bar) -> None:
        prefix = f"evaluation-{run.data_hash[:12]}"
        api = OverHTTP(options["host"], options["api_key"], run.plan["options"], prefix=prefix)
        done = 0

        def note(num_messages: int) -> None:
            nonlocal done
            done += num_messages
            bar(Progress("ingest", done, dataset.num_messages))

        for conversation in dataset.conversations:
            api.ingest(conversation, on_messages=note)
        runner.execute(run, dataset, asked=api, on_progress=bar)
        for conversation in dataset.conversations if not (options["keep"] or options["reuse"]) else ():
            api.drop(conversation)

    def _chunking(self, options: dict[str, Any]) -> None:
        project = self._find_project(options["project"])
        bar = Bar(self.stderr)
        try:
            evaluate_chunking.measure(
                project, options, self.stdout, lambda step, done, total: bar(Progress(step, done, total))
            )
        finally:
            bar.end()

    # Telling

    def _tell(self, run: EvaluationRun) -> None:
        summary = run.summary
        if run.kind == chunk_runs.KIND:
            evaluate_chunking.tell([run], self.stdout)
            return
        self.stdout.write(report.run_table(summary))
        if summary["by_conversation"]:
            self.stdout.write("\n" + report.conversation_table(summary))
        if summary.get("ablation"):
            self.stdout.write("\n" + report.ablation_table(summary))
        self.stdout.write("\n" + report.figures_line(summary))

    def _tell_difference(self, found: dict[str, Any]) -> None:
        counts = f"{found['num_questions']} questions in both, {found['only_a']} only in a, {found['only_b']} only in b"
        self.stdout.write(f"\n{counts}\n{report.difference_table(found)}")

    def _compare(self, options: dict[str, Any]) -> None:
        found = comparing.compare(comparing.load(options["run_a"]), comparing.load(options["run_b"]))
        for note in found["notes"]:
            self.stdout.write(f"  {note}")
        self._tell_difference(found)
        if options["json"]:
            options["json"].write_text(json.dumps(found, indent=1))

    def _list(self, options: dict[str, Any]) -> None:
        for run in EvaluationRun.objects.select_related("project").order_by("-id"):
            whole = run.summary.get("metrics", {}).get("all", {})
            figures = [f"{name} {whole[name]['mean']:.3f}" for name in LISTED_METRICS if name in whole]
            what = run.name or run.source or run.kind
            day = f"{run.created_at:%Y-%m-%d %H:%M}"
            self.stdout.write(f"{run.public_id}  {day}  {run.project}  {what}  {run.status}  {', '.join(figures)}")

    def _show(self, options: dict[str, Any]) -> None:
        run = comparing.find_run(options["run"])
        self.stdout.write(f"run {run.public_id}: {run.kind}, {run.source}, {run.status} {run.error}".rstrip())
        self.stdout.write(json.dumps(run.plan | {"circumstances": run.circumstances}))
        if run.summary:
            self._tell(run)
        if options["json"]:
            comparing.write(run, options["json"])

    def _clean(self, options: dict[str, Any]) -> None:
        corpora = list(EvaluationCorpus.objects.select_related("project", "owner"))
        for corpus in corpora:
            drop_corpus(corpus)
        self.stdout.write(f"Removed {len(corpora)} scratch projects.")


def find_worker() -> Any:
    """`tasks.enqueue` where a worker answers; None where the work is to be done here."""
    from memory_service import tasks

    try:
        with app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, timeout=CONNECT_TIMEOUT_S)
        return tasks.enqueue if app.control.ping(timeout=WORKER_TIMEOUT_S, limit=1) else None
    except (OperationalError, OSError):
        return None


class Bar:
    """Progress on a terminal, redrawn in place; elsewhere a line for every tenth."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self._terminal = bool(getattr(sys.stderr, "isatty", lambda: False)())
        self._drawn_at, self._step, self._told = 0.0, "", 0
        self._started = self._seen = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.step != self._step:
            self.end()
            self._step, self._started, self._told = progress.step, self._seen, 0
        self._seen = now
        self._seen = now
        if self._terminal:
            if now - self._drawn_at > REDRAW_S or progress.done == progress.total:
                self._out.write(f"\r{self._line(progress, now)}\x1b[K", ending="")
                self._drawn_at = now
        else:
            tenth = PLAIN_STEPS * progress.done // max(1, progress.total)
            if tenth > self._told:
                self._told = tenth
                self._out.write(self._line(progress, now))

    def _line(self, progress: Progress, now: float) -> str:
        share = progress.done / max(1, progress.total)
        full = round(BAR_CHARS * share)
        rate = progress.done / max(1e-9, now - self._started)
        bar = "#" * full + "." * (BAR_CHARS - full)
        return f"{progress.step} [{bar}] {progress.done} of {progress.total}, {rate:.0f}/s"

    def end(self) -> None:
        if self._terminal and self._step:
            self._out.write("")
        self._step = ""
