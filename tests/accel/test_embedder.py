from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accel.embedder import DType, Embedder, pack, pool, read_config
from memory_service.embedding import bundled_folder

TEXTS = [
    "Maya moved to Oslo.",
    "",
    "A longer sentence about nothing in particular, which goes on so that the batch has to be padded.",
    "naïve café 東京 🙂",
    "word " * 600,
]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(str(bundled_folder()), dtype="float32", device="cpu")


def test_it_gives_the_vectors_of_sentence_transformers(embedder: Embedder) -> None:
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(bundled_folder()), device="cpu").encode(TEXTS, normalize_embeddings=True)
    cosines = (embedder.encode(TEXTS) * expected).sum(axis=1)
    assert cosines.min() > 0.9999


def test_it_stays_close_in_bfloat16(embedder: Embedder) -> None:
    half = Embedder(str(bundled_folder()), dtype="bfloat16", device="cpu")
    assert (embedder.encode(TEXTS) * half.encode(TEXTS)).sum(axis=1).min() > 0.999


def test_it_answers_in_the_order_of_the_input_whatever_the_batches(embedder: Embedder) -> None:
    alone = np.stack([embedder.encode([text])[0] for text in TEXTS])
    for batch_tokens in (1, 64, 100_000):
        assert np.abs(embedder.encode(TEXTS, batch_tokens=batch_tokens) - alone).max() < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_encodes_one_text_as_it_does_many(dtype: DType) -> None:
    embedder = Embedder(str(bundled_folder()), dtype=dtype, device="cpu")
    for text in [*TEXTS, "a", "two words", *(("so " * n).strip() for n in (5, 7, 8, 40, 200, 254, 300))]:
        assert embedder.encode_one(text) @ embedder.encode([text])[0] > 0.9999


def test_it_gives_unit_vectors_and_an_empty_array_for_nothing(embedder: Embedder) -> None:
    assert np.linalg.norm(embedder.encode(TEXTS), axis=1) == pytest.approx(1.0, abs=1e-5)
    assert embedder.encode([]).shape == (0, embedder.dimensions)


def test_it_rejects_a_budget_of_nothing(embedder: Embedder) -> None:
    with pytest.raises(ValueError, match="batch_tokens=0 must be at least 1"):
        embedder.encode(["x"], batch_tokens=0)


@given(st.lists(st.integers(1, 512), max_size=60), st.integers(1, 2000))
def test_it_packs_every_text_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(pack(lengths, budget))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(b) == 1 or max(lengths[i] for i in b) * len(b) <= budget for b in batches)


def test_it_pools_real_tokens_only() -> None:
    hidden = torch.tensor([[[1.0], [3.0], [100.0]], [[2.0], [4.0], [6.0]]])  # (2, 3, 1)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert pool(hidden, mask, "mean").flatten().tolist() == [2.0, 4.0]
    assert pool(hidden, mask, "cls").flatten().tolist() == [1.0, 2.0]
    assert pool(hidden, mask, "last").flatten().tolist() == [3.0, 6.0]


def test_it_rejects_a_pooling_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_weightedmean_tokens": true}')
    with pytest.raises(ValueError, match="mean, cls and last-token are"):
        read_config(tmp_path)
