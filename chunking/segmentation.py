"""SAGE's segmentation model: do two neighbouring sentences belong to one chunk?

An MLP over the vectors x1, x2 of the two sentences, on the features [x1, x2, x1 - x2, x1 * x2]; where it doubts, the
text is cut. Source: SAGE (arXiv:2503.01713). The weights here are ours, trained for the vectors of all-MiniLM-L6-v2 on
the paragraphs of public books; their record lies beside them. Inference is numpy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pieces import check_float, check_one_of, check_sizes, join, sentence_pieces, texts
from .segments import Scores, best_cuts, greedy_cuts
from .tokens import Tokenize, tokenized
from .types import Chunk, Embed, Vectors

WEIGHTS_FILE = Path(__file__).with_name("segmentation.npz")
RECORD_FILE = Path(__file__).with_name("segmentation.json")
FEATURES = ("plain", "absolute")
METHODS = ("threshold", "log_odds")
BATCH = 4096  # pairs whose features are in memory at once
CERTAIN = 1e-6  # probabilities are kept this far from 0 and 1


@dataclass(frozen=True, slots=True)
class SegmentationModel:
    """layers: (weights (in, out), bias (out,)) each; ReLU between, a logistic function behind the last.

    features: "plain" is [x1, x2, x1 - x2, x1 * x2], "absolute" has |x1 - x2| in the third place.
    """

    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    features: str = "plain"

    @property
    def dimensions(self) -> int:
        """Of the vectors that it was trained for."""
        return int(self.layers[0][0].shape[0]) // 4

    def score(self, left: Vectors, right: Vectors) -> Scores:
        """(N, D) and (N, D) -> (N,) from 0 to 1: how likely each pair belongs to one chunk.

        Raises ValueError for vectors of another size.
        """
        if left.shape != right.shape or left.shape[1] != self.dimensions:
            raise ValueError(
                f"the segmentation model reads pairs of {self.dimensions}-dimensional vectors, "
                f"not of {left.shape} and {right.shape}: train one for this embedder with manage.py train_segmenter"
            )
        scores = np.empty(len(left), dtype=np.float64)
        for start in range(0, len(left), BATCH):
            part = slice(start, start + BATCH)
            hidden = pair_features(left[part], right[part], self.features)
            for number, (weights, bias) in enumerate(self.layers, 1):
                hidden = hidden @ weights + bias
                if number < len(self.layers):
                    np.maximum(hidden, 0.0, out=hidden)
            scores[part] = 1.0 / (1.0 + np.exp(-hidden[:, 0].astype(np.float64)))
        return scores

    def save(self, path: Path) -> None:
        """As float16, in numpy's own format."""
        arrays = {f"{kind}{i}": a for i, layer in enumerate(self.layers) for kind, a in zip("wb", layer, strict=True)}
        halves: dict[str, Any] = {name: array.astype(np.float16) for name, array in arrays.items()}
        np.savez_compressed(path, allow_pickle=False, features=np.array(self.features), **halves)


def read_model(path: Path) -> SegmentationModel:
    """What `save` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        num_layers = sum(name.startswith("w") for name in kept.files)
        layers = tuple((kept[f"w{i}"].astype(np.float32), kept[f"b{i}"].astype(np.float32)) for i in range(num_layers))
        return SegmentationModel(layers, str(kept["features"]))


@lru_cache(maxsize=1)
def bundled_model() -> SegmentationModel:
    """The one in this package, for vectors of all-MiniLM-L6-v2."""
    return read_model(WEIGHTS_FILE)


@lru_cache(maxsize=1)
def bundled_threshold() -> float:
    """The score under which the bundled model is right more often than not to cut; from its record."""
    return float(json.loads(RECORD_FILE.read_text())["threshold"])


def pair_features(left: Vectors, right: Vectors, kind: str = "plain") -> NDArray[np.float32]:
    """(N, D) and (N, D) -> (N, 4 D)."""
    difference = left - right
    if kind == "absolute":
        np.abs(difference, out=difference)
    return np.concatenate([left, right, difference, left * right], axis=1, dtype=np.float32)


def split_segmentation(
    text: str,
    *,
    embed: Embed,
    tokenize: Tokenize | None = None,
    threshold: float | None = None,
    method: str = "threshold",
    min_tokens: int | None = None,
    max_tokens: int = 300,
    model: SegmentationModel | None = None,
) -> list[Chunk]:
    """Cuts between two sentences whose score is below threshold.

    threshold: 0 to 1; None takes the one in the record of the bundled model. method: "threshold" goes from left to
    right; "log_odds" chooses, under the same bounds of size, the cuts whose log odds of being right, against the
    threshold, sum to the most. model: None takes the bundled one.
    """
    least, max_tokens = check_sizes(min_tokens, max_tokens)
    method = check_one_of("method", method, METHODS)
    if model is not None and not isinstance(model, SegmentationModel):
        raise ValueError(f"model={model!r} must be a SegmentationModel")
    cut_below = bundled_threshold() if threshold is None else check_float("threshold", threshold, low=0.0, high=1.0)
    document = tokenized(text, tokenize)
    pieces = sentence_pieces(document, max_tokens)
    scores = pair_scores(texts(document, pieces), embed, model or bundled_model())
    counts = document.count_spans(pieces).tolist()
    edges = cut(counts, scores, cut_below, method=method, min_tokens=least, max_tokens=max_tokens)
    return document.chunks(join(pieces, edges))


def pair_scores(sentences: Sequence[str], embed: Embed, model: SegmentationModel) -> Scores:
    """(N - 1,) how likely each sentence and its next belong together."""
    if len(sentences) < 2:
        return np.zeros(0)
    vectors = embed(sentences)  # (N, D)
    return model.score(vectors[:-1], vectors[1:])


def cut(
    counts: Sequence[int], scores: Scores, threshold: float, *, method: str, min_tokens: int, max_tokens: int
) -> list[int]:
    """Edges, from 0 to the number of pieces, both included. scores: of belonging together, (N - 1,)."""
    if method == "threshold":
        wanted = (scores < threshold).tolist()
        return greedy_cuts(counts, wanted, min_tokens=min_tokens, max_tokens=max_tokens)
    gains = _log_odds(np.asarray(threshold)) - _log_odds(scores)
    return best_cuts(counts, gains, min_tokens=min_tokens, max_tokens=max_tokens)


def _log_odds(probability: Scores) -> Scores:
    inside = np.clip(probability, CERTAIN, 1.0 - CERTAIN)
    odds: Scores = np.log(inside) - np.log1p(-inside)
    return odds
