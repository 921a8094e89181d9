"""What follows fusion: from more ranked hits than are wanted to those that are returned.

    rerank      a cross-encoder reads the question and each text
    diversity   rounds over the sessions, where the question asks for several things
    select      the first, those up to a sharp fall, those that differ, or the best set under a budget of tokens
    focus       of what is left the best sentences

Each is off unless the request asks for it. A hit's breakdown gains what a stage made of it, and a Trace is told what
became of every candidate, and why.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from . import document_search, focus, lexical, reranking, selection
from .embedding import Vectors, embed_query, embed_texts
from .expansion import Expansion
from .llm import CHARS_PER_TOKEN

if TYPE_CHECKING:
    from .retrieval import Hit

Select = Literal["top_k", "gradient", "mmr", "greedy", "tree"]
SELECTS: tuple[str, ...] = get_args(Select)
SETS = ("greedy", "tree")  # they look for a set under a budget of tokens

NUM_CANDIDATES = 100  # read for the stages below; more where more are to be returned
TREE_CANDIDATES = 60  # of them that greedy and tree look at: the reward compares each with each
RERANKED_ITERATIONS, RERANKED_WIDTH = 6, 8  # of the tree where a model reads every set

FetchVectors = Callable[[Sequence[int]], tuple[NDArray[np.int64], Vectors]]
CountTokens = Callable[[str], int]

SEVERAL = re.compile(
    r"\b(?:how (?:many|often)|both|all|list|ever|each|every|everything|various|different|several|in common|"
    r"(?:what|which)(?: (?:kinds?|types?|sorts?) of)? (?:\w+ )?(?!(?:does|was|is|has|his|this|its)\b)\w+(?<![su])s)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Refinement:
    """What a request wants of it. focus: how many sentences. max_tokens: of all returned texts together. min_k, drop:
    see selection.gradient_cut. seed: of the tree search."""

    rerank: bool = False
    select: Select = "top_k"
    diversity: bool = False
    focus: int | None = None
    max_tokens: int | None = None
    mmr_lambda: float = selection.MMR_LAMBDA
    min_k: int = selection.MIN_K
    drop: float = selection.DROP
    seed: int = 0

    def under(self, max_tokens: int) -> Refinement:
        """For whoever counts the tokens of what it makes of the hits: those that look for a set are told the budget,
        and nothing else is cut by it."""
        return replace(self, max_tokens=max_tokens if self.select in SETS else None)

    @property
    def does_nothing(self) -> bool:
        reranks = self.rerank and reranking.is_configured()
        return not (reranks or self.diversity or self.focus or self.max_tokens is not None) and self.select == "top_k"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a candidate. stage: the one that cut it; of a kept one, empty."""

    name: str
    kept: bool
    stage: str = ""
    why: str = ""


@dataclass(slots=True)
class Trace:
    """Filled by a search, for explain. fates: of every candidate, in the order of retrieval. expansion: where a model
    was to be asked for other wordings."""

    stages: list[dict[str, Any]] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    expansion: Expansion | None = None

    @property
    def all_notes(self) -> list[str]:
        """What was asked for and could not be done."""
        return [*(self.expansion.notes if self.expansion else []), *self.notes]


def num_candidates(refinement: Refinement, top_k: int) -> int:
    """How many hits to retrieve for top_k of them to be returned."""
    return top_k if refinement.does_nothing else max(top_k, NUM_CANDIDATES)


def num_tokens(text: str) -> int:
    """About; at least 1. Every cost and every budget here is counted by it."""
    return max(1, -(-len(text) // CHARS_PER_TOKEN))


def asks_for_several(query: str) -> bool:
    """Whether a question wants more than one thing, by its English words: "which books", "how many", "ever"."""
    return bool(SEVERAL.search(query))


def refine(
    query: str,
    hits: Sequence[Hit],
    refinement: Refinement,
    top_k: int,
    *,
    fetch_vectors: FetchVectors,
    count_tokens: CountTokens = num_tokens,
    trace: Trace | None = None,
) -> list[Hit]:
    """At most top_k of the hits, best first; their texts have at most max_tokens together.

    hits: in the order of retrieval, which counts before their scores. fetch_vectors: memory ids -> (the ids that have a
    vector, their vectors (M, D), unit length). Breakdowns, scores (by rerank) and sentences (by focus) are written into
    the hits.
    """
    run = _Run(query, list(hits), refinement, top_k, fetch_vectors, count_tokens, trace or Trace())
    if refinement.rerank:
        run.stage("rerank", run.rerank)
    if refinement.diversity:
        run.stage("diversity", run.diversify)
    run.stage("select", run.select)
    if refinement.focus:
        run.stage("focus", run.focus)
    run.tell()
    return [run.hits[i] for i in run.order]


class _Run:
    """One call of `refine`. order: indices of the hits that are left. scores: (N,) by index, never rising along order,
    as the order of retrieval moves repetition back whatever its score."""

    def __init__(
        self,
        query: str,
        hits: list[Hit],
        refinement: Refinement,
        top_k: int,
        fetch_vectors: FetchVectors,
        count_tokens: CountTokens,
        trace: Trace,
    ) -> None:
        self.query, self.hits, self.refinement, self.top_k = query, hits, refinement, top_k
        self.fetch_vectors, self.trace = fetch_vectors, trace
        self.order = list(range(len(hits)))
        self.scores = np.minimum.accumulate(np.array([hit.score for hit in hits], np.float64))
        self.texts = [text_of(hit) for hit in hits]
        self.tokens = [count_tokens(text) for text in self.texts] if self.counts_tokens else [1] * len(hits)
        self.cut: dict[int, tuple[str, str]] = {}
        self._vectors: Vectors | None = None

    @property
    def counts_tokens(self) -> bool:
        return self.refinement.max_tokens is not None or self.refinement.select in SETS

    def stage(self, name: str, run: Callable[[], dict[str, Any]]) -> None:
        """run: returns what explain shows of it."""
        before, started = len(self.order), time.perf_counter()
        details = run()
        took_ms = round(1000 * (time.perf_counter() - started), 2)
        self.trace.stages.append({"stage": name, "before": before, "after": len(self.order), "ms": took_ms} | details)

    def keep(self, order: list[int], stage: str, why: str | Callable[[int], str]) -> None:
        """order: some of those that are left. The others were cut, and why."""
        kept = set(order)
        for i in self.order:
            if i not in kept:
                self.cut[i] = (stage, why if isinstance(why, str) else why(i))
        self.order = order

    def tell(self) -> None:
        for i, hit in enumerate(self.hits):
            stage, why = self.cut.get(i, ("", ""))
            self.trace.fates.append(Fate(name_of(hit), i not in self.cut, stage, why))

    # Rerank

    def rerank(self) -> dict[str, Any]:
        """The first RERANK_CANDIDATES by the model; the rest stay behind them, as they were."""
        first, rest = self.order[: reranking.num_candidates()], self.order[reranking.num_candidates() :]
        found = reranking.score_texts(self.query, [self.texts[i] for i in first])
        if isinstance(found, reranking.Unavailable):
            self.trace.notes.append(found.why)
            return {"done": False}
        for i, score in zip(first, found.tolist(), strict=True):
            self.hits[i].breakdown |= {"fused": round(self.hits[i].score, 4), "rerank": round(score, 4)}
            self.hits[i].score = self.scores[i] = score
        self.order = [first[place] for place in np.argsort(-found, kind="stable")] + rest
        if rest:
            self.scores[rest] = np.minimum(self.scores[rest], found.min())
        return {"done": True, "scored": len(first)}

    # Diversity

    def diversify(self) -> dict[str, Any]:
        if not asks_for_several(self.query):
            return {"done": False, "why": "the question asks for one thing"}
        sessions = [session_of(self.hits[i]) for i in self.order]
        found = selection.diversify(self.scores[self.order], sessions)
        order = [self.order[place] for place in found.order]
        for i, score in zip(order, found.scores, strict=True):
            if score < self.scores[i]:
                self.hits[i].breakdown["diversity"] = round(score / self.scores[i], 4)
                self.scores[i] = score
        self.order = order
        return {"done": True, "sessions": len(set(sessions))}

    # Select

    def select(self) -> dict[str, Any]:
        methods = {"gradient": self._up_to_the_fall, "mmr": self._different, "greedy": self._set, "tree": self._set}
        details = methods[self.refinement.select]() if self.refinement.select in methods else {}
        self._fill()
        return {"method": self.refinement.select} | details

    def _fill(self) -> None:
        """top_k and max_tokens, whatever came before."""
        budget = self.refinement.max_tokens
        if budget is None:
            self.keep(self.order[: self.top_k], "select", f"behind the first {self.top_k}")
            return
        places = selection.greedy_fill(
            range(0, -len(self.order), -1), [self.tokens[i] for i in self.order], budget, max_items=self.top_k
        )
        full = len(places) == self.top_k
        self.keep(
            [self.order[place] for place in places],
            "select",
            lambda i: f"behind the first {self.top_k} that fit" if full else f"{self.tokens[i]} tokens did not fit",
        )

    def _up_to_the_fall(self) -> dict[str, Any]:
        drop = self.refinement.drop
        kept = selection.gradient_cut(np.clip(self.scores[self.order], 0, 1), self.refinement.min_k, drop)
        self.keep(self.order[:kept], "select", f"the score falls by more than {drop:.0%} after the first {kept}")
        return {"kept": kept}

    def _different(self) -> dict[str, Any]:
        best = self.scores[self.order[0]] if self.order else 0.0
        relevance = self.scores[self.order] / (best or 1.0)
        vectors = self.vectors()[self.order]
        num = self.top_k if self.refinement.max_tokens is None else None
        found = selection.mmr(relevance, vectors, self.refinement.mmr_lambda, num=num)
        order = [self.order[place] for place in found.order]
        for i, value in zip(order, found.scores, strict=True):
            self.hits[i].breakdown["mmr"] = round(value, 4)
        self.keep(order, "select", "too like what was chosen before it")
        return {"lambda": self.refinement.mmr_lambda}

    def _set(self) -> dict[str, Any]:
        """The best set under the budget; where none is named, of as many tokens as the first top_k have."""
        tree, order = self.refinement.select == "tree", self.order[:TREE_CANDIDATES]
        tokens = [self.tokens[i] for i in order]
        budget = self.refinement.max_tokens
        if budget is None:
            budget = sum(tokens[: self.top_k])
        if not order or budget < min(tokens):
            return {"budget": budget}
        scores = np.clip(self.scores[order], 0, 1)
        cheap = self._evidence(order, scores, tokens, budget)
        found = selection.greedy_marginal(cheap, tokens, budget, max_items=self.top_k)
        if tree:
            reads = self.refinement.rerank and reranking.is_configured()
            reward, size = (self._read_sets(order), (RERANKED_ITERATIONS, RERANKED_WIDTH)) if reads else (cheap, None)
            found = selection.tree_search(
                reward,
                scores,
                tokens,
                budget,
                iterations=size[0] if size else selection.ITERATIONS,
                width=size[1] if size else None,
                max_items=self.top_k,
                starts=[found.chosen],
                seed=self.refinement.seed,
            )
        self.keep([order[place] for place in found.chosen], "select", "not in the best set")
        return {
            "budget": budget,
            "reward": round(found.reward, 4),
            "sets": found.num_scored,
            "batches": found.num_batches,
        }

    def _evidence(self, order: list[int], scores: selection.Scores, tokens: list[int], budget: int) -> Any:
        words = sorted(set(lexical.terms(self.query)))
        held = [set(lexical.terms(self.texts[i])) for i in order]
        holds = np.array([[word in one for word in words] for one in held], np.bool_).reshape(len(order), len(words))
        weights = np.array([lexical.idf(int(count), len(order)) for count in holds.sum(axis=0)])
        return selection.EvidenceReward(
            scores, self.vectors()[order], holds, weights, tokens, budget, max_items=self.top_k
        )

    def _read_sets(self, order: list[int]) -> selection.Reward:
        """What the cross-encoder makes of the question and the texts of a set, in rank order; 0 for the empty set."""

        def reward(sets: selection.Sets) -> selection.Scores:
            joined = ["\n".join(self.texts[order[i]] for i in np.flatnonzero(row)) for row in sets]
            found = reranking.score_texts(self.query, joined)
            if isinstance(found, reranking.Unavailable):
                return np.zeros(len(sets))
            return np.where(sets.any(axis=1), found, 0.0)

        return reward

    # Focus

    def focus(self) -> dict[str, Any]:
        assert self.refinement.focus is not None  # the caller looked
        vectors = self.vectors()
        passages = [
            focus.Passage(
                self.texts[i],
                float(self.scores[i]),
                speaker_of(self.hits[i]),
                vectors[i] if vectors[i].any() else None,
            )
            for i in self.order
        ]
        kept = focus.choose_sentences(passages, embed_query(self.query), self.refinement.focus, embed=embed_texts)
        best = {i: max(s.score for s in found) for i, found in zip(self.order, kept, strict=True) if found}
        for i, found in zip(self.order, kept, strict=True):
            if found:
                self.hits[i].sentences = found
                self.hits[i].breakdown["focus"] = round(best[i], 4)
        why = f"none of its sentences is among the {self.refinement.focus} best"
        self.keep(sorted(best, key=lambda i: -best[i]), "focus", why)
        return {"sentences": sum(map(len, kept))}

    def vectors(self) -> Vectors:
        """(N, D) for all hits; zeros for one that has none."""
        if self._vectors is None:
            rows = {hit.memory.pk: i for i, hit in enumerate(self.hits) if hit.memory is not None}
            ids, found = self.fetch_vectors(list(rows))
            self._vectors = np.zeros((len(self.hits), found.shape[1]), np.float32)
            self._vectors[[rows[int(i)] for i in ids]] = found
            self._add_chunks(self._vectors)
        return self._vectors

    def _add_chunks(self, vectors: Vectors) -> None:
        chunks = {i: hit.chunk for i, hit in enumerate(self.hits) if hit.chunk is not None}
        if chunks:
            known = document_search.load_vectors([chunk.passage_id for chunk in chunks.values()])
            for i, chunk in chunks.items():
                if chunk.passage_id in known:
                    vectors[i] = known[chunk.passage_id]


def text_of(hit: Hit) -> str:
    """As it is returned."""
    if hit.memory is not None:
        return hit.memory.text
    if hit.chunk is not None:
        return hit.chunk.text
    assert hit.message is not None  # a hit is one of them
    return f"{hit.message.name}: {hit.message.content}" if hit.message.name else hit.message.content


def sentence_texts(hit: Hit) -> list[str]:
    """In focus mode, the sentences that were kept of it, in their order."""
    text = text_of(hit)
    return [text[sentence.start : sentence.end] for sentence in hit.sentences]


def speaker_of(hit: Hit) -> str | None:
    return hit.memory.speaker if hit.memory is not None else hit.message.name if hit.message else None


def session_of(hit: Hit) -> Any:
    """Of its first source, since a fact belongs to the talk it was drawn from; None where there is none."""
    if hit.sources:
        return hit.sources[0].session
    if hit.chunk is not None:
        return hit.chunk.document.public_id
    return hit.message.session.public_id if hit.message is not None else None


def name_of(hit: Hit) -> str:
    row = hit.memory or hit.message or hit.chunk
    assert row is not None  # a hit is one of them
    return str(row.public_id)
