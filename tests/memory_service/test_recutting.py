"""An edited text keeps its chunks where it was not edited."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunking.recursive import split_recursive
from chunking.types import Chunk
from memory_service.recutting import common_ends, recut

TEXT = "".join(f"This is sentence {i} of the text, and it says little. " for i in range(80))


def split(text: str) -> list[Chunk]:
    return split_recursive(text, max_tokens=30)


def test_it_cuts_only_the_changed_part() -> None:
    asked: list[str] = []

    def watched(text: str) -> list[Chunk]:
        asked.append(text)
        return split(text)

    new = TEXT.replace("sentence 40 of", "sentence 40, which was changed, of")
    found = recut(TEXT, split(TEXT), new, watched)
    assert len("".join(asked)) < len(TEXT) / 8
    assert "".join(chunk.text for chunk in found) == new
    kept = {chunk.text for chunk in split(TEXT)} & {chunk.text for chunk in found}
    assert len(kept) >= len(split(TEXT)) - 3


@given(st.text(max_size=60), st.text(max_size=60), st.integers(0, 3000), st.integers(0, 200))
def test_it_says_what_the_new_text_says(added: str, other: str, place: int, removed: int) -> None:
    new = TEXT[:place] + added + TEXT[place + removed :] + other
    found = recut(TEXT, split(TEXT), new, split)
    assert "".join(chunk.text for chunk in found) == new
    assert all(new[chunk.start : chunk.end] == chunk.text for chunk in found)


@given(st.text(alphabet="ab", max_size=12), st.text(alphabet="ab", max_size=12))
def test_it_finds_the_common_ends(old: str, new: str) -> None:
    before, behind = common_ends(old, new)
    assert old[:before] == new[:before]
    assert before == min(len(old), len(new)) or old[before] != new[before]
    assert before + behind <= min(len(old), len(new))
    assert old[len(old) - behind :] == new[len(new) - behind :]


def test_it_cuts_all_of_a_text_that_has_nothing_in_common() -> None:
    assert recut("x" * 50, split("x" * 50), TEXT, split) == split(TEXT)
