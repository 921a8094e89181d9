"""Figures as a person reads them on a terminal: tables in Markdown. Pure: what a run's summary holds -> text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

METRICS = ("recall@5", "recall@10", "recall@20", "recall@500t", "recall@1000t", "recall@2000t", "mrr", "ndcg@10")
SESSION_METRICS = ("session_any@5", "session_all@5", "session_recall@10", "session_ndcg@5")
OTHER_METRICS = ("accuracy",)
CHUNK_METRICS = ("recall", "precision", "iou", "precision_omega")
ABLATION_METRICS = ("recall@10", "recall@1000t", "recall@2000t", "mrr")


def shown_metrics(metrics: Mapping[str, Any]) -> list[str]:
    """Those of the table that the run has."""
    return [
        name for name in (*METRICS, *SESSION_METRICS, *OTHER_METRICS, *CHUNK_METRICS) if name in metrics.get("all", {})
    ]


def groups_of(metrics: Mapping[str, Any]) -> list[str]:
    """All questions, then numbers in their order, then words: the database does not keep the order of keys."""

    def order(name: str) -> tuple[bool, bool, int, str]:
        return (name != "all", not name.isdecimal(), int(name) if name.isdecimal() else 0, name)

    return sorted(metrics, key=order)


def run_table(summary: Mapping[str, Any]) -> str:
    """A row for each category, then all with its interval and the spread over conversations."""
    names = shown_metrics(summary["metrics"])
    rows = []
    for group in groups_of(summary["metrics"]):
        metrics = summary["metrics"][group]
        if group != "all":
            n = max((one["n"] for one in metrics.values()), default=0)
            rows.append([f"category {group}", str(n), *(_mean(metrics.get(name)) for name in names)])
    whole = summary["metrics"]["all"]
    rows.append(["all", str(summary["num_questions"]), *(_mean(whole.get(name)) for name in names)])
    rows.append(["95 % interval", "", *(_bounds(whole.get(name)) for name in names)])
    for title, key in (("± over conversations", "spread_over_conversations"), ("± over seeds", "spread_over_seeds")):
        if summary.get(key):
            rows.append([title, "", *(_number(summary[key].get(name)) for name in names)])
    return table(["", "questions", *names], rows)


def conversation_table(summary: Mapping[str, Any]) -> str:
    names = [name for name in shown_metrics(summary["metrics"]) if name in METRICS]
    rows = [[c, *(_number(found.get(name)) for name in names)] for c, found in summary["by_conversation"].items()]
    return table(["", *names], rows)


def ablation_table(summary: Mapping[str, Any]) -> str:
    """What each figure loses (below 0) or gains without a stage."""
    rows = [
        [f"without {stage}", *(_difference(found["all"].get(name)) for name in ABLATION_METRICS)]
        for stage, found in summary["ablation"].items()
    ]
    return table(["", *ABLATION_METRICS], rows)


def difference_table(difference: Mapping[str, Any]) -> str:
    """b - a, with interval and p: all questions, then each category."""
    names = shown_metrics(difference["metrics"])
    groups = groups_of(difference["metrics"])
    rows = [[name, *(_difference(difference["metrics"][group].get(name)) for group in groups)] for name in names]
    titles = [group if group == "all" else f"category {group}" for group in groups]
    return table(["b - a", *titles], rows)


def figures_line(summary: Mapping[str, Any]) -> str:
    latency = summary["latency_ms"]
    parts = [
        f"{summary['num_questions']} questions in {summary['num_conversations']} conversations",
        f"search p50 {_shown(latency['p50'])} ms, p95 {_shown(latency['p95'])} ms",
        f"{_shown(summary['tokens_per_query'])} tokens in the first ten hits (at four characters)",
    ]
    if summary.get("exact_tokens_per_query") is not None:
        parts.append(f"{summary['exact_tokens_per_query']} by the tokenizer")
    if summary.get("ingest_messages_per_s"):
        parts.append(f"ingest {summary['ingest_messages_per_s']} messages/s")
    if summary.get("hits_over_cited"):
        parts.append(f"{summary['hits_over_cited']} hits cite more than three messages and count for none")
    return "; ".join(parts)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _mean(interval: Mapping[str, Any] | None) -> str:
    return _number(interval["mean"] if interval else None)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _bounds(interval: Mapping[str, Any] | None) -> str:
    return f"{interval['low']:.3f} to {interval['high']:.3f}" if interval else ""


def _difference(interval: Mapping[str, Any] | None) -> str:
    if not interval:
        return ""
    return f"{interval['mean']:+.3f} ({interval['low']:+.3f} to {interval['high']:+.3f}, p {interval['p']:.3f})"
