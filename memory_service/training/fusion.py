"""Fits the learned fusion: a few weights over the signals of signals.py, for questions whose evidence is known.

    loss = - mean over questions of  mean over its evidence e of  log softmax(w . x)_e   +  l2 * |w * s|^2

the softmax over all documents of the question's history, x a document's signals, s their standard deviations. Each
corpus counts the same, however many questions it has. Afterwards scale and bias are set by a logistic fit of evidence
against everything else, both classes with the same weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from .. import lexical, questions, signals, traits
from ..embedding import Vectors
from ..search_cache import Documents
from ..signals import Scores
from ..windows import Windows
from .corpora import History

L2 = 0.3
DEPTH = 10  # of the recall that is reported

Embed = Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True)
class Example:
    """A question. signals: (N, F) over its history's documents. evidence: (N,)"""

    corpus: str
    signals: NDArray[np.float32]
    evidence: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fitted:
    names: tuple[str, ...]
    weights: Scores
    bias: float

    def as_record(self) -> dict[str, Any]:
        rounded = {name: round(float(weight), 4) for name, weight in zip(self.names, self.weights, strict=True)}
        return {"weights": rounded, "bias": round(self.bias, 4)}


def to_documents(history: History) -> tuple[Documents, list[dict[str, int]]]:
    """As a search would have them, and the terms of each."""
    turns = [(number, turn) for number, session in enumerate(history.sessions) for turn in session]
    counts = [dict(lexical.count_terms(turn.rendered)) for _, turn in turns]
    ids = np.arange(len(turns))
    session = np.array([number for number, _ in turns])
    linked = session[1:] == session[:-1]
    packed = np.array([traits.of(turn.rendered, turn.speaker, is_turn=True) for _, turn in turns], np.int64)
    documents = Documents(
        ids,
        np.array([sum(terms.values()) for terms in counts], np.float64),
        np.ones(len(turns), np.int64),
        linked,
        ids,
        traits.unpack(packed),
        session,
        len(history.sessions),
        Windows(linked),
    )
    return documents, counts


def examples_of(history: History, embed: Embed, names: Sequence[str]) -> Iterable[Example]:
    documents, counts = to_documents(history)
    turns = [turn for session in history.sessions for turn in session]
    vectors = embed([turn.rendered for turn in turns])
    asked = embed([text for text, _ in history.questions]) if history.questions else vectors[:0]
    postings: dict[str, Scores] = {}

    def frequencies(terms: Iterable[str]) -> dict[str, Scores]:
        for term in terms:
            if term not in postings:
                postings[term] = np.array([count.get(term, 0) for count in counts], np.float64)
        return {term: postings[term] for term in terms if postings[term].any()}

    for (text, evidence), vector in zip(history.questions, asked, strict=True):
        question = questions.read(text, documents.traits)
        cosines = np.clip(vectors @ vector, 0.0, 1.0).astype(np.float64)
        found = signals.compute(documents, question, frequencies(question.content), cosines, wanted=signals.NAMES)
        if "pseudo_feedback" in names:
            first = np.mean([found[name] for name in signals.BASIC], axis=0)
            best = np.argsort(-first, kind="stable")[: signals.NUM_FEEDBACK_TEXTS]
            chosen = signals.feedback_candidates(
                [counts[row] for row in best], [float(first[row]) for row in best], known=set(question.terms)
            )
            found["pseudo_feedback"] = signals.feedback(documents, chosen, frequencies(chosen))
        matrix = np.stack([found[name] for name in names], axis=1).astype(np.float32)
        yield Example(history.corpus, matrix, np.array([turn.id in evidence for turn in turns]))


def fit(examples: Sequence[Example], names: Sequence[str], *, l2: float = L2) -> Fitted:
    """Raises ValueError where no example has evidence."""
    examples = [example for example in examples if example.evidence.any()]
    if not examples:
        raise ValueError("no question has evidence: give corpora with labelled questions")
    columns = [names.index(name) for name in names]
    spread = np.concatenate([example.signals[:, columns] for example in examples[:: max(1, len(examples) // 400)]])
    scale = spread.std(axis=0).astype(np.float64) + 1e-3
    corpora = [example.corpus for example in examples]
    shares = np.array([1.0 / corpora.count(corpus) for corpus in corpora]) / len(set(corpora))
    starts = np.cumsum([0, *(len(example.evidence) for example in examples)])[:-1]
    sizes = np.diff([*starts, sum(len(example.evidence) for example in examples)])
    stacked = np.concatenate([example.signals for example in examples]) / scale.astype(np.float32)
    evidence = np.concatenate([example.evidence for example in examples])
    of = np.repeat(np.arange(len(examples)), sizes)
    wanted = np.zeros(len(evidence))
    counts = np.add.reduceat(evidence.astype(np.float64), starts)
    wanted[evidence] = 1.0 / counts[of[evidence]]

    def loss(weights: Scores) -> tuple[float, Scores]:
        logits = (stacked @ weights.astype(np.float32)).astype(np.float64)
        top = np.maximum.reduceat(logits, starts)
        exp = np.exp(logits - top[of])
        sums = np.add.reduceat(exp, starts)
        log_sums = np.log(sums) + top
        value = float(shares @ (log_sums - np.add.reduceat(wanted * logits, starts)))
        residual = (exp / sums[of] - wanted) * shares[of]
        gradient = (residual.astype(np.float32) @ stacked).astype(np.float64) + 2 * l2 * weights
        return value + l2 * float(weights @ weights), gradient

    solved = minimize(loss, np.zeros(len(names)), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    weights = solved.x / scale
    steepness, bias = _calibrate(examples, weights, shares)
    return Fitted(tuple(names), weights * steepness, bias)


def _calibrate(examples: Sequence[Example], weights: Scores, shares: Scores) -> tuple[float, float]:
    """(factor on the logits, bias) so that the logistic curve tells evidence from the rest."""
    logits, labels, worth = [], [], []
    for example, share in zip(examples, shares, strict=True):
        scores = example.signals @ weights
        rivals, true = scores[~example.evidence], scores[example.evidence]
        logits.extend([*true, *rivals])
        labels.extend([1.0] * len(true) + [0.0] * len(rivals))
        worth.extend([share / len(true)] * len(true) + [share / max(1, len(rivals))] * len(rivals))
    z, y, w = np.array(logits), np.array(labels), np.array(worth)

    def loss(parameters: Scores) -> tuple[float, Scores]:
        value = parameters[0] * z + parameters[1]
        error = w * (1.0 / (1.0 + np.exp(-value)) - y)
        return float(w @ (np.logaddexp(0.0, value) - y * value)), np.array([error @ z, error.sum()])

    solved = minimize(loss, np.array([1.0, -float(np.median(z))]), jac=True, method="L-BFGS-B")
    return float(solved.x[0]), float(solved.x[1])


def recall(examples: Iterable[Example], weights: Scores) -> dict[str, float]:
    """corpus -> mean recall among the first DEPTH documents."""
    found: dict[str, list[float]] = {}
    for example in examples:
        if example.evidence.any():
            best = np.argsort(-(example.signals @ weights), kind="stable")[:DEPTH]
            most = min(DEPTH, int(example.evidence.sum()))
            found.setdefault(example.corpus, []).append(float(example.evidence[best].sum()) / most)
    return {corpus: round(float(np.mean(values)), 4) for corpus, values in found.items()}


def left_out(examples: Sequence[Example], names: Sequence[str], *, l2: float) -> dict[str, float]:
    """corpus -> recall on it of weights that were fitted to the others alone."""
    scores: dict[str, float] = {}
    for corpus in sorted({example.corpus for example in examples}):
        fitted = fit([example for example in examples if example.corpus != corpus], names, l2=l2)
        scores |= recall((example for example in examples if example.corpus == corpus), fitted.weights)
    return scores


def equal_weights(names: Sequence[str]) -> Scores:
    """The mean of the basic signals: what the learned weights are compared with."""
    return np.array([1.0 if name in signals.BASIC else 0.0 for name in names])


def train(examples: Sequence[Example], names: Sequence[str], *, l2: float) -> tuple[Fitted, Mapping[str, Any]]:
    """(the weights, what is to be known of them)"""
    fitted = fit(examples, names, l2=l2)
    return fitted, {
        "recall_at_10": recall(examples, fitted.weights),
        "recall_at_10_of_the_others_weights": left_out(examples, names, l2=l2),
        "recall_at_10_of_equal_weights": recall(examples, equal_weights(names)),
    }
