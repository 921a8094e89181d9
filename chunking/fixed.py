"""Chunks of a fixed number of tokens, with or without an overlap."""

from __future__ import annotations

from .cuts import DEFAULT_MAX_TOKENS, Cut, check_count, furthest, walk
from .tokens import Tokenize, TokenizedText, tokenized
from .types import Chunk


def split_fixed(
    text: str, *, tokenize: Tokenize | None = None, max_tokens: int = DEFAULT_MAX_TOKENS, overlap_tokens: int = 0
) -> list[Chunk]:
    """Chunks of max_tokens tokens each, the last of what is left.

    overlap_tokens: how many of a chunk's tokens begin the next one too; a chunk holds max_tokens all the same.
    Raises ValueError for an overlap that is not less than max_tokens.
    """
    cut = fixed_cut(max_tokens=max_tokens, overlap_tokens=overlap_tokens)
    document = tokenized(text, tokenize)
    return document.chunks(list(walk(document, cut)))


def fixed_cut(*, max_tokens: int = DEFAULT_MAX_TOKENS, overlap_tokens: int = 0) -> Cut:
    check_count("max_tokens", max_tokens, low=1)
    check_count("overlap_tokens", overlap_tokens, low=0)
    if overlap_tokens >= max_tokens:
        raise ValueError(f"overlap_tokens={overlap_tokens} must be less than max_tokens={max_tokens}")

    def cut(text: TokenizedText, start: int) -> tuple[int, int]:
        end = furthest(text, start, max_tokens)
        if not overlap_tokens:
            return end, end
        following = (
            int(text.starts[int(text.starts.searchsorted(end)) - overlap_tokens]) if end < len(text.text) else end
        )
        return end, following if following > start else end

    return cut
