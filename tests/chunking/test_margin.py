from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from chunking.margin import margin, split_margin, threshold_after
from tests.chunking.models import TEXT, TOPICS, assert_partition, choose


def scripted(margins: Sequence[float]) -> tuple[list[str], object]:
    """Gives the margins one after the other, and keeps what it was asked."""
    asked: list[str] = []

    def answer(prompt: str, options: Sequence[str]) -> np.ndarray:
        value = margins[len(asked)]
        asked.append(prompt)
        return np.array([0.5 - value / 2, 0.5 + value / 2])

    return asked, answer


def test_it_keeps_topics_together() -> None:
    chunks = split_margin(TEXT, choose=choose, threshold=0.0)
    assert [chunk.text for chunk in chunks] == list(TOPICS)


def test_it_takes_the_mean_of_the_last_five_margins_as_threshold() -> None:
    assert threshold_after([0.5, 0.5, 0.5, 0.5]) == 0.0
    assert threshold_after([9.0, 0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(0.3)
    # Five margins of 0.4 stay under the threshold of 0 that they began with; then 0.3 is no longer enough.
    asked, answer = scripted([0.4, 0.4, 0.4, 0.4, 0.4, 0.3, 0.5, 0.1])
    chunks = split_margin(TEXT, choose=answer)  # type: ignore[arg-type]
    assert_partition(chunks, TEXT)
    assert [chunk.text.count(".") for chunk in chunks] == [6, 2, 1] and len(asked) == 8


def test_it_shows_the_chunk_so_far_and_the_next_sentence() -> None:
    asked, answer = scripted([0.9] * 8)
    split_margin(TEXT, choose=answer)  # type: ignore[arg-type]
    first, second, third = TOPICS[0].strip().split(". ")
    assert f"the first: '{first}. {second}.' and the second: '{third.rstrip('.')}.'" in asked[1]
    assert "Answer with 1 or 2" in asked[1]


def test_it_is_keep_less_split() -> None:
    assert margin("a b", "c", lambda prompt, options: np.array([0.2, 0.7])) == pytest.approx(0.5)


def test_it_asks_nothing_that_is_decided() -> None:
    asked, answer = scripted([-1.0] * 8)
    chunks = split_margin(TEXT, choose=answer, min_tokens=8, max_tokens=12)  # type: ignore[arg-type]
    assert_partition(chunks, TEXT)
    assert max(chunk.num_tokens for chunk in chunks) <= 12
    assert len(asked) < 8


def test_it_splits_more_the_higher_the_threshold() -> None:
    nums = [len(split_margin(TEXT, choose=choose, threshold=t)) for t in (-1.0, 0.0, 1.0)]
    assert nums == [1, 3, 9]


def test_it_rejects_bad_options() -> None:
    with pytest.raises(ValueError, match="threshold=2 must be from -1 to 1"):
        split_margin(TEXT, choose=choose, threshold=2)
