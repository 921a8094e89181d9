"""A stream's chunks are the whole text's, however it is cut into pieces, and little of it is held."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunking.strategies import STRATEGIES, split
from chunking.streaming import EXACT, stream
from tests.chunking.sturdy_models import models
from tests.chunking.test_contract import SLOW, covers, leaves, texts

OPTIONS = {
    "fixed": [{}, {"overlap_tokens": 3}],
    "sentence": [{}, {"overlap_sentences": 2}],
    "recursive": [{}, {"min_tokens": 0}, {"min_tokens": 2}],
}
CASES = [(name, options) for name in sorted(EXACT) for options in OPTIONS[name]]


def cut_up(text: str, seed: int, longest: int) -> list[str]:
    chance = random.Random(seed)
    pieces, place = [], 0
    while place < len(text):
        size = chance.randint(0, longest)
        pieces.append(text[place : place + size])
        place += size
    return pieces


@pytest.mark.parametrize(("name", "options"), CASES)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.lists(texts, max_size=8).map("".join), seed=st.integers(0, 999), max_tokens=st.sampled_from([5, 8, 40]))
def test_it_gives_the_same_chunks_as_the_whole(
    name: str, options: dict[str, int], text: str, seed: int, max_tokens: int
) -> None:
    options = options | {"max_tokens": max_tokens}
    whole = split(text, name, options=options)
    block = random.Random(seed).choice([100, 300, 2000])
    assert list(stream(cut_up(text, seed, 60), name, options=options, block_chars=block)) == whole


@pytest.mark.parametrize(("name", "options"), CASES)
def test_it_gives_the_same_chunks_of_a_long_document(name: str, options: dict[str, int]) -> None:
    from pathlib import Path

    docs = sorted((Path(__file__).resolve().parents[2] / "docs").glob("*.md"))
    text = "\n\n".join(path.read_text() for path in docs)
    options = options | {"max_tokens": 64}
    whole = split(text, name, options=options)
    for longest, block in ((1, 5000), (7, 1), (1000, 20_000), (10**6, 50_000)):
        assert list(stream(cut_up(text, 1, longest), name, options=options, block_chars=block)) == whole


@pytest.mark.parametrize("name", [name for name in sorted(STRATEGIES) if name not in EXACT and name not in SLOW])
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.lists(texts, max_size=6).map("".join), seed=st.integers(0, 999))
def test_it_keeps_the_contract_for_the_others(name: str, text: str, seed: int) -> None:
    chunks = list(stream(cut_up(text, seed, 50), name, models=models(), block_chars=120))
    assert chunks == list(stream([text], name, models=models(), block_chars=120))
    covers(text, leaves(chunks), overlaps=False)
    assert all(chunk.text == text[chunk.start : chunk.end] for chunk in chunks)
    assert all(chunk.parent is None or chunks[chunk.parent].level == chunk.level + 1 for chunk in chunks)


def test_it_reads_nothing_before_a_chunk_is_asked_for_and_no_more_than_it_needs() -> None:
    read = itertools.count()
    pieces = (f"Sentence number {next(read)}. " for _ in range(10**9))
    chunks = stream(pieces, "sentence", block_chars=10_000)
    assert next(read) == 0
    for _ in range(5):
        next(chunks)
    assert next(read) < 3_000


@pytest.mark.parametrize("name", ["fixed", "sentence", "recursive", "markdown"])
def test_it_holds_a_few_blocks_however_long_the_text(name: str) -> None:
    def pieces(num: int) -> Iterator[str]:
        for index in range(num):
            yield f"This is paragraph {index} of a text that goes on and on, and says little.\n\n" * 10

    def peak(num: int) -> int:
        tracemalloc.start()
        tokens = sum(chunk.num_tokens for chunk in stream(pieces(num), name, block_chars=100_000))
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert tokens > num * 100
        return held

    peak(200)  # what is loaded once
    short, long = peak(300), peak(3_000)
    assert long < 1.3 * short < 30e6


@pytest.mark.parametrize("char", [" ", "\n", "\u200d", "x", "."])
def test_it_holds_a_few_blocks_of_a_text_without_ends(char: str) -> None:
    total = 3_000_000
    tracemalloc.start()
    place = 0
    for chunk in stream((char * 1000 for _ in range(total // 1000)), "sentence", block_chars=20_000):
        assert chunk.start == place
        place = chunk.end
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert place == total
    assert held < 60e6


def test_it_rejects_what_split_rejects_before_it_reads() -> None:
    with pytest.raises(ValueError, match="is not known"):
        stream(iter([]), "no such strategy")
    with pytest.raises(ValueError, match="overlap_tokens"):
        stream(["a"], "fixed", options={"overlap_tokens": 10**5})
    with pytest.raises(ValueError, match="block_chars=0"):
        stream(["a"], "fixed", block_chars=0)
    with pytest.raises(ValueError, match="pieces must be text, not bytes"):
        list(stream([b"a"], "fixed"))  # type: ignore[list-item]


def test_it_gives_nothing_for_nothing() -> None:
    assert list(stream([], "fixed")) == list(stream(["", ""], "markdown")) == []
