"""`manage.py evaluate chunking DIR`: strategies of chunking beside each other, on documents with labelled spans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser, OutputWrapper

from chunking.fusing import ENRICHMENTS
from memory_service.errors import InvalidInput
from memory_service.evaluation import chunk_report, chunk_runs, chunk_sets, comparing
from memory_service.evaluation.chunk_index import RETRIEVALS, TOKENIZERS, CachedEmbedder, OnProgress
from memory_service.models import EvaluationRun, Project


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("file", type=Path, metavar="DIR", help="documents (*.md, *.txt) and questions_df.csv")
    parser.add_argument("--project", default="default", help="whose runs they are: a project's name or id")
    parser.add_argument("--name", default="", help="what the runs are called in lists; else the strategy")
    parser.add_argument(
        "--strategies", metavar="A,B:NAME=VALUE", help="only these, each with options of its own; else all there are"
    )
    parser.add_argument(
        "--options", nargs="+", default=[], metavar="NAME=VALUE", help="for every strategy that has them"
    )
    parser.add_argument("--corpora", help="only these documents, by name, separated by commas")
    parser.add_argument("--limit-questions", type=int, help="only the first so many")
    parser.add_argument(
        "--retrieve", type=int, default=chunk_runs.DEFAULT_RETRIEVE, help="chunks a question; -1: as many as overlap"
    )
    parser.add_argument("--retrieval", default="vector", choices=RETRIEVALS)
    parser.add_argument("--tokenizer", default="estimate", choices=TOKENIZERS, help="by which chunks are sized")
    parser.add_argument(
        "--enrich",
        default="situated",
        metavar="A,B",
        help=f"what stands beside a chunk's text: {', '.join(ENRICHMENTS)}",
    )
    parser.add_argument("--metadata", default="local", choices=chunk_runs.DESCRIBERS, help="who describes the chunks")
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="give each chunk the metadata of another")
    parser.add_argument("--chunk-score", action="store_true", help="also ChunkScore, which asks no questions")
    parser.add_argument("--cache", type=Path, metavar="FILE.npz", help="keep vectors there, for the next run")
    parser.add_argument("--by-corpus", action="store_true", help="also a table by document")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="recall against IoU; .svg and .pdf too")
    parser.add_argument("--json", type=Path, help="write figures there; of one run every question's too")
    parser.set_defaults(fail_under=[])


def measure(project: Project, options: dict[str, Any], out: OutputWrapper, on_progress: OnProgress) -> None:
    """Raises InvalidInput before anything is measured, where it can be known."""
    chosen = _read(options)
    candidates = chunk_runs.read_candidates(
        options["strategies"], dict(map(chunk_runs.read_option, options["options"]))
    )
    if options["plot"]:
        chunk_report.check_plot(options["plot"])
    embed = CachedEmbedder(options["cache"], model=settings.ENV.embedding_model)
    num_chars = sum(map(len, chosen.corpora.values()))
    out.write(f"{len(chosen.corpora)} documents, {num_chars} characters, {len(chosen.questions)} questions")
    for note in chosen.notes:
        out.write(f"  {note}")
    runs, notes = chunk_runs.measure_all(
        project,
        chosen,
        candidates,
        _plan(options),
        models=chunk_runs.service_models(embed, options["tokenizer"]),
        embed=embed,
        enrichments=options["enrich"].split(","),
        skip_faulty=options["strategies"] is None,
        name=options["name"],
        on_run=lambda run: out.write(f"run {run.public_id}: {chunk_report.label(run)}"),
        on_progress=on_progress,
    )
    for note in notes:
        out.write(f"  left out: {note}")
    tell(runs, out, by_corpus=options["by_corpus"])
    if runs and options["plot"]:
        chunk_report.plot(runs, options["plot"])
    if runs and options["json"]:
        write(runs, options["json"])


def _plan(options: dict[str, Any]) -> chunk_runs.ChunkPlan:
    """All but the strategy, its options and the enrichment."""
    return chunk_runs.ChunkPlan(
        "",
        {},
        retrieve=options["retrieve"],
        retrieval=options["retrieval"],
        tokenizer=options["tokenizer"],
        metadata=options["metadata"],
        shuffle=options["shuffle"],
        chunk_score=options["chunk_score"],
    )


def _read(options: dict[str, Any]) -> chunk_sets.ChunkSet:
    if options["limit_questions"] is not None and options["limit_questions"] < 1:
        raise InvalidInput(f"--limit-questions={options['limit_questions']} must be at least 1")
    whole = chunk_sets.read_chunk_set(options["file"])
    corpora = options["corpora"].split(",") if options["corpora"] else None
    return chunk_sets.select(whole, corpora=corpora, max_questions=options["limit_questions"])


def tell(runs: list[EvaluationRun], out: OutputWrapper, *, by_corpus: bool = True) -> None:
    if runs:
        out.write("\n" + chunk_report.strategies_table(runs))
    if runs and by_corpus:
        out.write("\n" + chunk_report.corpora_table(runs))


def write(runs: list[EvaluationRun], path: Path) -> None:
    """One run as other runs are written, so that it can be compared; several as a list of them."""
    if len(runs) == 1:
        comparing.write(runs[0], path)
    else:
        path.write_text(json.dumps([comparing.as_json(run) for run in runs], indent=1, ensure_ascii=False))
