"""Whole sentences, as many as fit."""

from __future__ import annotations

from .cuts import DEFAULT_MAX_TOKENS, Cut, check_count, finer_cut, furthest, walk
from .sentences import is_without_capitals, sentence_ends
from .tokens import Tokenize, TokenizedText, tokenized
from .types import Chunk


def split_by_sentence(
    text: str, *, tokenize: Tokenize | None = None, max_tokens: int = DEFAULT_MAX_TOKENS, overlap_sentences: int = 0
) -> list[Chunk]:
    """Chunks of as many whole sentences as max_tokens hold. A longer sentence is cut at clauses, words, tokens.

    overlap_sentences: how many sentences of a chunk begin the next one too; fewer where the next sentence would
    not fit beside them.
    """
    cut = sentence_cut(text, max_tokens=max_tokens, overlap_sentences=overlap_sentences)
    document = tokenized(text, tokenize)
    return document.chunks(list(walk(document, cut)))


def sentence_cut(beginning: str, *, max_tokens: int = DEFAULT_MAX_TOKENS, overlap_sentences: int = 0) -> Cut:
    """beginning: of the document, enough to tell whether it is written with capitals."""
    check_count("max_tokens", max_tokens, low=1)
    check_count("overlap_sentences", overlap_sentences, low=0, high=1000)
    without_capitals = is_without_capitals(beginning)

    def cut(text: TokenizedText, start: int) -> tuple[int, int]:
        high = furthest(text, start, max_tokens)
        if high >= len(text.text):
            return high, high
        ends = list(sentence_ends(text.text, start, high, without_capitals=without_capitals))
        if not ends:
            end = finer_cut(text, start, furthest(text, start, max(1, max_tokens // 2)), high)
            return end, end
        if not overlap_sentences:
            return ends[-1], ends[-1]
        return ends[-1], _next_start(text, ends)

    def _next_start(text: TokenizedText, ends: list[int]) -> int:
        """The earliest of the last sentences from which a chunk reaches beyond this one by a sentence."""
        end = ends[-1]
        for following in ends[-1 - overlap_sentences : -1]:
            high = furthest(text, following, max_tokens)
            if high >= len(text.text):
                return following
            beyond = next(sentence_ends(text.text, end, high, without_capitals=without_capitals), None)
            if beyond is not None:
                return following
        return end

    return cut
