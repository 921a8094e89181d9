from __future__ import annotations

import pytest

from chunking.dynamic_merge import merge, split_dynamic_merge
from chunking.tokens import tokenized
from chunking.types import Chunk
from tests.chunking.models import TEXT, assert_partition, embed


def test_it_merges_while_it_fits() -> None:
    document = tokenized("Aa bb. Cc dd. Ee ff. Gg hh. Ii jj.")
    chunks = document.chunks([(0, 7), (7, 14), (14, 21), (21, 28), (28, 34)])
    merged = merge(document, chunks, 7)
    assert [chunk.num_tokens for chunk in merged] == [6, 6, 3]
    assert_partition(merged, document.text)


def test_it_keeps_what_merged_chunks_have_in_common() -> None:
    document = tokenized("Aa. Bb. Cc.")
    chunks = [
        Chunk("Aa. ", 0, 4, 2, "text", ("One", "Two")),
        Chunk("Bb. ", 4, 8, 2, "text", ("One", "Three")),
        Chunk("Cc.", 8, 11, 2, "code", ("One",)),
    ]
    whole = merge(document, chunks, 100)
    assert [(chunk.kind, chunk.headings) for chunk in whole] == [("", ("One",))]
    assert [chunk.kind for chunk in merge(document, chunks, 4)] == ["text", "code"]


@pytest.mark.parametrize("base", ["perplexity", "semantic", "cluster_semantic"])
def test_it_stands_on_any_strategy(base: str) -> None:
    options = {"max_tokens": 20}
    chunks = split_dynamic_merge(TEXT * 4, embed=embed, base=base, base_options=options, max_tokens=60)
    assert_partition(chunks, TEXT * 4)
    assert 30 < sum(chunk.num_tokens for chunk in chunks) / len(chunks) <= 60
    assert max(chunk.num_tokens for chunk in chunks) <= 60


def test_it_rejects_what_it_cannot_merge() -> None:
    for options, told in (
        ({"base": "dynamic_merge"}, "base='dynamic_merge' must be one of "),
        ({"base": ["x"]}, r"base=\['x'\] must be one of "),
        ({"base_options": 3}, "base_options=3 must be an object"),
        ({"base": "semantic"}, "strategy='semantic' needs embed"),
        ({"base_options": {"depth": 3}}, "strategy='perplexity': got an unexpected keyword argument 'depth'"),
        ({"base_options": {"overlap": True}}, "does not begin where the one before ends"),
    ):
        with pytest.raises(ValueError, match=told):
            split_dynamic_merge(TEXT, **options)  # type: ignore[arg-type]
