"""Tokens as places in a text, so that the tokens of any span are counted by two binary searches.

A strategy takes a `Tokenize`: a function from a text to the places at which its tokens start. The default is an
estimate that needs no model; `from_tokenizer` makes one of a Hugging Face fast tokenizer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .types import Chunk, Offsets, Span

Tokenize = Callable[[str], Offsets]
"""text -> the characters at which its tokens start, ascending. Characters before the first belong to no token."""

MAX_WORD_CHARS = 6  # a longer word counts as several tokens: word pieces of English hold about 4.5 letters

_SPACE, _JOIN, _WORD, _MARK, _IDEOGRAPH = 0, 1, 2, 3, 4
_ZERO_WIDTH_JOINER = "\u200d"
_JOINERS = {0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, *range(0xFE00, 0xFE10)}  # they belong to what stands before them
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_ROUNDS = 8  # longer words than 54 characters are split by themselves


class TokenizedText:
    """A document and where its tokens start.

    starts: (T,) int64, ascending, characters. Raises ValueError if they are not, or lie outside the text.
    """

    def __init__(self, text: str, starts: Offsets) -> None:
        if len(starts) and (starts[0] < 0 or starts[-1] >= len(text) or bool((starts[1:] < starts[:-1]).any())):
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
    ideograph is one. White space, joiners and variation selectors are none. On English prose within a tenth of what
    all-MiniLM's and GPT-4's tokenizers count.

    The starts from a token on do not depend on what stands before it: what `stream` relies on.
    """
    if not text:
        return np.zeros(0, dtype=np.int64)
    classes = _classes(text)  # (C,)
    begins = np.empty(len(classes), dtype=bool)
    begins[0] = True
    np.not_equal(classes[1:], classes[:-1], out=begins[1:])
    words = classes == _WORD
    long_words = _long_words(begins, words)  # before the marks are added: where words of more than six characters start
    begins |= classes >= _MARK
    begins &= classes > _JOIN
    if text.find(_ZERO_WIDTH_JOINER) >= 0:
        begins[1:][_codes(text)[:-1] == ord(_ZERO_WIDTH_JOINER)] = False
    _split_long_words(begins, words, long_words)
    starts: Offsets = np.flatnonzero(begins)
    return starts


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _classes(text: str) -> NDArray[np.uint8]:
    """(C,) the class of every character."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii").translate(_CLASSES_OF_BYTES), dtype=np.uint8)
    codes = _codes(text)
    beyond = np.flatnonzero(codes > 0xFF)
    if 4 * len(beyond) > len(codes):
        return _CLASSES.take(codes, mode="clip")
    of_bytes = codes.astype(np.uint8).tobytes().translate(_CLASSES_OF_BYTES)
    classes = np.frombuffer(bytearray(of_bytes), dtype=np.uint8)
    classes[beyond] = _CLASSES.take(codes[beyond], mode="clip")
    return classes


def _long_words(begins: NDArray[np.bool_], words: NDArray[np.bool_]) -> Offsets:
    """Where the words start that are longer than MAX_WORD_CHARS."""
    n = len(words) - MAX_WORD_CHARS
    if n <= 0:
        return np.zeros(0, dtype=np.int64)
    pairs = words[1:] & words[:-1]
    fours = pairs[2:] & pairs[:-2]
    found: Offsets = np.flatnonzero(begins[:n] & fours[:n] & fours[3 : n + 3])  # seven characters of a word in a row
    return found


def _split_long_words(begins: NDArray[np.bool_], words: NDArray[np.bool_], places: Offsets) -> None:
    """A start more at every MAX_WORD_CHARS characters inside the words that start at `places`."""
    for _ in range(_MAX_ROUNDS):
        places = places + MAX_WORD_CHARS
        begins[places] = True
        places = places[places + MAX_WORD_CHARS < len(words)]
        if not len(places):
            return
        inside = words[places + 1]
        for step in range(2, MAX_WORD_CHARS + 1):
            inside &= words[places + step]
        places = places[inside]
    ends = np.append(np.flatnonzero(~words), len(words))
    lengths = ends[np.searchsorted(ends, places)] - places
    for place, length in zip(places.tolist(), lengths.tolist(), strict=True):
        begins[place + MAX_WORD_CHARS : place + length : MAX_WORD_CHARS] = True


def from_tokenizer(tokenizer: Any) -> Tokenize:
    """A `Tokenize` of a Hugging Face fast tokenizer (transformers' or tokenizers').

    A token that takes the space before its word along starts at the word. Lone surrogates, which no tokenizer takes,
    are read as U+FFFD. Raises ValueError for one that gives no offsets.
    """
    if hasattr(tokenizer, "encode_batch"):  # the tokenizers library
        return lambda text: _starts(text, tokenizer.encode(_valid(text), add_special_tokens=False).offsets)
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"{type(tokenizer).__name__} gives no offsets: a fast tokenizer does")

    def tokenize(text: str) -> Offsets:
        encoded = tokenizer(_valid(text), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return _starts(text, encoded["offset_mapping"])

    return tokenize


def _valid(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def _starts(text: str, offsets: Sequence[tuple[int, int]]) -> Offsets:
    """Where the tokens start, after the white space that some vocabularies put in front of words."""
    spans = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
    spans = spans[spans[:, 1] > spans[:, 0]]
    starts, ends = spans[:, 0].copy(), spans[:, 1]
    if not len(starts):
        return starts
    spaces = _classes(text) == _SPACE
    while True:
        moved = spaces[starts] & (starts + 1 < ends)
        moved &= ~spaces[ends - 1]  # a token of nothing but white space stays
        if not moved.any():
            return np.maximum.accumulate(starts)
        starts[moved] += 1


_NUM_CLASSES = 0x30000 + 1  # beyond the ideographs' plane everything is a mark


def _class_table() -> NDArray[np.uint8]:
    table = np.full(_NUM_CLASSES, _MARK, dtype=np.uint8)
    for code in range(0x10000):
        char = chr(code)
        if char.isspace():
            table[code] = _SPACE
        elif code in _JOINERS:
            table[code] = _JOIN
        elif char.isalnum() or char == "_" or unicodedata.category(char) in ("Mn", "Mc", "Me"):
            table[code] = _WORD  # a mark that combines belongs to its letter's word
    for first, last in ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2FFFF)):
        table[first : last + 1] = _IDEOGRAPH
    table[0x1F3FB:0x1F400] = _JOIN  # skin tones
    return table


_CLASSES = _class_table()
_CLASSES_OF_BYTES = _CLASSES[:256].tobytes()
