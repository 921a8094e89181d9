"""Measured strategies as a person reads them: tables in Markdown, and recall against IoU as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memory_service.errors import InvalidInput
from memory_service.models import EvaluationRun

from .report import table

METRICS = {"recall": "recall", "precision": "precision", "iou": "IoU", "precision_omega": "Precision-Ω"}
PLOT_SUFFIXES = (".png", ".svg", ".pdf")


def strategies_table(runs: Sequence[EvaluationRun]) -> str:
    """A row for each run: what it made of the documents, then the means with their 95 % intervals."""
    titles = ["strategy", "chunks", "mean tokens", "mean chars", *METRICS.values()]
    scored = any("chunk_score" in run.summary[run.kind] for run in runs)
    more = ["ChunkScore (LI, SD)"] if scored else []
    return table([*titles, *more, "split s"], [_row(run, scored=scored) for run in runs])


def _row(run: EvaluationRun, *, scored: bool) -> list[str]:
    figures, whole = run.summary[run.kind], run.summary["metrics"]["all"]
    return [
        label(run),
        str(figures["num_chunks"]),
        f"{figures['mean_tokens']:.0f}",
        f"{figures['mean_chars']:.0f}",
        *(_with_interval(whole[name]) for name in METRICS),
        *([_chunk_score(figures.get("chunk_score"))] if scored else []),
        f"{figures['split_s']:.2f}",
    ]


def _chunk_score(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    independence = "-" if found["independence"] is None else f"{found['independence']:.3f}"
    return f"{found['score']:.3f} ({independence}, {found['dispersion']:.3f})"


def corpora_table(runs: Sequence[EvaluationRun]) -> str:
    """A row for each document and run, with how many questions it has."""
    rows = []
    for name in dict.fromkeys(name for run in runs for name in run.summary["metrics"] if name != "all"):
        for run in runs:
            found = run.summary["metrics"][name]
            n = str(found["recall"]["n"])
            rows.append([name, n, label(run), *(_with_interval(found[metric]) for metric in METRICS)])
    return table(["document", "questions", "strategy", *METRICS.values()], rows)


def label(run: EvaluationRun) -> str:
    return str(run.summary[run.kind]["label"])


def _with_interval(one: Mapping[str, Any]) -> str:
    return f"{one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f})"


def check_plot(path: Path) -> None:
    """Raises InvalidInput, before anything is measured, for a file that cannot be a picture."""
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise InvalidInput(f"--plot {path}: the name must end with one of {', '.join(PLOT_SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise InvalidInput(f"--plot {path}: {path.parent} is no folder")


def plot(runs: Sequence[EvaluationRun], path: Path) -> None:
    """Recall against IoU, a point for each run with its intervals as bars."""
    check_plot(path)
    from matplotlib.figure import Figure  # slow to load, and without pyplot it needs no display

    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.add_subplot()
    best_first = sorted(runs, key=lambda run: -run.summary["metrics"]["all"]["recall"]["mean"])
    for number, run in enumerate(best_first, start=1):
        x, y = (run.summary["metrics"]["all"][name] for name in ("iou", "recall"))
        axes.errorbar(
            x["mean"], y["mean"], xerr=_bars(x), yerr=_bars(y), elinewidth=0.8, alpha=0.25, color=f"C{number % 10}"
        )
        axes.plot(x["mean"], y["mean"], "o", markersize=13, color=f"C{number % 10}", label=f"{number}  {label(run)}")
        axes.annotate(
            str(number), (x["mean"], y["mean"]), ha="center", va="center", fontsize=8, color="white", weight="bold"
        )
    figure.legend(loc="outside right upper", fontsize=8, handlelength=0.8)
    axes.set_xlabel("IoU, mean with 95 % interval")
    axes.set_ylabel("recall, mean with 95 % interval")
    axes.set_title(f"{runs[0].source}: {runs[0].summary['num_questions']} questions")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def _bars(one: Mapping[str, Any]) -> list[list[float]]:
    return [[max(0.0, one["mean"] - one["low"])], [max(0.0, one["high"] - one["mean"])]]
