"""The largest parts that fit: paragraphs, else lines, sentences, clauses, words, tokens."""

from __future__ import annotations

from .cuts import (
    DEFAULT_MAX_TOKENS,
    Cut,
    check_count,
    finer_cut,
    furthest,
    last_blank_line,
    last_clause,
    last_line,
    last_sentence,
    last_wrapped_line,
    walk,
)
from .sentences import is_without_capitals
from .tokens import Tokenize, TokenizedText, tokenized
from .types import Chunk

MIN_SHARE = 8  # of max_tokens: the eighth part is a crumb's size, where min_tokens is not given


def split_recursive(
    text: str, *, tokenize: Tokenize | None = None, max_tokens: int = DEFAULT_MAX_TOKENS, min_tokens: int | None = None
) -> list[Chunk]:
    """From each chunk's start: the most paragraphs that max_tokens hold; where not one ends there, the most lines;
    then sentences, clauses, wrapped lines, words and tokens.

    A line that is continued by a small letter is taken as wrapped, so sentences come before it.
    min_tokens: no chunk is smaller (an eighth of max_tokens; 0 for crumbs as they come), except a text that is, and
    where a tokenizer puts many tokens on one character. Raises ValueError where it is more than half of max_tokens.
    """
    cut = recursive_cut(text, max_tokens=max_tokens, min_tokens=min_tokens)
    document = tokenized(text, tokenize)
    return document.chunks(list(walk(document, cut)))


def recursive_cut(beginning: str, *, max_tokens: int = DEFAULT_MAX_TOKENS, min_tokens: int | None = None) -> Cut:
    """beginning: of the document, enough to tell whether it is written with capitals."""
    check_count("max_tokens", max_tokens, low=1)
    least = max_tokens // MIN_SHARE if min_tokens is None else check_count("min_tokens", min_tokens, low=0)
    if 2 * least > max_tokens:
        raise ValueError(f"min_tokens={least} must be at most half of max_tokens={max_tokens}")
    without_capitals = is_without_capitals(beginning)

    def cut(text: TokenizedText, start: int) -> tuple[int, int]:
        high = furthest(text, start, max_tokens)
        if high >= len(text.text):
            return high, high
        low = start
        if least:
            if text.count(high, furthest(text, high, least)) < least:  # the rest would be a crumb
                first = int(text.starts.searchsorted(start))
                high = max(start + 1, int(text.starts[max(first + least, len(text) - least)]))
            low = min(furthest(text, start, least), high) - 1  # places in (low, high] leave enough on this side
        end = _coarsest(text, start, low, high)
        return end, end

    def _coarsest(text: TokenizedText, start: int, low: int, high: int) -> int:
        found = (
            last_blank_line(text.text, low, high)
            or last_line(text.text, low, high, without_capitals=without_capitals)
            or last_sentence(text.text, low, high, without_capitals=without_capitals)
            or last_clause(text.text, low, high)
            or last_wrapped_line(text.text, low, high)
        )
        return found or finer_cut(text, low, low, high)

    return cut
