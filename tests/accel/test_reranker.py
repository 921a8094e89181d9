"""The cross-encoder, on small models with random weights: exactness is what is tested, not quality."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from accel.reranker import Reranker, choose_dtype
from tests.crossencoder import make_cross_encoder

QUERY = "Where does Maya live now?"
TEXTS = [
    "Maya moved to Oslo.",
    "",
    "A longer sentence about nothing in particular, which goes on so that the batch has to be padded.",
    "naïve café 東京 🙂",
    "word " * 600,
    "Oslo",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("crossencoder"))


@pytest.fixture(scope="module")
def reranker(folder: Path) -> Reranker:
    return Reranker(str(folder), device="cpu")


def test_it_gives_the_scores_of_sentence_transformers(folder: Path, reranker: Reranker) -> None:
    from sentence_transformers import CrossEncoder

    pairs = [(QUERY, text) for text in TEXTS]
    expected = CrossEncoder(str(folder), device="cpu").predict(pairs, activation_fn=torch.nn.Sigmoid())
    found = reranker.score(QUERY, TEXTS)
    assert np.abs(found - expected).max() < 1e-5
    assert found.std() > 1e-3, "the random model tells the texts apart, so the comparison says something"


def test_it_gives_the_probability_of_yes_where_there_are_two_labels(tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder

    folder = make_cross_encoder(tmp_path, num_labels=2)
    expected = CrossEncoder(str(folder), device="cpu").predict([(QUERY, t) for t in TEXTS], apply_softmax=True)[:, 1]
    assert np.abs(Reranker(str(folder), device="cpu").score(QUERY, TEXTS) - expected).max() < 1e-5


def test_it_answers_in_the_order_of_the_input_whatever_the_batches(reranker: Reranker) -> None:
    alone = np.concatenate([reranker.score(QUERY, [text]) for text in TEXTS])
    for batch_tokens in (1, 64, 100_000):
        assert np.abs(reranker.score(QUERY, TEXTS, batch_tokens=batch_tokens) - alone).max() < 1e-5
    assert np.abs(reranker.score(QUERY, TEXTS[::-1])[::-1] - alone).max() < 1e-5


def test_it_cuts_what_is_too_long_on_either_side(reranker: Reranker) -> None:
    assert reranker.max_tokens == 512
    long_query = "why " * 5_000
    assert np.isfinite(reranker.score(long_query, TEXTS)).all()
    differing = reranker.score(long_query, ["Maya moved to Oslo.", "The soup was too salty."])
    assert differing[0] != differing[1]  # the question has not crowded the text out


def test_it_gives_nothing_for_nothing_and_stays_between_0_and_1(reranker: Reranker) -> None:
    assert reranker.score(QUERY, []).shape == (0,)
    scores = reranker.score(QUERY, TEXTS)
    assert scores.dtype == np.float32 and (scores >= 0).all() and (scores <= 1).all()


def test_it_rejects_a_budget_of_nothing_and_a_classifier_of_topics(reranker: Reranker, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_tokens=0 must be at least 1"):
        reranker.score(QUERY, ["x"], batch_tokens=0)
    with pytest.raises(ValueError, match="has 3 labels; a reranker has one, or two"):
        Reranker(str(make_cross_encoder(tmp_path, num_labels=3)), device="cpu")


def test_it_computes_in_float32_on_a_cpu_unless_asked(folder: Path, reranker: Reranker) -> None:
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32
    half = Reranker(str(folder), device="cpu", dtype="bfloat16")
    assert np.abs(half.score(QUERY, TEXTS) - reranker.score(QUERY, TEXTS)).max() < 0.05


def test_it_can_be_shared_between_threads(reranker: Reranker) -> None:
    expected = reranker.score(QUERY, TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: reranker.score(QUERY, TEXTS), range(12)):
            assert np.abs(found - expected).max() < 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_it_ranks_on_a_gpu_as_on_a_cpu(folder: Path, reranker: Reranker) -> None:
    found = Reranker(str(folder), device="cuda", dtype="float32").score(QUERY, TEXTS)
    assert np.abs(found - reranker.score(QUERY, TEXTS)).max() < 1e-3
