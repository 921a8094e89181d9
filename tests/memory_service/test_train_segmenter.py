from __future__ import annotations

import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from chunking.segmentation import SegmentationModel, bundled_model, read_model, split_segmentation
from memory_service.embedding import embed_texts
from memory_service.training import segmentation
from memory_service.training.segmentation import Pairs, Run
from tests.chunking.models import assert_partition

TOPICS = (
    "The {} erupted and lava ran down.|Ash from the {} fell on the town.|Scientists measured the {} for years.",
    "She tuned the {} before the concert.|The bow of the {} was made of horse hair.|A {} needs new strings each year.",
    "Knead the {} for ten minutes.|Let the {} rise in a warm place.|Bake the {} until the crust is brown.",
    "The {} ruled against the company.|Lawyers asked the {} to hear them again.|The {} will publish its opinion.",
)
NAMES = (("volcano", "mountain"), ("violin", "cello"), ("dough", "bread"), ("court", "judge"))


def synthetic(num: int, seed: int, dimensions: int = 24) -> Pairs:
    """Vectors around topics: pairs of one topic, and of two."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(0).normal(size=(12, dimensions))
    of, same = rng.integers(0, 12, num), rng.random(num) < 0.5
    other = np.where(same, of, (of + rng.integers(1, 12, num)) % 12)

    def around(which: np.ndarray) -> np.ndarray:
        rows = topics[which] + 0.7 * rng.normal(size=(num, dimensions))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    return Pairs(around(of), around(other), same.astype(np.float64), np.array(["synthetic"] * num))


@pytest.mark.parametrize("features", ["plain", "absolute"])
def test_it_learns_to_tell_topics_apart(features: str) -> None:
    model, _ = segmentation.train(synthetic(3000, 1), synthetic(500, 2), features=features, hidden=32, epochs=8)
    held_out = synthetic(1000, 3)
    assert segmentation.aucs(model, held_out)["synthetic"] > 0.9
    threshold = segmentation.best_threshold(model, held_out)
    assert ((model.score(held_out.left, held_out.right) > threshold) == (held_out.labels > 0.5)).mean() > 0.85


def test_it_counts_pairs_in_order_for_the_auc() -> None:
    assert segmentation.auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])) == 0.75
    assert segmentation.auc(np.array([0.5, 0.5]), np.array([0, 1])) == 0.5
    assert np.isnan(segmentation.auc(np.array([0.5]), np.array([1])))


def test_it_weighs_corpora_and_classes_alike() -> None:
    labels, corpora = np.array([1, 1, 1, 0, 1, 0, 0.0]), np.array(["a"] * 4 + ["b"] * 3)
    pairs = Pairs(np.zeros((7, 2), np.float32), np.zeros((7, 2), np.float32), labels, corpora)
    weights = segmentation.class_weights(pairs)
    assert [weights[:3].sum(), weights[3], weights[4], weights[5:].sum()] == pytest.approx([7 / 4] * 4)


def test_it_finds_topics_with_the_bundled_model() -> None:
    """Short texts that it never saw: a boundary between topics scores below most neighbours of one."""
    runs = []
    for number, (topic, names) in enumerate(zip(TOPICS, NAMES, strict=True)):
        other = (number + 1) % len(TOPICS)
        for name, next_name in zip(names, NAMES[other], strict=True):
            sentences = [*topic.format(*[name] * 3).split("|"), *TOPICS[other].format(*[next_name] * 3).split("|")]
            runs.append(Run("made", "made", "test", tuple(sentences), (True, True, False, True, True)))
    pairs = segmentation.to_pairs(runs, embed_texts)
    assert segmentation.aucs(bundled_model(), pairs)["made"] > 0.6
    text = " ".join(sentence for run in runs for sentence in run.sentences)
    assert_partition(split_segmentation(text, embed=embed_texts, min_tokens=0), text)


def books(folder: Path, num: int) -> Path:
    folder.mkdir()
    for number in range(num):
        paragraphs = [f"Chapter {n} tells of thing{n % 5}. Thing{n % 5} is good. I like it much." for n in range(30)]
        (folder / f"book{number}.md").write_text("# Title\n\n" + "\n\n".join(paragraphs))
    return folder


def test_it_reads_what_there_is_to_learn_from(tmp_path: Path) -> None:
    folder = books(tmp_path / "books", 10)
    stories = tmp_path / "stories"
    stories.mkdir()
    story = {
        "story": "a",
        "sections": [{"id": "1", "text": "One is here. Two is there."}, {"id": "2", "text": "Three."}],
    }
    meetings = tmp_path / "meetings"
    meetings.mkdir()
    turns = [{"speaker": "A", "content": f"this is turn number {n} {{laugh}}"} for n in range(6)]
    topics = [{"topic": "x", "relevant_text_span": [["0", "2"]]}, {"topic": "y", "relevant_text_span": [["3", "5"]]}]
    meeting = {"meeting_transcripts": turns, "topic_list": topics}
    for where, row in ((stories, story), (meetings, meeting)):
        for name in ("train.jsonl", "val.jsonl"):
            (where / name).write_text(json.dumps(row) + "\n")
    runs = segmentation.read_all([folder, stories, meetings])
    assert {run.part for run in runs if run.corpus == "books"} == {"train", "valid", "test"}
    for run in runs:
        assert len(run.together) == len(run.sentences) - 1
    told = next(run for run in runs if run.corpus == "fairytaleqa")
    assert told.sentences == ("One is here.", "Two is there.", "Three.") and told.together == (True, False)
    met = next(run for run in runs if run.corpus == "qmsum")
    assert met.together == (True, True, False, True, True) and met.sentences[0] == "this is turn number 0"
    book = next(run for run in runs if run.corpus == "books")
    assert book.together[:6] == (True, True, False, True, True, False)
    pairs = segmentation.to_pairs([book], lambda texts: np.eye(len(texts), dtype=np.float32))
    assert pairs.labels[:3].tolist() == [1, 1, 0] and len(pairs.left) == len(book.sentences) - 1


def test_it_sets_far_sentences_against_neighbours() -> None:
    runs = [Run("made", f"{n}", "train", tuple(f"{n} {i}" for i in range(80)), (True,) * 79) for n in range(3)]

    def places(texts: Sequence[str]) -> np.ndarray:
        return np.array([[float(part) for part in text.split()] for text in texts], dtype=np.float32)

    pairs = segmentation.to_pairs(runs, places, far_share=1.0)
    far, made = pairs.of("far"), pairs.of("made")
    assert len(made.labels) == 3 * 79 and made.labels.all()
    boundaries = far.labels < 0.5
    assert 0.4 < boundaries.mean() < 0.55
    distance = np.abs(far.left - far.right)
    assert ((distance[boundaries, 0] > 0) | (distance[boundaries, 1] >= segmentation.FAR_SENTENCES)).all()
    assert (distance[~boundaries] == [0, 1]).all()


def test_it_writes_a_model_with_its_record(tmp_path: Path) -> None:
    folder, out = books(tmp_path / "books", 10), tmp_path / "model.npz"
    said = StringIO()
    for _ in range(2):  # the second time with the vectors of the first
        call_command("train_segmenter", folder, out=out, hidden=16, epochs=2, cache=tmp_path / "v.npz", stdout=said)
    model, record = read_model(out), json.loads(out.with_suffix(".json").read_text())
    assert isinstance(model, SegmentationModel) and model.dimensions == 384 == record["dimensions"]
    assert record["embedding_model"] == "all-MiniLM-L6-v2" and 0 < record["threshold"] < 1
    assert record["data"]["books"]["documents"] == {"train": 7, "valid": 1, "test": 2}
    assert set(record["auc_test"]) == set(record["auc_test_cosine"]) == {"books", "far"}
    assert record["bytes"] == out.stat().st_size


def test_it_says_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="holds neither books"):
        call_command("train_segmenter", tmp_path)
    with pytest.raises(CommandError, match=r"--out weights must end in \.npz"):
        call_command("train_segmenter", tmp_path, out=Path("weights"))
    (tmp_path / "train.jsonl").write_text("[]\n")
    with pytest.raises(CommandError, match="the data cannot be read"):
        call_command("train_segmenter", tmp_path)
