"""Fits the segmentation model: pairs of neighbouring sentences, of one paragraph or of two.

    books          public-domain books; a blank line between two sentences is a boundary
    FairytaleQA    (Apache-2.0; Xu et al., ACL 2022) stories; the end of a section is a boundary
    QMSum          (MIT; Zhong et al., NAACL 2021) meetings, a turn as a sentence; the end of a topic is a boundary

Each set holds documents back that the model is measured on and never fitted to. Each set, and in it each class, counts
the same. Everything is drawn with a fixed seed.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from chunking.segmentation import SegmentationModel, pair_features
from chunking.sentences import sentence_spans

Part = Literal["train", "valid", "test"]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]

SENTENCES_A_BOOK, RUN_PARAGRAPHS = 500, 40
MAX_STORIES, MAX_MEETINGS = {"train": 50, "valid": 10, "test": 12}, {"train": 30, "valid": 5, "test": 10}
MAX_TURNS = 250  # of a meeting
MIN_WORDS = 4
MAX_SENTENCE_CHARS = 1_200
HIDDEN, DROPOUT = 128, 0.3
EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 40, 256, 5e-4, 1e-2


@dataclass(frozen=True, slots=True)
class Run:
    """Sentences that follow each other. together: (N - 1,) whether each and its next belong to one piece."""

    corpus: str
    document: str
    part: Part
    sentences: tuple[str, ...]
    together: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """left, right: (N, D). labels: (N,) 1 for one piece. corpora: (N,) names."""

    left: NDArray[np.float32]
    right: NDArray[np.float32]
    labels: NDArray[np.float64]
    corpora: NDArray[np.str_]

    def of(self, corpus: str) -> Pairs:
        rows = self.corpora == corpus
        return Pairs(self.left[rows], self.right[rows], self.labels[rows], self.corpora[rows])


def read_all(folders: Sequence[Path], *, seed: int = 0) -> list[Run]:
    """folders: each holds books (*.md), or FairytaleQA's or QMSum's train.jsonl and val.jsonl.

    Raises FileNotFoundError for a folder that holds none of these.
    """
    rng = random.Random(seed)
    runs: list[Run] = []
    for folder in folders:
        files = sorted(folder.glob("*.jsonl"))
        if files:
            first = json.loads(files[0].open().readline())
            runs.extend((read_stories if "sections" in first else read_meetings)(folder, rng))
        elif books := sorted(folder.glob("*.md")):
            runs.extend(read_books(books, rng))
        else:
            raise FileNotFoundError(f"{folder} holds neither books (*.md) nor train.jsonl and val.jsonl")
    return runs


def _part(number: int) -> Part:
    """Every fifth document to measure on, every tenth to choose the epoch by."""
    return "test" if number % 5 == 4 else "valid" if number % 10 == 7 else "train"


def _pieces_to_run(corpus: str, document: str, part: Part, pieces: Sequence[Sequence[str]]) -> Run:
    sentences = tuple(sentence for piece in pieces for sentence in piece)
    of = [number for number, piece in enumerate(pieces) for _ in piece]
    return Run(corpus, document, part, sentences, tuple(a == b for a, b in pairwise(of)))


def _sentences(text: str) -> list[str]:
    spans = sentence_spans(" ".join(text.split()))
    found = [" ".join(text.split())[a:b].strip()[:MAX_SENTENCE_CHARS] for a, b in spans]
    return [sentence for sentence in found if sentence]


def read_books(paths: Sequence[Path], rng: random.Random) -> Iterator[Run]:
    for number, path in enumerate(paths):
        text = re.sub(r"^(#|---).*$", "", path.read_text(), flags=re.MULTILINE)
        paragraphs = [p for p in re.split(r"\n\s*\n", text) if len(p.split()) >= MIN_WORDS]
        held = 0
        starts = list(range(0, max(1, len(paragraphs) - RUN_PARAGRAPHS), RUN_PARAGRAPHS))
        rng.shuffle(starts)
        for start in starts:
            pieces = [_sentences(paragraph) for paragraph in paragraphs[start : start + RUN_PARAGRAPHS]]
            run = _pieces_to_run("books", path.stem, _part(number), [piece for piece in pieces if piece])
            yield run
            held += len(run.sentences)
            if held >= SENTENCES_A_BOOK:
                break


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines() if line.strip()]


def _parts(folder: Path, most: Mapping[Part, int], rng: random.Random) -> Iterator[tuple[Part, dict[str, Any]]]:
    known, held_out = _rows(folder, "train.jsonl"), _rows(folder, "val.jsonl")
    rng.shuffle(known)
    rng.shuffle(held_out)
    yield from (("train", row) for row in known[: most["train"]])
    yield from (("valid", row) for row in known[most["train"] :][: most["valid"]])
    yield from (("test", row) for row in held_out[: most["test"]])


def read_stories(folder: Path, rng: random.Random) -> Iterator[Run]:
    for part, story in _parts(folder, MAX_STORIES, rng):  # type: ignore[arg-type]  # dict's keys are these words
        pieces = [_sentences(section["text"]) for section in story["sections"]]
        yield _pieces_to_run("fairytaleqa", str(story["story"]), part, [piece for piece in pieces if piece])


def read_meetings(folder: Path, rng: random.Random) -> Iterator[Run]:
    for part, meeting in _parts(folder, MAX_MEETINGS, rng):  # type: ignore[arg-type]
        ends = {int(end) for topic in meeting["topic_list"] for _, end in topic["relevant_text_span"]}
        pieces: list[list[str]] = [[]]
        for place, turn in enumerate(meeting["meeting_transcripts"]):
            said = " ".join(re.sub(r"\{[^}]*\}", "", turn["content"]).split())[:MAX_SENTENCE_CHARS]
            if len(said.split()) >= MIN_WORDS:
                pieces[-1].append(said)
            if place in ends:
                pieces.append([])
        kept = [piece for piece in pieces if piece]
        run = _pieces_to_run("qmsum", str(meeting.get("meeting", "")), part, kept)
        yield Run(run.corpus, run.document, part, run.sentences[:MAX_TURNS], run.together[: MAX_TURNS - 1])


def to_pairs(runs: Sequence[Run], embed: Embed, *, far_share: float = 0.0, seed: int = 0) -> Pairs:
    """The vectors of all neighbouring sentences.

    far_share: for each pair, how many more that are made of two sentences of different runs, as boundaries.
    """
    rng = np.random.default_rng(seed)
    left: list[NDArray[np.float32]] = []
    right: list[NDArray[np.float32]] = []
    labels: list[bool] = []
    corpora: list[str] = []
    for run in runs:
        if len(run.sentences) < 2:
            continue
        vectors = embed(run.sentences)
        left.append(vectors[:-1])
        right.append(vectors[1:])
        labels.extend(run.together)
        corpora.extend([run.corpus] * len(run.together))
    first, second = np.concatenate(left), np.concatenate(right)
    names, wanted = np.array(corpora), np.array(labels, dtype=np.float64)
    num_far = int(far_share * len(first))
    if num_far:
        a, b = rng.integers(0, len(first), (2, num_far))
        apart = np.abs(a - b) > MAX_TURNS
        a, b = a[apart], b[apart]
        first, second = np.concatenate([first, first[a]]), np.concatenate([second, second[b]])
        names, wanted = np.concatenate([names, names[a]]), np.concatenate([wanted, np.zeros(len(a))])
    return Pairs(first, second, wanted, names)


def class_weights(pairs: Pairs) -> NDArray[np.float64]:
    """(N,) that make every corpus, and both classes in it, count the same; their mean is 1."""
    weights = np.zeros(len(pairs.labels))
    for corpus in np.unique(pairs.corpora):
        for label in (0.0, 1.0):
            rows = (pairs.corpora == corpus) & (pairs.labels == label)
            if rows.any():
                weights[rows] = 1.0 / rows.sum()
    mean_one: NDArray[np.float64] = weights / weights.mean()
    return mean_one


def auc(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """How probably a pair of one piece scores above a pair of two; ties count half. nan without both classes."""
    positive = labels > 0.5
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if not num_positive or not num_negative:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative))


def train(
    pairs: Pairs, valid: Pairs, *, features: str = "plain", hidden: int = HIDDEN, epochs: int = EPOCHS, seed: int = 0
) -> tuple[SegmentationModel, int]:
    """The model of the epoch that was best on `valid`, and which one that was. Binary cross-entropy, AdamW."""
    import torch

    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Linear(4 * pairs.left.shape[1], hidden),
        torch.nn.ReLU(),
        torch.nn.Dropout(DROPOUT),
        torch.nn.Linear(hidden, 1),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    x = torch.from_numpy(pair_features(pairs.left, pairs.right, features))  # (N, 4 D)
    y = torch.from_numpy(pairs.labels.astype(np.float32))
    w = torch.from_numpy(class_weights(pairs).astype(np.float32))
    best: tuple[float, int, SegmentationModel] | None = None
    for epoch in range(1, epochs + 1):
        network.train()
        for rows in torch.randperm(len(x)).split(BATCH):  # type: ignore[no-untyped-call]
            logits = network(x[rows])[:, 0]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y[rows], weight=w[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        model = _as_model(network.eval(), features)
        quality = mean_auc(model, valid)
        if best is None or quality > best[0]:
            best = quality, epoch, model
    assert best is not None  # there is at least one epoch
    return best[2], best[1]


def _as_model(network: Any, features: str) -> SegmentationModel:
    linear = [layer for layer in network if hasattr(layer, "weight")]
    layers = tuple((layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in linear)
    return SegmentationModel(layers, features)


def mean_auc(model: SegmentationModel, pairs: Pairs) -> float:
    """Over the corpora."""
    return float(np.nanmean(list(aucs(model, pairs).values())))


def aucs(model: SegmentationModel, pairs: Pairs) -> dict[str, float]:
    scores = model.score(pairs.left, pairs.right)
    return {str(c): auc(scores[pairs.corpora == c], pairs.labels[pairs.corpora == c]) for c in np.unique(pairs.corpora)}


def cosine_aucs(pairs: Pairs) -> dict[str, float]:
    """What the cosine alone tells, to compare."""
    cosines = np.einsum("nd,nd->n", pairs.left, pairs.right).astype(np.float64)
    return {
        str(c): auc(cosines[pairs.corpora == c], pairs.labels[pairs.corpora == c]) for c in np.unique(pairs.corpora)
    }


def best_threshold(model: SegmentationModel, pairs: Pairs) -> float:
    """Where, over all corpora, the two kinds of error sum to the least (Youden's J)."""
    scores, weights = model.score(pairs.left, pairs.right), class_weights(pairs)
    order = np.argsort(scores)
    together = pairs.labels[order] > 0.5
    lost = np.cumsum(np.where(together, weights[order], 0.0))  # cut although of one piece
    missed = np.cumsum(np.where(together, 0.0, weights[order])[::-1])[::-1]  # from here on not cut although of two
    errors = lost[:-1] + missed[1:]
    place = int(np.argmin(errors))
    return float((scores[order][place] + scores[order][place + 1]) / 2)
