"""Tokens as places in a text, so that the tokens of any span are counted by two binary searches.

A strategy takes a `Tokenize`: a function from a text to the places at which its tokens start. The default is an
estimate that needs no model; `from_tokenizer` makes one of a Hugging Face fast tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .types import Chunk, Offsets, Span

Tokenize = Callable[[str], Offsets]
"""text -> the characters at which its tokens start, ascending. Characters before the first belong to no token."""

MAX_WORD_CHARS = 6  # a longer word counts as several tokens: word pieces of English hold about 4.5 letters

_SPACE, _WORD, _MARK, _IDEOGRAPH = 0, 1, 2, 3


class TokenizedText:
    """A document and where its tokens start.

    starts: (T,) int64, ascending, characters. Raises ValueError if they are not, or lie outside the text.
    """

    def __init__(self, text: str, starts: Offsets) -> None:
        if len(starts) and (starts[0] < 0 or starts[-1] >= len(text) or bool((np.diff(starts) < 0).any())):
            raise ValueError(f"token starts must ascend inside the text of {len(text)} characters")
        self.text = text
        self.starts = starts

    def __len__(self) -> int:
        return len(self.starts)

    def count(self, start: int, end: int) -> int:
        """How many tokens start in [start, end)."""
        first, last = np.searchsorted(self.starts, (start, end))
        return int(last - first)

    def count_spans(self, spans: Sequence[Span]) -> NDArray[np.int64]:
        """(N,) tokens that start in each span."""
        edges = np.asarray(spans, dtype=np.int64).reshape(-1, 2)
        places = np.searchsorted(self.starts, edges)
        counts: NDArray[np.int64] = places[:, 1] - places[:, 0]
        return counts

    def chunk(self, start: int, end: int, *, kind: str = "", headings: tuple[str, ...] = ()) -> Chunk:
        """The chunk over [start, end)."""
        return Chunk(self.text[start:end], start, end, self.count(start, end), kind, headings)

    def chunks(self, spans: Sequence[Span]) -> list[Chunk]:
        """A chunk per span."""
        text, counts = self.text, self.count_spans(spans).tolist()
        return [Chunk(text[a:b], a, b, n) for (a, b), n in zip(spans, counts, strict=True)]


def tokenized(text: str, tokenize: Tokenize | None = None) -> TokenizedText:
    """The text with the starts that `tokenize` gives; estimated without one."""
    return TokenizedText(text, (tokenize or estimate_tokens)(text))


def estimate_tokens(text: str) -> Offsets:
    """Where the tokens of a word-piece vocabulary would start, about: no model, more than 100 MB/s.

    A word is a token, and one more for every six characters beyond the first six; every mark of punctuation and every
    ideograph is one. On English prose within a tenth of what all-MiniLM's and GPT-4's tokenizers count.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)  # (C,)
    if not len(codes):
        return np.zeros(0, dtype=np.int64)
    classes = _CLASSES[np.minimum(codes, _NUM_CLASSES - 1)]  # (C,)
    begins = np.empty(len(codes), dtype=bool)
    begins[0] = True
    np.not_equal(classes[1:], classes[:-1], out=begins[1:])
    begins |= classes >= _MARK
    begins &= classes != _SPACE
    starts: Offsets = np.flatnonzero(begins)
    return _split_long_words(starts, classes)


def _split_long_words(starts: Offsets, classes: NDArray[np.uint8]) -> Offsets:
    """A start more at every MAX_WORD_CHARS characters inside a long word."""
    spaces_or_starts = np.flatnonzero(np.concatenate([classes[1:] != classes[:-1], [True]])) + 1  # where runs end
    ends = spaces_or_starts[np.searchsorted(spaces_or_starts, starts, side="right")]
    more = np.where(classes[starts] == _WORD, (ends - starts - 1) // MAX_WORD_CHARS, 0)
    if not more.any():
        return starts
    rank = np.arange(int(more.sum() + len(starts))) - np.repeat(np.cumsum(more + 1) - (more + 1), more + 1)
    result: Offsets = np.repeat(starts, more + 1) + rank * MAX_WORD_CHARS
    return result


def from_tokenizer(tokenizer: Any) -> Tokenize:
    """A `Tokenize` of a Hugging Face fast tokenizer (transformers' or tokenizers').

    Raises ValueError for one that gives no offsets.
    """
    if hasattr(tokenizer, "encode_batch"):  # the tokenizers library
        return lambda text: _starts(tokenizer.encode(text, add_special_tokens=False).offsets)
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"{type(tokenizer).__name__} gives no offsets: a fast tokenizer does")
    return lambda text: _starts(
        tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    )


def _starts(offsets: Sequence[tuple[int, int]]) -> Offsets:
    return np.asarray([start for start, end in offsets if end > start], dtype=np.int64)


_NUM_CLASSES = 0x30000 + 1  # beyond the ideographs' plane everything is a mark


def _class_table() -> NDArray[np.uint8]:
    table = np.full(_NUM_CLASSES, _MARK, dtype=np.uint8)
    for code in range(0x10000):
        char = chr(code)
        if char.isspace():
            table[code] = _SPACE
        elif char.isalnum() or char == "_" or 0x300 <= code <= 0x36F:
            table[code] = _WORD
    for first, last in ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FFFF)):
        table[first : last + 1] = _IDEOGRAPH
    return table


_CLASSES = _class_table()
