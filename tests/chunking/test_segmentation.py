from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chunking.segmentation import (
    RECORD_FILE,
    WEIGHTS_FILE,
    SegmentationModel,
    bundled_model,
    bundled_threshold,
    cut,
    pair_features,
    read_model,
    split_segmentation,
)
from chunking.types import Vectors
from tests.chunking.models import TEXT, TOPICS, assert_partition, embed


def by_product(dimensions: int) -> SegmentationModel:
    """Scores a pair by the logistic function of 20 (x1 . x2) - 3."""
    first = np.zeros((4 * dimensions, 1), np.float32)
    first[3 * dimensions :] = 1.0
    return SegmentationModel(
        ((first, np.zeros(1, np.float32)), (np.full((1, 1), 20, np.float32), np.full(1, -3, np.float32)))
    )


def test_it_makes_features_four_times_as_wide() -> None:
    left, right = embed(TOPICS[:2]), embed(TOPICS[1:])
    plain, absolute = pair_features(left, right), pair_features(left, right, "absolute")
    size = left.shape[1]
    assert plain.shape == absolute.shape == (2, 4 * size)
    assert np.array_equal(plain[:, :size], left) and np.array_equal(plain[:, 2 * size : 3 * size], left - right)
    assert np.array_equal(absolute[:, 2 * size : 3 * size], np.abs(left - right))
    assert np.array_equal(plain[:, 3 * size :], left * right)


def test_it_scores_as_torch_does(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    shapes = ((24, 5), (5,)), ((5, 1), (1,))
    layers = tuple((rng.normal(size=w).astype(np.float32), rng.normal(size=b).astype(np.float32)) for w, b in shapes)
    left, right = rng.normal(size=(2, 300, 6)).astype(np.float32)
    x = torch.from_numpy(pair_features(left, right))
    hidden = torch.relu(x @ torch.from_numpy(layers[0][0]) + torch.from_numpy(layers[0][1]))
    expected = torch.sigmoid(hidden @ torch.from_numpy(layers[1][0]) + torch.from_numpy(layers[1][1]))[:, 0].numpy()
    model = SegmentationModel(layers)
    assert np.abs(model.score(left, right) - expected).max() < 1e-5
    model.save(tmp_path / "model.npz")
    assert np.abs(read_model(tmp_path / "model.npz").score(left, right) - expected).max() < 0.05  # float16


@pytest.mark.parametrize("method", ["threshold", "log_odds"])
def test_it_cuts_where_the_model_doubts(method: str) -> None:
    model = by_product(embed(["a"]).shape[1])
    chunks = split_segmentation(TEXT, embed=embed, model=model, threshold=0.5, method=method, min_tokens=0)
    assert [chunk.text for chunk in chunks] == list(TOPICS)


@pytest.mark.parametrize("method", ["threshold", "log_odds"])
def test_it_cuts_more_the_higher_the_threshold(method: str) -> None:
    scores = np.random.default_rng(0).random(200)
    nums = [
        len(cut([5] * 201, scores, threshold, method=method, min_tokens=0, max_tokens=2000))
        for threshold in np.linspace(0, 1, 21)
    ]
    assert nums == sorted(nums) and nums[0] == 2 and nums[-1] == 202


def test_it_chooses_the_surest_cuts_under_the_sizes() -> None:
    scores = np.array([0.9, 0.45, 0.05, 0.9])
    assert cut([10] * 5, scores, 0.5, method="threshold", min_tokens=20, max_tokens=60) == [0, 2, 5]  # the first doubt
    assert cut([10] * 5, scores, 0.5, method="log_odds", min_tokens=20, max_tokens=60) == [0, 3, 5]  # the greater
    assert cut([10] * 5, scores, 0.0, method="log_odds", min_tokens=0, max_tokens=30) == [0, 3, 5]


def test_it_keeps_the_sizes() -> None:
    chunks = split_segmentation(TEXT * 3, embed=embed, model=by_product(1024), min_tokens=12, max_tokens=25)
    assert_partition(chunks, TEXT * 3)
    assert all(chunk.num_tokens <= 25 for chunk in chunks)


def test_it_ships_a_small_model_with_its_record() -> None:
    assert WEIGHTS_FILE.stat().st_size < 1_000_000 and RECORD_FILE.exists()
    assert bundled_model().dimensions == 384
    assert 0.0 < bundled_threshold() < 1.0


def test_it_rejects_vectors_of_another_model() -> None:
    def other(texts: object) -> Vectors:
        return embed(texts)[:, :100]  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r"reads pairs of 384-dimensional vectors, not of .*manage.py train_segmenter"):
        split_segmentation(TEXT, embed=other)


def test_it_rejects_bad_options() -> None:
    for options, told in (
        ({"threshold": 1.5}, "threshold=1.5 must be from 0 to 1"),
        ({"method": "best"}, "method='best' must be one of threshold, log_odds"),
        ({"model": "other.npz"}, "model='other.npz' must be a SegmentationModel"),
    ):
        with pytest.raises(ValueError, match=told):
            split_segmentation(TEXT, embed=embed, **options)  # type: ignore[arg-type]
