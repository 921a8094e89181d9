"""Meta-Chunking's dynamic merge: the chunks of any other strategy put together, in order, up to a length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .pieces import check_sizes
from .strategies import STRATEGIES, Models, split
from .tokens import Tokenize, TokenizedText, tokenized
from .types import Choose, Chunk, Embed, Losses

NAME = "dynamic_merge"


def split_dynamic_merge(
    text: str,
    *,
    embed: Embed | None = None,
    losses: Losses | None = None,
    choose: Choose | None = None,
    complete: Callable[[str], str] | None = None,
    tokenize: Tokenize | None = None,
    base: str = "perplexity",
    base_options: Mapping[str, Any] | None = None,
    max_tokens: int = 300,
) -> list[Chunk]:
    """base: the strategy whose chunks are merged; base_options: its own options, max_tokens among them.

    Raises ValueError for a base that is not known, that misses a model, or whose chunks overlap or form levels.
    """
    _, max_tokens = check_sizes(0, max_tokens)
    if not isinstance(base, str) or base == NAME or base not in STRATEGIES:
        accepted = ", ".join(sorted(STRATEGIES.keys() - {NAME}))
        raise ValueError(f"base={base!r} must be one of {accepted}")
    if base_options is not None and not isinstance(base_options, Mapping):
        raise ValueError(f"base_options={base_options!r} must be an object")
    options = dict(base_options or {})
    if "max_tokens" not in options:
        options["max_tokens"] = max_tokens
    models = Models(embed, tokenize, losses, choose, complete)
    return merge(tokenized(text, tokenize), split(text, base, models=models, options=options), max_tokens)


def merge(document: TokenizedText, chunks: Sequence[Chunk], max_tokens: int) -> list[Chunk]:
    """Greedy: the next chunk is appended while the total is max_tokens or less.

    What merged chunks have in common of kind and headings is kept. Raises ValueError unless chunks partition the text.
    """
    merged: list[Chunk] = []
    for chunk in chunks:
        if chunk.start != (merged[-1].end if merged else 0):
            raise ValueError(
                f"the chunk at {chunk.start} does not begin where the one before ends: it cannot be merged"
            )
        if merged and merged[-1].num_tokens + chunk.num_tokens <= max_tokens:
            last = merged[-1]
            whole = document.chunk(
                last.start,
                chunk.end,
                kind=last.kind if last.kind == chunk.kind else "",
                headings=_common(last.headings, chunk.headings),
            )
            merged[-1] = whole
        else:
            merged.append(replace(chunk, parent=None, level=0))
    return merged


def _common(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """The titles above both."""
    length = 0
    while length < min(len(first), len(second)) and first[length] == second[length]:
        length += 1
    return first[:length]
