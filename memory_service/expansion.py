"""Query expansion by a language model: the question in other words, and what an answer to it might say.

Each is searched for as the question is, and the rankings are fused. The question's own ranking counts as much as all
the others together. Without a model, or where it fails, the question is searched for as it stands, and a note says so.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from django.utils import timezone

from . import ledger
from .errors import LLMError
from .filters import only_user
from .llm import LLMConfig, complete_structured
from .models import Project
from .prompts.expansion import Expanded, expansion_prompt

if TYPE_CHECKING:
    from .retrieval import SearchRequest

MAX_REWRITES, MAX_HYPOTHETICAL = 2, 2
MAX_QUERY_CHARS = 4_000  # of the question that the model is shown
MAX_VARIANT_CHARS = 1_000
MAX_ANSWER_TOKENS = 500
RRF_K = 60  # Cormack et al., SIGIR 2009

Expand = Literal["none", "feedback", "llm"]  # feedback: of the best texts of a first pass; see retrieval.py
EXPANDS: tuple[str, ...] = get_args(Expand)
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Expansion:
    """notes: why there is nothing, where there is nothing."""

    rewrites: list[str] = field(default_factory=list)
    hypothetical: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def queries(self) -> tuple[str, ...]:
        """What to search for beside the question."""
        return (*self.rewrites, *self.hypothetical)


def expand(query: str, llm: LLMConfig, *, reference_date: datetime) -> Expansion:
    """Raises what llm.complete_structured raises."""
    prompt = expansion_prompt(
        query[:MAX_QUERY_CHARS],
        reference_date=reference_date,
        rewrites=MAX_REWRITES,
        hypothetical=MAX_HYPOTHETICAL,
    )
    answer, _ = complete_structured(llm, prompt, Expanded, purpose="expansion", max_tokens=MAX_ANSWER_TOKENS)
    seen = {_normal(query)}
    return Expansion(
        _new(answer.rewrites, seen)[:MAX_REWRITES],
        _new(answer.hypothetical, seen)[:MAX_HYPOTHETICAL],
    )


def _new(texts: Sequence[str], seen: set[str]) -> list[str]:
    """Those that say something not said before, cut to size."""
    found = []
    for text in texts:
        short = " ".join(text.split())[:MAX_VARIANT_CHARS]
        if short and _normal(short) not in seen:
            seen.add(_normal(short))
            found.append(short)
    return found


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()


def expand_for(
    project: Project, query: str, llm: LLMConfig | None, *, reference_date: datetime, user_id: str | None = None
) -> Expansion:
    """On the project's account. Never raises for a model's fault: a search without an expansion is still a search."""
    if llm is None:
        return Expansion(notes=["the question was not expanded: no language model works for this project"])
    try:
        with ledger.charged(project, user_id=user_id):
            return expand(query, llm, reference_date=reference_date)
    except LLMError as exc:
        return Expansion(notes=[f"the question was not expanded: {exc}"])


def expand_request(
    project: Project, request: SearchRequest, llm: LLMConfig | None, *, payer: Project | None = None
) -> SearchRequest:
    """The request with other wordings beside its query, where it asks a model for them and has none yet: done once,
    also where nothing came of it. Its trace is told which. payer: whose account it is on, if not the project's."""
    if request.expand != "llm" or request.also:
        return request
    found = expand_for(
        payer or project,
        request.query,
        llm,
        reference_date=request.reference_date or timezone.now(),
        user_id=only_user(request.filter),
    )
    if request.trace is not None:
        request.trace.expansion = found
    return replace(request, also=found.queries, expand="none")


def fuse_rankings(
    rankings: Sequence[Sequence[Key]], *, weights: Sequence[float] | None = None, k: int = RRF_K
) -> list[tuple[Key, float]]:
    """One ranking of all keys, best first, by weighted reciprocal rank; ties go to the earlier ranking.

    The score is the share of what a key would get that is first in every ranking: 0 to 1. weights: one a ranking, not
    negative; by default the first counts as much as all the others together. Raises ValueError otherwise.
    Source: Cormack et al., SIGIR 2009.
    """
    if weights is None:
        weights = [max(1, len(rankings) - 1), *[1.0] * (len(rankings) - 1)][: len(rankings)]
    if len(weights) != len(rankings) or any(weight < 0 for weight in weights):
        raise ValueError(f"{len(weights)} weights for {len(rankings)} rankings; one each is needed, not negative")
    most = sum(weights) / (k + 1)
    scores: dict[Key, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, key in enumerate(dict.fromkeys(ranking), start=1):
            scores[key] = scores.get(key, 0.0) + weight / (k + rank)
    fused = [(key, score / most if most else 0.0) for key, score in scores.items()]
    return sorted(fused, key=lambda pair: -pair[1])
