"""Vectors of chunks from vectors of texts alone."""

from __future__ import annotations

import numpy as np
import pytest

from chunking.situating import base_vectors, situate, unit
from chunking.types import Vectors


def embed(texts: list[str]) -> Vectors:
    rows = [np.random.default_rng(abs(hash_of(text))).normal(size=24) for text in texts]
    return unit(np.array(rows).reshape(-1, 24))


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[:64].ljust(8, b"."), "little") % (2**32)


def test_it_mixes_a_text_with_its_sentences() -> None:
    text = "Ann went home. It rained."
    own, first, second = embed([text, "Ann went home. ", "It rained."])
    sentences = unit(np.sqrt(4) * first + np.sqrt(3) * second)  # tokens, marks counted
    assert np.allclose(base_vectors([text], embed=embed)[0], unit(own + sentences), atol=1e-6)


def test_it_leaves_a_text_of_one_sentence_as_it_is() -> None:
    assert np.allclose(base_vectors(["It rained."], embed=embed), embed(["It rained."]), atol=1e-6)


def test_it_embeds_each_text_once() -> None:
    seen: list[str] = []

    def watched(texts: list[str]) -> Vectors:
        seen.extend(texts)
        return embed(texts)

    base_vectors(["It rained. It rained. It snowed.", "It snowed."], embed=watched)
    assert sorted(seen) == sorted(set(seen))


def test_it_lends_from_neighbours_of_the_same_document_only() -> None:
    base = embed(["a", "b", "c", "d"])
    situated = situate(base, [1, 1, 2, 2])
    assert np.allclose(situated[0], unit(base[0] + 0.25 * base[1]), atol=1e-6)
    assert np.allclose(situated[1], unit(base[1] + 0.25 * base[0]), atol=1e-6)
    assert np.allclose(situated[2], unit(base[2] + 0.25 * base[3]), atol=1e-6)
    assert np.allclose(np.linalg.norm(situated, axis=1), 1.0, atol=1e-6)


def test_it_does_not_change_what_it_is_given() -> None:
    base = embed(["a", "b"])
    kept = base.copy()
    situate(base, [0, 0])
    assert (base == kept).all()


def test_it_takes_nothing() -> None:
    assert base_vectors([], embed=embed).shape[0] == 0
    assert situate(np.zeros((0, 24), np.float32), []).shape == (0, 24)


def test_it_rejects_documents_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="documents has 1 entries, base 2 vectors"):
        situate(embed(["a", "b"]), [0])
