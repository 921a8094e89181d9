"""What holds for every strategy that needs a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunking import segmentation
from chunking.strategies import STRATEGIES, Models, split
from chunking.tokens import tokenized
from tests.chunking.models import DIMENSIONS, TEXT, assert_partition, choose, embed, losses
from tests.chunking.test_segmentation import by_product

NAMES = (
    "semantic",
    "cluster_semantic",
    "segmentation",
    "perplexity",
    "margin",
    "dynamic_merge",
    "intents",
    "qchunker",
)
MODELS = Models(embed=embed, losses=losses, choose=choose)
BITS = st.sampled_from(
    [*"abXYZ  \n\t.!?,;:-#*'\"東京。é\u0301🙂\x00\ud800", "\n\n", ". ", "Mr. A", "The cat sat. ", "0" * 50]
)
TEXTS = st.lists(BITS, max_size=150).map("".join)


@pytest.fixture(scope="module", autouse=True)
def fake_segmentation() -> Iterator[None]:
    """The bundled one reads vectors of 384 dimensions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmentation, "bundled_model", lambda: by_product(DIMENSIONS))
        yield


def cutting(name: str, text: str, max_tokens: int, **options: Any) -> list[Any]:
    return split(text, name, models=MODELS, options={"max_tokens": max_tokens, **options})


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60)
@given(text=TEXTS, max_tokens=st.integers(1, 80))
def test_it_partitions_any_text_within_the_size(name: str, text: str, max_tokens: int) -> None:
    chunks = cutting(name, text, max_tokens)
    assert_partition(chunks, text)
    document = tokenized(text)
    for chunk in chunks:
        assert chunk.num_tokens == document.count(chunk.start, chunk.end) <= max_tokens


@pytest.mark.parametrize("name", NAMES)
def test_it_is_deterministic(name: str) -> None:
    assert cutting(name, TEXT * 3, 40) == cutting(name, TEXT * 3, 40)


@pytest.mark.parametrize("name", NAMES)
def test_it_makes_nothing_of_nothing_and_one_of_a_word(name: str) -> None:
    assert cutting(name, "", 40) == []
    for text in ("word", "  \n ", "One sentence."):
        assert [chunk.text for chunk in cutting(name, text, 40)] == [text]


@pytest.mark.parametrize("name", NAMES)
def test_it_counts_with_the_tokenizer_that_it_is_given(name: str) -> None:
    def letters(text: str) -> Any:
        return np.flatnonzero([char.isalpha() for char in text]).astype(np.int64)

    chunks = split(TEXT, name, models=Models(embed, letters, losses, choose), options={"max_tokens": 90})
    assert_partition(chunks, TEXT)
    assert [chunk.num_tokens for chunk in chunks] == [sum(map(str.isalpha, chunk.text)) for chunk in chunks]
    assert max(chunk.num_tokens for chunk in chunks) <= 90


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, 10**12, True, None, "300", 2.5, float("nan"), [300]])
def test_it_rejects_sizes_that_are_none(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"max_tokens=.* must be a whole number from 1 to 1,000,000"):
        cutting(name, TEXT, value)


@pytest.mark.parametrize("name", NAMES)
def test_it_names_the_models_that_are_missing(name: str) -> None:
    needed = STRATEGIES[name].needs
    if not needed:
        assert_partition(split(TEXT, name, models=Models()), TEXT)
        return
    with pytest.raises(ValueError, match=f"strategy='{name}' needs {', '.join(needed)}"):
        split(TEXT, name, models=Models())


@pytest.mark.parametrize("name", NAMES)
def test_it_rejects_options_that_there_are_not(name: str) -> None:
    with pytest.raises(ValueError, match=f"strategy='{name}': got an unexpected keyword argument 'color'"):
        cutting(name, TEXT, 40, color="red")
