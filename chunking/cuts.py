"""Where a text may be cut: the places that the strategies of plain text choose from, and how they walk along it.

A `Cut` looks at a few hundred tokens from a chunk's start and says where the chunk ends. It sees nothing before the
start but a little context, so the same cuts come out whether the whole text is there or a window on it (`stream`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

from .sentences import sentence_ends
from .tokens import TokenizedText
from .types import Span

DEFAULT_MAX_TOKENS = 256  # what the default embedding model reads of a text, and not more
MAX_MAX_TOKENS = 1_000_000

Cut = Callable[[TokenizedText, int], tuple[int, int]]
"""(document, start of a chunk) -> (its end, the start of the next chunk). The end is after the start."""

_NEW_LINE = "\n\r\f\v\x85\u2028\u2029"
_BLANK_LINES = re.compile(r"(?:\n[^\S\n]*\n|\r[^\S\r\n]*\r|\f|\u2029)\s*")
_LINES = re.compile(rf"[{_NEW_LINE}]\s*")
_CLAUSES = re.compile(r"[,;:)\]–—，、；：،؛]+[\"'”’]*(?:\s+|(?<=[，、；：]))")
_JOINERS = "\u200d\ufe0e\ufe0f"
_MAX_CLUSTER_CHARS = 32
_BACK_CHARS = 16  # looked at before a place, for the marks and the white space that make it one


def check_count(name: str, value: object, *, low: int, high: int = MAX_MAX_TOKENS) -> int:
    """The value, if it is a whole number from low to high. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name}={value!r} must be a whole number from {low} to {high}")
    return value


def walk(text: TokenizedText, cut: Cut, start: int = 0, stop: int | None = None) -> Iterator[Span]:
    """Spans of the chunks from start to stop (the text's end), as `cut` makes them."""
    stop = len(text.text) if stop is None else stop
    while start < stop:
        end, following = cut(text, start)
        yield start, min(end, stop)
        if end >= stop:
            return
        start = following


def furthest(text: TokenizedText, start: int, max_tokens: int) -> int:
    """The furthest end of a chunk from start: not more than max_tokens start in it, if one character has no more."""
    starts = text.starts
    first = int(starts.searchsorted(start))
    if first + max_tokens >= len(starts):
        return len(text.text)
    end = int(starts[first + max_tokens])
    if end > start:
        return end
    beyond = int(starts.searchsorted(start, side="right"))  # more than max_tokens in one character
    return int(starts[beyond]) if beyond < len(starts) else len(text.text)


def whole_cluster(text: str, start: int, end: int) -> int:
    """The end, moved back so that no accent and no joined emoji is cut off what it belongs to, where that can be."""
    place = end
    while start < place < len(text) and end - place < _MAX_CLUSTER_CHARS:
        if not (_joins(text[place]) or text[place - 1] == "\u200d" or text[place - 1 : place + 1] == "\r\n"):
            return place
        place -= 1
    return end if place <= start or end - place >= _MAX_CLUSTER_CHARS else place


def _joins(char: str) -> bool:
    return char > "\u02ff" and (
        char in _JOINERS or "\U0001f3fb" <= char <= "\U0001f3ff" or unicodedata.category(char) in ("Mn", "Mc", "Me")
    )


def last_blank_line(text: str, low: int, high: int) -> int | None:
    """The last place in (low, high] after blank lines and the white space that follows."""
    return _last(_BLANK_LINES, text, low, high)


def last_line(text: str, low: int, high: int, *, without_capitals: bool = False) -> int | None:
    """The last place in (low, high] after a line's end that looks meant: no small letter begins the next."""
    if without_capitals:
        return last_wrapped_line(text, low, high)
    found = None
    for match in _LINES.finditer(text, max(0, low - _BACK_CHARS), high):
        end = match.end()
        if low < end < len(text) and not text[end].islower():
            found = end
    return found


def last_wrapped_line(text: str, low: int, high: int) -> int | None:
    """The last place in (low, high] after any line's end."""
    return _last(_LINES, text, low, high)


def last_sentence(text: str, low: int, high: int, *, without_capitals: bool = False) -> int | None:
    """The last place in (low, high] where a sentence ends."""
    found = None
    for end in sentence_ends(text, max(0, low - _BACK_CHARS), high, without_capitals=without_capitals):
        if end > low:
            found = end
    return found


def last_clause(text: str, low: int, high: int) -> int | None:
    """The last place in (low, high] after a comma, a colon, a dash, a bracket and the white space that follows."""
    return _last(_CLAUSES, text, low, high)


def last_word(text: str, low: int, high: int) -> int | None:
    """The last place in (low, high] where a word begins; high itself, where no word would be cut there."""
    if high >= len(text) or not (text[high].isalnum() and text[high - 1].isalnum()) or _is_ideograph(text[high]):
        return high
    words = text[low:high].rsplit(maxsplit=1)
    place = high - len(words[-1]) if words else high
    return place if place > low else None


def last_token(text: TokenizedText, start: int, high: int) -> int:
    """`high`, or the end of the character before that must stay whole."""
    return whole_cluster(text.text, start, high)


def finer_cut(text: TokenizedText, start: int, low: int, high: int) -> int:
    """Where to cut what has no sentence's end in (low, high]: at a clause, else between words, else between tokens."""
    place = last_clause(text.text, low, high)
    if place is None:
        place = last_word(text.text, start, high)
    return last_token(text, start, high) if place is None else place


def _last(pattern: re.Pattern[str], text: str, low: int, high: int) -> int | None:
    found = None
    for match in pattern.finditer(text, max(0, low - _BACK_CHARS), high):
        found = match.end()
    return found if found is not None and found > low else None


def _is_ideograph(char: str) -> bool:
    return "\u3040" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff" or "\U00020000" <= char <= "\U0002ffff"
