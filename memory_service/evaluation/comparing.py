"""Two runs, question by question; a run as a file; the gate that a run must pass."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.models import CharField
from django.db.models.functions import Cast

from memory_service.errors import InvalidInput, NotFound
from memory_service.models import EvaluationRun, EvaluationScore

from .runner import WHOLE, difference

FORMAT = "memory-service evaluation 1"
COLUMNS = (
    *("variant", "seed", "question_id", "conversation", "category", "question", "metrics", "ranks"),
    *("num_hits", "num_over_cited", "latency_ms", "tokens", "exact_tokens", "answer"),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A run's scores with every stage, from the database or from a file."""

    id: str
    kind: str
    data_hash: str
    scores: Sequence[EvaluationScore]


def find_run(written: str) -> EvaluationRun:
    """By its id or the beginning of it, whatever project. For the operator: the API looks in its own project."""
    rows = EvaluationRun.objects.select_related("project").annotate(written=Cast("public_id", CharField()))
    found: list[EvaluationRun] = list(rows.filter(written__startswith=_plain(written))[:2])
    if len(found) != 1:
        raise NotFound(
            f"{'several runs begin' if found else 'no run begins'} with {written!r}; `evaluate list` shows them"
        )
    return found[0]


def _plain(written: str) -> str:
    kept = "".join(c for c in written.lower() if c in "0123456789abcdef-")
    if not kept or len(kept) != len(written):
        raise NotFound(f"{written!r} is no run's id and no file")
    return kept


def load(written: str) -> Measurement:
    """A run's id, the beginning of it, or a file. Raises NotFound, and InvalidInput for a file that is none of ours."""
    path = Path(written)
    return read(path) if path.is_file() else of_run(find_run(written))


def of_run(run: EvaluationRun) -> Measurement:
    scores = list(run.scores.filter(variant=WHOLE).order_by("seed", "number"))
    return Measurement(str(run.public_id), run.kind, run.data_hash, scores)


def read(path: Path) -> Measurement:
    try:
        whole = json.loads(path.read_text())
        if whole["format"] != FORMAT:
            raise ValueError(f"its format is {whole['format']!r}")
        scores = [EvaluationScore(number=i, **one) for i, one in enumerate(whole["questions"])]
        run = whole["run"]
        return Measurement(run["id"], run["kind"], run["data_hash"], [s for s in scores if s.variant == WHOLE])
    except (ValueError, KeyError, TypeError) as exc:
        raise InvalidInput(f"{path} was not written by --json: {exc}") from exc


def as_json(run: EvaluationRun) -> dict[str, Any]:
    """The run with everything that was measured."""
    rows = run.scores.order_by("variant", "seed", "number")
    return {
        "format": FORMAT,
        "run": {
            "id": str(run.public_id),
            "name": run.name,
            "kind": run.kind,
            "source": run.source,
            "data_hash": run.data_hash,
            "plan": run.plan,
            "circumstances": run.circumstances,
            "notes": run.notes,
            "created_at": run.created_at.isoformat(),
        },
        "summary": run.summary,
        "questions": [{name: getattr(row, name) for name in COLUMNS} for row in rows],
    }


def write(run: EvaluationRun, path: Path) -> None:
    path.write_text(json.dumps(as_json(run), indent=1, ensure_ascii=False))


def compare(a: Measurement, b: Measurement) -> dict[str, Any]:
    """b - a over the questions of both, with what makes it doubtful. Raises NotFound where there are none."""
    notes = []
    if a.data_hash != b.data_hash:
        notes.append("the runs were made over different data: only questions with the same id are compared")
    return {"a": a.id, "b": b.id, "notes": notes, **difference(a.scores, b.scores)}


# Gates


@dataclass(frozen=True, slots=True)
class Gate:
    """A metric's mean must reach `floor`; category: "all", or one of the set's."""

    metric: str
    floor: float
    category: str = "all"

    def missed_by(self, summary: Mapping[str, Any]) -> str | None:
        """What is wrong, or None. A figure that the run does not have is wrong too."""
        found = summary["metrics"].get(self.category, {}).get(self.metric)
        where = self.metric if self.category == "all" else f"{self.metric} of category {self.category}"
        if found is None:
            return f"{where} was not measured"
        return None if found["mean"] >= self.floor else f"{where} is {found['mean']:.4f}, below {self.floor:g}"


def read_gate(written: str) -> Gate:
    """ "recall@10=0.8" or "recall@10:2=0.6". Raises InvalidInput."""
    name, separator, value = written.partition("=")
    metric, _, category = name.partition(":")
    try:
        floor = float(value)
    except ValueError:
        floor = float("nan")
    if not separator or not metric or not 0 <= floor <= 1:
        raise InvalidInput(
            f"--fail-under {written!r} must be METRIC=VALUE or METRIC:CATEGORY=VALUE, e.g. recall@10=0.8"
        )
    return Gate(metric, floor, category or "all")
