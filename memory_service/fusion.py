"""Signals -> one score for each document, from 0 to 1.

    learned      a weighted sum of all signals, through a logistic curve; the weights stand in fusion.json beside this
    mean         the mean of the four basic signals
    reciprocal   reciprocal rank over the same four (Cormack, Clarke and Buettcher, SIGIR 2009; k = 60)

The learned weights come from `manage.py train_fusion`, with the record of the data they were fitted to. Their curve is
set so that at 0.5 a document is as much like the evidence of those sets as like the rest of their documents.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from .signals import BASIC, Scores

Fusion = Literal["learned", "mean", "reciprocal"]
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)

WEIGHTS_FILE = Path(__file__).with_name("fusion.json")
RECIPROCAL_K = 60
# Signals that no training set has. 1 on the logit is about what the speaker is worth.
BY_HAND = {"time": 1.0, "graph": 1.0}


@dataclass(frozen=True, slots=True)
class Weights:
    """score = 1 / (1 + exp(-(bias + sum of weight * signal)))"""

    weights: Mapping[str, float]
    bias: float

    def extended(self, more: Mapping[str, float]) -> Weights:
        return Weights({**more, **self.weights}, self.bias)

    def contributions(self, signals: Mapping[str, Scores]) -> dict[str, Scores]:
        """(N,) for each signal that has a weight: what it adds to the logit."""
        return {name: weight * signals[name] for name, weight in self.weights.items() if name in signals}


@lru_cache(maxsize=1)
def load_weights() -> dict[str, Weights]:
    """`plain`, and `feedback` with the signal of pseudo-relevance feedback."""
    record: dict[str, Any] = json.loads(WEIGHTS_FILE.read_text())
    return {name: Weights(one["weights"], one["bias"]) for name, one in record["models"].items()}


def learned_weights(*, with_feedback: bool) -> Weights:
    return load_weights()["feedback" if with_feedback else "plain"]


def fuse(signals: Mapping[str, Scores], fusion: Fusion, weights: Weights) -> Scores:
    """(N,). A signal that is missing counts as 0, which is the same for every document."""
    if fusion == "learned":
        logits = sum(weights.contributions(signals).values(), np.zeros(1)) + weights.bias
        return np.asarray(1.0 / (1.0 + np.exp(-logits)))
    basic = [signals[name] for name in BASIC if name in signals]
    if not basic:
        return np.zeros(len(next(iter(signals.values()))))
    if fusion == "mean":
        return np.asarray(np.mean(basic, axis=0))
    return np.asarray(np.mean([reciprocal_rank(signal) for signal in basic], axis=0))


def reciprocal_rank(values: Scores) -> Scores:
    """(N,) k / (k + rank), 1 for the first; 0 for what has the signal not at all."""
    order = np.argsort(-values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(len(values))
    return np.asarray(np.where(values > 0, RECIPROCAL_K / (RECIPROCAL_K + ranks), 0.0))
