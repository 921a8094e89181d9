"""Citations in a stream of pieces, filters that mean the same, the steps of the feedback loop."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_service.answering import CitationReader, hash_filter, next_top_k
from memory_service.filters import parse


def read(pieces: list[str], num_items: int = 3) -> tuple[str, list[int]]:
    found = list(CitationReader(num_items).read(iter(pieces)))
    said = "".join(data for kind, data in found if kind == "delta")
    return said, [data for kind, data in found if kind == "citation"]


@pytest.mark.parametrize(
    ("told", "said", "numbers"),
    [
        ("In Oslo [1].", "In Oslo [1].", [1]),
        ("In Oslo[2][2] and Bergen [1].", "In Oslo[2][2] and Bergen [1].", [2, 1]),
        ("In Oslo [1, 3; 9].", "In Oslo [1][3].", [1, 3]),
        ("In Oslo [4].", "In Oslo.", []),
        ("In Oslo [0] [ 2 ].", "In Oslo [2].", [2]),
        ("A list [a] and [1", "A list [a] and [1", []),
        ("x[12345] [] [1]", "x[12345] [] [1]", [1]),
        ("<think>Is it [1]? Or [2]?</think>\nIn Oslo [3].", "In Oslo [3].", [3]),
        ("  <think>never ends", "  <think>never ends", []),
        ("<b>bold</b> [1]", "<b>bold</b> [1]", [1]),
        ("", "", []),
    ],
)
def test_it_keeps_the_citations_that_were_shown(told: str, said: str, numbers: list[int]) -> None:
    assert read([told]) == (said, numbers)
    assert read(list(told)) == (said, numbers)


@given(
    st.text(alphabet="a [],;0123456789]\n<think/>", max_size=60),
    st.lists(st.integers(min_value=0, max_value=60), max_size=8),
)
def test_how_it_is_cut_into_pieces_makes_no_difference(text: str, cuts: list[int]) -> None:
    ends = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[a:b] for a, b in pairwise(ends)]
    said, numbers = read(pieces)
    assert (said, numbers) == read([text])
    assert all(1 <= number <= 3 for number in numbers)
    shown = [int(n) for n in re.findall(r"\[(\d{1,4})\]", said)]
    assert set(numbers) <= set(shown)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"user_id": "a"}, {"AND": [{"user_id": "a"}]}, True),
        ({"user_id": "a", "app_id": "x"}, {"AND": [{"app_id": "x"}, {"AND": [{"user_id": "a"}]}]}, True),
        ({"OR": [{"user_id": "a"}, {"user_id": "b"}]}, {"OR": [{"user_id": "b"}, {"user_id": "a"}]}, True),
        ({"user_id": ["a", "b"]}, {"user_id": {"in": ["b", "a"]}}, True),
        ({"user_id": "a"}, {"user_id": "b"}, False),
        ({"user_id": "a"}, {"user_id": "*"}, False),
        ({"user_id": "a"}, {"NOT": {"user_id": "a"}}, False),
        ({"user_id": "a"}, {"agent_id": "a"}, False),
        ({"user_id": "a"}, None, False),
        ({"user_id": "a"}, {"user_id": "a", "kind": "semantic"}, False),
        (
            {"AND": [{"user_id": "a"}, {"user_id": "b"}]},
            {"OR": [{"user_id": "a"}, {"user_id": "b"}]},
            False,
        ),
    ],
)
def test_filters_that_mean_the_same_have_one_hash(first: Any, second: Any, same: bool) -> None:
    assert (hash_filter(parse(first)) == hash_filter(parse(second))) is same


@given(
    st.integers(min_value=1, max_value=30),
    st.integers(min_value=1, max_value=30),
    st.lists(st.sampled_from([-1, 1]), max_size=100),
)
def test_the_loop_never_comes_back_to_a_number(start: int, available: int, verdicts: list[int]) -> None:
    num_items: int | None = min(start, available)
    tried: dict[int, int] = {}
    for verdict in verdicts:
        assert num_items is not None and 1 <= num_items <= available and num_items not in tried
        tried[num_items] = verdict
        num_items = next_top_k(num_items, verdict, tried, available=available)
        if num_items is None:
            break
    steps = {following - before for before, following in pairwise(tried)}
    assert len(steps) <= 1  # it only ever goes one way
