from __future__ import annotations

import json

import pytest

from chunking.qchunker import best, review, sampled, split_qchunker, weigh
from chunking.strategies import Models
from chunking.tokens import tokenized
from tests.chunking.models import TEXT, TOPICS, assert_partition, embed, losses

MODELS = Models(embed=embed, losses=losses)


def test_it_takes_the_best_of_those_that_can_be_compared() -> None:
    weighed = weigh(TEXT, MODELS, candidates=["cluster_semantic", "perplexity", "semantic"], max_tokens=45)
    assert weighed[0].name == "cluster_semantic"
    compared = [candidate for candidate in weighed if candidate.compared]
    assert best(weighed).score.score == max(candidate.score.score for candidate in compared)
    for candidate in weighed:
        assert_partition(candidate.chunks, TEXT)
        assert candidate.score.num_chunks == len(candidate.chunks)
        assert max(chunk.num_tokens for chunk in candidate.chunks) <= 45
    assert split_qchunker(
        TEXT, embed=embed, losses=losses, candidates=["cluster_semantic", "perplexity", "semantic"], max_tokens=45
    ) == (best(weighed).chunks)


def test_it_compares_only_like_numbers_of_chunks() -> None:
    text = TEXT * 4

    def complete(prompt: str) -> str:
        return "[" + ", ".join(str(i) for i in range(1, 41)) + "]" if "JSON list" in prompt else "Why?"

    models = Models(embed=embed, losses=losses, complete=complete)
    weighed = weigh(text, models, candidates=["cluster_semantic", "semantic"], num_samples=1, max_tokens=45)
    sizes = {candidate.name: (len(candidate.chunks), candidate.compared) for candidate in weighed}
    assert sizes["outline 1"] == (36, False)
    assert best(weighed).name != "outline 1"


def test_it_cuts_by_the_outline_of_a_language_model() -> None:
    asked: list[str] = []

    def complete(prompt: str) -> str:
        asked.append(prompt)
        if "JSON list" not in prompt:
            return "What does a volcano do?\nWhat is a violin made of?\nHow is bread made?"
        return "<think>[9]</think>The chunks begin at [1, 4, 7, 99]."

    found = sampled(tokenized(TEXT), complete, 1, 300)
    assert [chunk.text for chunk in found["outline 1"]] == list(TOPICS)
    assert "What is a violin made of?" in asked[1] and "4. A violin has four strings and a bow." in asked[1]
    chunks = split_qchunker(TEXT, embed=embed, losses=losses, complete=complete, num_samples=2, candidates=["intents"])
    assert_partition(chunks, TEXT)


@pytest.mark.parametrize("answer", ["", "none", "[1, 2", "[[1]]", '{"a": 1}', "[-1, 0, 1000000000000]"])
def test_it_lives_with_answers_that_are_no_list(answer: str) -> None:
    found = sampled(tokenized(TEXT), lambda prompt: answer, 1, 40)
    assert_partition(found["outline 1"], TEXT)
    assert max(chunk.num_tokens for chunk in found["outline 1"]) <= 40


DOCUMENT = (
    "Acme Ltd (the Supplier) sells pumps to Brown and Sons (the Customer). Payment is due in thirty days.\n"
    "The Supplier may charge interest after that. The Customer may object in writing."
)


def test_it_finds_what_a_chunk_takes_for_granted() -> None:
    chunk = tokenized(DOCUMENT).chunk(DOCUMENT.index("The Supplier may"), len(DOCUMENT))
    told = {
        "missing": [
            {"what": "who the Supplier is", "quote": "Acme Ltd   (the\nSupplier)"},
            {"what": "made up", "quote": "Acme Ltd was founded in 1947"},
            {"what": "it says so itself", "quote": "The Customer may object"},
            {"what": "again", "quote": "Acme Ltd (the Supplier)"},
            {"what": "one word", "quote": "pumps"},
            {"what": 3, "quote": "Payment is due"},
            "nonsense",
        ]
    }
    shown: list[str] = []

    def complete(prompt: str) -> str:
        shown.append(prompt)
        return f"Here it is: {json.dumps(told)}"

    found = review(DOCUMENT, chunk, complete)
    assert [(m.what, m.quote, DOCUMENT[m.start : m.end]) for m in found.missing] == [
        ("who the Supplier is", "Acme Ltd (the Supplier)", "Acme Ltd (the Supplier)")
    ]
    assert found.completion == "Acme Ltd (the Supplier)" and not found.is_whole
    assert DOCUMENT in shown[0] and chunk.text in shown[0]


@pytest.mark.parametrize("answer", ["", "no", '{"missing": 3}', '{"missing": [', "[]", '{"other": []}'])
def test_it_finds_a_chunk_whole_where_nothing_is_said(answer: str) -> None:
    found = review(DOCUMENT, tokenized(DOCUMENT).chunk(0, 40), lambda prompt: answer)
    assert found.is_whole and found.completion == ""


def test_it_shows_a_part_of_a_long_document() -> None:
    document = "First words here. " * 4000 + "The chunk itself. " + "Last words. " * 4000
    start = document.index("The chunk itself")
    shown: list[str] = []

    def complete(prompt: str) -> str:
        shown.append(prompt)
        return "{}"

    review(document, tokenized(document).chunk(start, start + 17), complete)
    assert len(shown[0]) < 26_000 and "The chunk itself" in shown[0].partition("<chunk>")[0]


def test_it_rejects_bad_options() -> None:
    for options, told in (
        ({"candidates": []}, "candidates must be a list of 1 to 8"),
        ({"candidates": "semantic"}, "candidates must be a list of 1 to 8"),
        ({"candidates": ["qchunker"]}, "candidates: 'qchunker' must be one of "),
        ({"candidates": ["margin"]}, "strategy='margin' needs choose"),
        ({"num_samples": 9}, "num_samples=9 must be a whole number from 0 to 8"),
        ({"num_samples": 1}, "num_samples=1 needs a language model"),
        ({"weight": "all"}, "weight='all' must be a number"),
    ):
        with pytest.raises(ValueError, match=told):
            split_qchunker(TEXT, embed=embed, losses=losses, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ChunkScore needs embed"):
        weigh(TEXT, Models(losses=losses))
