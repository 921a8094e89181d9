"""Small chunks to find, and larger ones around them to read: parents made of whole children."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .blocks import common_headings
from .cuts import DEFAULT_MAX_TOKENS, MAX_MAX_TOKENS, check_count
from .strategies import Models, split
from .tokens import Tokenize, TokenizedText, tokenized
from .types import Choose, Chunk, Embed, Losses

DEFAULT_PARENT_TOKENS = (4 * DEFAULT_MAX_TOKENS,)
MAX_LEVELS = 8


def split_hierarchical(
    text: str,
    *,
    tokenize: Tokenize | None = None,
    embed: Embed | None = None,
    losses: Losses | None = None,
    choose: Choose | None = None,
    complete: Callable[[str], str] | None = None,
    inner: str = "recursive",
    inner_options: Mapping[str, Any] | None = None,
    parent_tokens: int | Sequence[int] = DEFAULT_PARENT_TOKENS,
) -> list[Chunk]:
    """Chunks of the strategy `inner` (level 0), and parents of them (level 1 and up).

    parent_tokens: how many tokens a parent holds, for each level from the lowest; a child that is larger has a parent
    to itself. The order is that of a table of contents: a parent, then its children, each before its own. The chunks
    of one level partition the text as the inner strategy's do. A parent ends early where the outermost heading changes.
    Raises ValueError for sizes that do not grow, and as the inner strategy does.
    """
    sizes = _sizes(parent_tokens)
    if inner == "hierarchical":
        raise ValueError("inner='hierarchical' must be another strategy; levels are given by parent_tokens")
    if inner_options is not None and not isinstance(inner_options, Mapping):
        raise ValueError(f"inner_options={inner_options!r} must be a mapping of option to value")
    models = Models(embed=embed, tokenize=tokenize, losses=losses, choose=choose, complete=complete)
    chunks = split(text, inner, models=models, options=inner_options)
    if any(chunk.level for chunk in chunks):
        raise ValueError(f"inner={inner!r} gives parents of its own: it cannot stand inside")
    document = tokenized(text, tokenize)
    levels = [chunks]
    groups: list[list[int]] = []
    for level, size in enumerate(sizes, start=1):
        group = _groups(document, levels[-1], size)
        levels.append(_parents(document, levels[-1], group, level))
        groups.append(group)
    return _in_order(levels, groups)


def _sizes(parent_tokens: int | Sequence[int]) -> list[int]:
    if isinstance(parent_tokens, str) or not isinstance(parent_tokens, int | Sequence):
        raise ValueError(f"parent_tokens={parent_tokens!r} must be a number of tokens, or one for each level")
    sizes = [parent_tokens] if isinstance(parent_tokens, int) else list(parent_tokens)
    if not 1 <= len(sizes) <= MAX_LEVELS:
        raise ValueError(f"parent_tokens={parent_tokens!r} must give 1 to {MAX_LEVELS} levels")
    for size in sizes:
        check_count("parent_tokens", size, low=1, high=MAX_MAX_TOKENS)
    if sorted(set(sizes)) != sizes:
        raise ValueError(f"parent_tokens={parent_tokens!r} must grow from level to level")
    return sizes


def _groups(document: TokenizedText, children: Sequence[Chunk], max_tokens: int) -> list[int]:
    """For each child, the number of its parent."""
    group: list[int] = []
    first = 0
    for index, child in enumerate(children):
        tokens = document.count(children[first].start, child.end)
        half_full = 2 * document.count(children[first].start, child.start) >= max_tokens
        new_topic = child.headings[:1] != children[index - 1].headings[:1] and half_full
        if index and (tokens > max_tokens or new_topic):
            first = index
        group.append((group[-1] + (first == index)) if group else 0)
    return group


def _parents(document: TokenizedText, children: Sequence[Chunk], group: Sequence[int], level: int) -> list[Chunk]:
    members: list[list[Chunk]] = []
    for child, number in zip(children, group, strict=True):
        if number == len(members):
            members.append([])
        members[number].append(child)
    parents = []
    for chunks in members:
        headings = common_headings([chunk.headings for chunk in chunks])
        kinds = {chunk.kind for chunk in chunks}
        kind = kinds.pop() if len(kinds) == 1 else "text"
        parent = document.chunk(chunks[0].start, chunks[-1].end, kind=kind, headings=headings)
        parents.append(replace(parent, level=level))
    return parents


def _in_order(levels: Sequence[Sequence[Chunk]], groups: Sequence[Sequence[int]]) -> list[Chunk]:
    """Each parent before its children, with the children's parent as a place in this list."""
    if not levels[0]:
        return []
    result: list[Chunk] = []
    places: list[list[int]] = [[-1] * len(level) for level in levels]
    for index in range(len(levels[0])):
        number, path = index, [index]
        for group in groups:
            number = group[number]
            path.append(number)
        above: int | None = None
        for level in reversed(range(len(levels))):
            if places[level][path[level]] < 0:
                places[level][path[level]] = len(result)
                result.append(replace(levels[level][path[level]], parent=above))
            above = places[level][path[level]]
    return result
