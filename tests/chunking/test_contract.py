"""What every strategy promises, on any text: it runs through all that STRATEGIES names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunking.strategies import STRATEGIES, split
from chunking.tokens import estimate_tokens, tokenized
from chunking.types import Chunk
from tests.chunking.sturdy_models import models

ALL = sorted(STRATEGIES)
SLOW = {name for name in ALL if STRATEGIES[name].needs}  # these ask a model for every sentence
OVERLAPS = {"fixed": {"overlap_tokens": 5}, "sentence": {"overlap_sentences": 2}, "conversation": {"overlap_turns": 1}}
PARENTS = {"hierarchical"}
SECONDS_FOR_A_MEGABYTE = 60  # loosely: a quadratic step takes hours

PIECES = (
    *("word ", "Another", " of ", "the. ", "Mr. ", "No. 5 ", "e.g. ", "...", "?! ", "3.14 ", "http://a.b/c?d=e. "),
    *("\n", "\n\n", "\r\n", "\r", "\f", "\t", "\u2028", "   ", "\u00a0", "\x00", "\ufeff"),
    *(
        "é",
        "e\u0301",
        "👩‍👩‍👧",
        "👍🏽",
        "\u200d",
        "🇮🇳",
        "中文。",
        "「はい」",
        "한국어 ",
        "مرحبا؟ ",
        "שלום. ",
        "हिन्दी। ",
        "ไทย",
    ),
    *(
        "# Title\n",
        "## Sub\n",
        "---\n",
        "===\n",
        "```py\n",
        "```\n",
        "- item\n",
        "1. one\n",
        "| a | b |\n",
        "|---|---|\n",
    ),
    *(
        "<p>",
        "</p>",
        "<h1>",
        "</h1>",
        "<table>",
        "<tr>",
        "</table>",
        "<script>",
        "</script>",
        "<!--",
        "-->",
        '<a b="',
        "&amp;",
    ),
    *("def f(x):\n", "    return x\n", "class A:\n", "{", "}", "(", "# comment\n", "@decorator\n", ";\n"),
    *(
        "Anna: ",
        "user: ",
        "\nBob: hi\n",
        "\nAnna: ",
        '[{"role": "user", "content": "x"}',
        "]",
        '{"messages": [',
        "\ud800",
        "\udfff",
    ),
)

texts = st.one_of(
    st.text(max_size=200),
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=80).map("".join),
    st.text(alphabet=st.characters(exclude_categories=()), max_size=100),
)


def leaves(chunks: list[Chunk]) -> list[Chunk]:
    return [chunk for chunk in chunks if chunk.level == 0]


def check(text: str, chunks: list[Chunk], *, max_tokens: int | None, overlaps: bool) -> None:
    document = tokenized(text)
    assert [chunk.start for chunk in chunks] == sorted(chunk.start for chunk in chunks)
    for chunk in chunks:
        assert chunk.text == text[chunk.start : chunk.end] != ""
        assert chunk.num_tokens == document.count(chunk.start, chunk.end)
        assert isinstance(chunk.headings, tuple)
        assert chunk.parent is None or chunks[chunk.parent].level == chunk.level + 1
    for level in {chunk.level for chunk in chunks}:
        covers(text, [chunk for chunk in chunks if chunk.level == level], overlaps=overlaps)
    if not text:
        assert chunks == []
    if max_tokens is not None:
        assert max((chunk.num_tokens for chunk in leaves(chunks)), default=0) <= max_tokens


def covers(text: str, chunks: list[Chunk], *, overlaps: bool) -> None:
    place = 0
    for chunk in chunks:
        assert chunk.start <= place if overlaps else chunk.start == place
        assert chunk.end > place
        place = chunk.end
    assert place == len(text)


def sized(name: str, max_tokens: int) -> dict[str, Any]:
    """The options that give a strategy this size; most call it max_tokens."""
    import inspect

    if name == "hierarchical":
        return {"inner_options": {"max_tokens": max_tokens}, "parent_tokens": [4 * max_tokens, 16 * max_tokens]}
    takes = inspect.signature(STRATEGIES[name].load()).parameters
    return {"max_tokens": max_tokens} if "max_tokens" in takes else {}


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=texts, max_tokens=st.sampled_from([4, 10, 60, 300]))
def test_it_partitions_any_text(name: str, text: str, max_tokens: int) -> None:
    options = sized(name, max_tokens)
    try:
        chunks = split(text, name, models=models(), options=options)
    except ValueError as exc:
        assert "max_tokens" in str(exc), exc  # a strategy may say that a size is too small for it
        return
    check(text, chunks, max_tokens=max_tokens if options else None, overlaps=False)
    assert split(text, name, models=models(), options=options) == chunks


@pytest.mark.parametrize("name", sorted(OVERLAPS))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=texts, max_tokens=st.sampled_from([6, 10, 60]))
def test_it_covers_any_text_with_an_overlap(name: str, text: str, max_tokens: int) -> None:
    options = sized(name, max_tokens) | OVERLAPS[name]
    chunks = split(text, name, models=models(), options=options)
    check(text, chunks, max_tokens=max_tokens, overlaps=True)


def hostile_texts(size: int) -> dict[str, str]:
    return {
        "one word": "x" * size,
        "spaces": " " * size,
        "new lines": "\n" * size,
        "new lines of Windows": "\r\n" * (size // 2),
        "full stops": "." * size,
        "sentences of nothing": ". " * (size // 2),
        "open tags": '<a "' * (size // 4),
        "scripts": "<script>" * (size // 8),
        "comments": "<!--" * (size // 4),
        "headings": "# a\n" * (size // 4),
        "fences": "```\n" * (size // 4),
        "nested lists": "- " * (size // 2),
        "brackets": "(" * (size // 4),
        "json": '[{"role":' * (size // 9),
        "names": "a:" * (size // 2),
        "turns": "A: b\n" * (size // 5),
        "joiners": "\u200d" * size,
        "accents": "\u0301" * size,
        "zero bytes": "\0" * size,
        "surrogates": "\ud800" * size,
        "ideographs": "漢" * size,
        "table": "| a | b |\n|---|---|\n" + "| c | d |\n" * (size // 10),
    }


@pytest.mark.parametrize("kind", hostile_texts(8))
@pytest.mark.parametrize("name", [name for name in ALL if name not in SLOW])
def test_it_takes_a_hostile_text_in_bounded_time(name: str, kind: str) -> None:
    size = 250_000
    text = hostile_texts(size)[kind]
    begin = time.perf_counter()
    chunks = split(text, name, models=models())
    assert time.perf_counter() - begin < SECONDS_FOR_A_MEGABYTE * size / 1e6
    check(text, chunks, max_tokens=None, overlaps=False)


@pytest.mark.parametrize("name", sorted(SLOW))
@pytest.mark.parametrize("kind", hostile_texts(8))
def test_it_takes_a_short_hostile_text(name: str, kind: str) -> None:
    text = hostile_texts(2_000)[kind]
    check(text, split(text, name, models=models()), max_tokens=None, overlaps=False)


@pytest.mark.parametrize("name", ["fixed", "sentence", "recursive"])
@pytest.mark.parametrize("text", ["x" * 1_000_000, " " * 1_000_000, "\n" * 1_000_000], ids=["word", "spaces", "lines"])
def test_it_takes_a_megabyte_without_a_word_s_end(name: str, text: str) -> None:
    begin = time.perf_counter()
    chunks = split(text, name)
    assert time.perf_counter() - begin < 10
    check(text, chunks, max_tokens=1_000, overlaps=False)


@pytest.mark.parametrize("name", ALL)
def test_it_gives_nothing_for_nothing(name: str) -> None:
    assert split("", name, models=models()) == []


@pytest.mark.parametrize("name", [name for name in ALL if "max_tokens" in sized(name, 5)])
@pytest.mark.parametrize("value", [0, -1, 1.5, "many", None, True, 10**9])
def test_it_rejects_a_size_that_is_none(name: str, value: object) -> None:
    with pytest.raises(ValueError, match="max_tokens"):
        split("Some text. And more.", name, models=models(), options={"max_tokens": value})


@pytest.mark.parametrize("name", ALL)
def test_it_rejects_an_option_that_it_does_not_have(name: str) -> None:
    with pytest.raises(ValueError, match="no_such_option"):
        split("text", name, models=models(), options={"no_such_option": 1})


def whole_lines(text: str) -> Any:
    """A tokenizer of another kind: a line's white space and its words are tokens, several of them in one character."""
    places: list[int] = []
    for index, char in enumerate(text):
        places += [index] * (
            3 if ord(char) > 0x1F000 else 1 if char in "\n " or not places or text[index - 1] in " \n" else 0
        )
    return np.asarray(places, dtype=np.int64)


@pytest.mark.parametrize("name", ["fixed", "sentence", "recursive", "markdown", "html", "code", "conversation", "auto"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=texts)
def test_it_holds_for_tokens_of_white_space_and_several_in_a_character(name: str, text: str) -> None:
    from chunking.strategies import Models

    document = tokenized(text, whole_lines)
    chunks = split(text, name, models=Models(tokenize=whole_lines), options={"max_tokens": 7})
    covers(text, chunks, overlaps=False)
    assert all(chunk.num_tokens == document.count(*chunk.span) <= 7 for chunk in chunks)


def books() -> Iterator[Path]:
    yield from sorted((Path(__file__).resolve().parents[2] / "docs").glob("*.md"))


@pytest.mark.parametrize("name", ["fixed", "sentence", "recursive", "markdown", "html", "code", "conversation", "auto"])
def test_it_takes_real_documents(name: str) -> None:
    for path in books():
        text = path.read_text()
        chunks = split(text, name, options={"max_tokens": 128})
        check(text, chunks, max_tokens=128, overlaps=False)
        assert len(chunks) <= 4 + 6 * len(estimate_tokens(text)) / 128, path.name
