"""Blocks of a document whose structure is known, packed into chunks: shared by Markdown, HTML, code and conversations.

A block begins at the beginning of its line, so the line's indentation stays with it; the white space after a block
belongs to it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from .cuts import DEFAULT_MAX_TOKENS, Cut, check_count, finer_cut, furthest, walk
from .recursive import MIN_SHARE, recursive_cut
from .sentences import is_without_capitals
from .tokens import TokenizedText
from .types import Chunk, Span

Path = tuple[str, ...]
Packed = tuple[int, int, str, Path]
"""start, end, kind and headings of a chunk"""
MAX_TITLE_CHARS = 200


@dataclass(slots=True)  # not frozen: a document has many, and a frozen one takes four times as long to make
class Block:
    """start: in characters; it ends where the next begins. kind, headings: as a chunk's.

    opens: begins a section, before which a chunk ends that is large enough. glued: stays with the block that follows.
    inner: places inside where it is best cut if it does not fit, ascending: a table's rows, a list's items.
    caption: the last heading of what does not fit into its first chunk: a table's header row, a turn's speaker.
    """

    start: int
    kind: str = "text"
    headings: Path = ()
    opens: bool = False
    glued: bool = False
    inner: tuple[int, ...] = ()
    caption: str = ""

    def continued(self) -> Block:
        """What its chunks after the first are made of."""
        return replace(self, headings=(*self.headings, self.caption)) if self.caption else self


def common_headings(paths: Sequence[Path]) -> Path:
    """The headings that all paths begin with."""
    first = paths[0]
    if all(path is first for path in paths):
        return first
    first, last = min(paths), max(paths)
    common = 0
    while common < min(len(first), len(last)) and first[common] == last[common]:
        common += 1
    return first[:common]


def check_sizes(max_tokens: int, min_tokens: int | None) -> int:
    """The least number of tokens before a section begins a new chunk. Raises ValueError."""
    check_count("max_tokens", max_tokens, low=1)
    least = max_tokens // MIN_SHARE if min_tokens is None else check_count("min_tokens", min_tokens, low=0)
    if 2 * least > max_tokens:
        raise ValueError(f"min_tokens={least} must be at most half of max_tokens={max_tokens}")
    return least


def pack(
    text: TokenizedText,
    blocks: Sequence[Block],
    *,
    max_tokens: int,
    min_tokens: int = 0,
    adjust: Callable[[str, int, int], int] | None = None,
) -> list[Chunk]:
    """Chunks of whole blocks; a block of more than max_tokens is cut as its kind allows.

    The first block's start is taken as 0. A chunk's kind is that of its blocks where they have one (what is glued to
    them aside), else "text". Its headings are those that all these blocks have in common.
    adjust: (text, start, end) -> a better end in (start, end] for a chunk that does not end with its block.
    """
    if text.text and not blocks:
        blocks = [Block(0)]  # nothing but white space
    found = list(_Packer(text, blocks, max_tokens, min_tokens, adjust).chunks())
    counts = text.count_spans([(start, end) for start, end, _, _ in found]).tolist()
    document = text.text
    return [
        Chunk(document[start:end], start, end, count, kind, headings)
        for (start, end, kind, headings), count in zip(found, counts, strict=True)
    ]


class _Packer:
    """One pass over the blocks. The current chunk is [start, end) and made of the blocks first..last."""

    def __init__(
        self,
        text: TokenizedText,
        blocks: Sequence[Block],
        max_tokens: int,
        min_tokens: int,
        adjust: Callable[[str, int, int], int] | None,
    ) -> None:
        self.adjust = adjust
        self.without_capitals = is_without_capitals(text.text)
        self.text, self.blocks, self.max_tokens, self.min_tokens = text, blocks, max_tokens, min_tokens
        starts = [0, *(block.start for block in blocks[1:])]
        self.spans: list[Span] = list(zip(starts, [*starts[1:], len(text.text)], strict=True)) if blocks else []
        self.counts: list[int] = text.count_spans(self.spans).tolist()

    def chunks(self) -> Iterator[Packed]:
        start, tokens, members, only_glued = 0, 0, list[Block](), True
        for index, (block, count) in enumerate(zip(self.blocks, self.counts, strict=True)):
            if members and self._ends_before(index, tokens, only_glued):
                yield self._chunk(start, self.spans[index][0], members)
                start, tokens, members, only_glued = self.spans[index][0], 0, [], True
            members.append(block)
            only_glued = only_glued and block.glued
            tokens += count
            if tokens > self.max_tokens:
                *whole, rest = self._cut(start, self.spans[index][1], block)
                for piece in whole:
                    yield self._chunk(*piece, members)
                    members = [block.continued()]
                start, tokens = rest[0], self.text.count(*rest)
        if members:
            yield self._chunk(start, len(self.text.text), members)

    def _ends_before(self, index: int, tokens: int, only_glued: bool) -> bool:
        if not only_glued:
            return self._breaks_before(index, tokens)
        block, count = self.blocks[index], self.counts[index]
        if tokens + count <= self.max_tokens or count > self.max_tokens:
            return False
        # a title stays with the first part of a paragraph that fits only without it
        return bool(block.inner) or block.kind != "text" or tokens >= self.max_tokens // 2

    def _breaks_before(self, index: int, tokens: int) -> bool:
        block = self.blocks[index]
        if block.opens and tokens >= self.min_tokens:
            return True
        needed = self._needed(index) if block.glued else self.counts[index]
        return tokens + needed > self.max_tokens

    def _needed(self, index: int) -> int:
        """Tokens of the block, and of what it is glued to where both fit into a chunk."""
        needed = self.counts[index]
        while self.blocks[index].glued and index + 1 < len(self.blocks):
            index += 1
            if needed + self.counts[index] > self.max_tokens:
                break
            needed += self.counts[index]
        return needed

    def _cut(self, start: int, end: int, block: Block) -> list[Span]:
        cut = cut_for(block, end, max_tokens=self.max_tokens, without_capitals=self.without_capitals)
        adjust = self.adjust
        if adjust is None:
            return list(walk(self.text, cut, start, end))

        def adjusted(text: TokenizedText, start: int) -> tuple[int, int]:
            place = cut(text, start)[0]
            place = adjust(text.text, start, place) if place < end else place
            return place, place

        return list(walk(self.text, adjusted, start, end))

    def _chunk(self, start: int, end: int, members: Sequence[Block]) -> Packed:
        if len(members) == 1:
            return start, end, members[0].kind, members[0].headings
        members = [member for member in members if not member.glued] or members
        kinds = {member.kind for member in members}
        kind = kinds.pop() if len(kinds) == 1 else "text"
        return start, end, kind, common_headings([member.headings for member in members])


def cut_for(block: Block, end: int, *, max_tokens: int, without_capitals: bool) -> Cut:
    """How a block that is too long is cut: at its inner places, else as code or as text."""
    if block.kind == "code":
        finer = code_cut(max_tokens=max_tokens)
    elif block.inner:
        finer = line_cut(max_tokens=max_tokens)
    else:
        finer = recursive_cut("", max_tokens=max_tokens, min_tokens=0, without_capitals=without_capitals)
    inner = block.inner

    def cut(text: TokenizedText, start: int) -> tuple[int, int]:
        high = furthest(text, start, max_tokens)
        if high >= end:
            return end, end
        place = _last_place(inner, start, high)
        return (place, place) if place is not None else finer(text, start)

    return cut


def _last_place(places: Sequence[int], low: int, high: int) -> int | None:
    index = bisect_right(places, high)
    return places[index - 1] if index and places[index - 1] > low else None


def line_cut(*, max_tokens: int = DEFAULT_MAX_TOKENS) -> Cut:
    """Before the last line that does not fit, else as a sentence is cut."""

    def cut(text: TokenizedText, start: int) -> tuple[int, int]:
        high = furthest(text, start, max_tokens)
        if high >= len(text.text):
            return high, high
        place = text.text.rfind("\n", start, high) + 1
        end = place if place > start and text.text[start:place].strip() else _finer(text, start, high)
        return end, end

    return cut


def code_cut(*, max_tokens: int = DEFAULT_MAX_TOKENS) -> Cut:
    """Before the least indented of the last lines, those after a blank line first; a chunk is at least half full."""

    def cut(text: TokenizedText, start: int) -> tuple[int, int]:
        high = furthest(text, start, max_tokens)
        if high >= len(text.text):
            return high, high
        end = _least_indented(text.text, furthest(text, start, max(1, max_tokens // 2)), high)
        if end is None:
            place = text.text.rfind("\n", start, high) + 1
            end = place if place > start and text.text[start:place].strip() else _finer(text, start, high)
        return end, end

    return cut


def _least_indented(text: str, low: int, high: int) -> int | None:
    """The line's start in (low, high] with the least indentation; of several, one after a blank line, and the last."""
    best, found = (1 << 30, 0), None
    place = text.find("\n", low, high) + 1
    after_blank = False
    while place:
        following = text.find("\n", place, high) + 1
        line = text[place : following or high + 1]
        indent = len(line) - len(line.lstrip())
        if line.strip():
            closes = line.lstrip()[0] in ")}]"  # a closing bracket stays with what it closes
            rank = (indent + 4 * closes, 0 if after_blank else 1)
            if rank <= best:
                best, found = rank, place
        after_blank = not line.strip()
        place = following
    return found


def _finer(text: TokenizedText, start: int, high: int) -> int:
    first = int(text.starts.searchsorted(start))
    beyond = int(text.starts.searchsorted(high))
    low = max(start, int(text.starts[(first + beyond) // 2]) if first < beyond else start)
    return finer_cut(text, start, min(low, high - 1), high)
