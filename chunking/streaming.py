"""Chunks of a text that is too large to hold: pieces in, chunks out, as soon as they are certain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from .by_sentence import sentence_cut
from .cuts import DEFAULT_MAX_TOKENS, Cut, furthest, last_blank_line, last_sentence, last_word, last_wrapped_line
from .fixed import fixed_cut
from .recursive import recursive_cut
from .sentences import CAPITALS_SAMPLE, MAX_CONTEXT
from .strategies import Models, split
from .tokens import TokenizedText, tokenized
from .types import Chunk

DEFAULT_BLOCK_CHARS = 1_000_000
MAX_BLOCKS = 8  # held while no chunk is certain; then one is made all the same
_CONTEXT_TOKENS = 64  # kept before a chunk's start, so that a window is tokenized as the whole is
_MIN_CONTEXT_CHARS = 32

EXACT: dict[str, Callable[..., Cut]] = {
    "fixed": lambda beginning, **options: fixed_cut(**options),
    "sentence": sentence_cut,
    "recursive": recursive_cut,
}
"""Strategies whose chunks are the same, streamed or not. They look ahead at most twice max_tokens."""


def stream(
    pieces: Iterable[str],
    strategy: str,
    *,
    models: Models | None = None,
    options: Mapping[str, Any] | None = None,
    block_chars: int = DEFAULT_BLOCK_CHARS,
) -> Iterator[Chunk]:
    """The chunks of all pieces together, with offsets into the whole; the same however the text is cut into pieces.

    The strategies in EXACT give what `split` gives for the whole text (with `estimate_tokens`, or a tokenizer whose
    tokens depend on no more than the word they are in). The others get blocks of at most block_chars characters that
    end at blank lines, so each block is chunked as a document of its own.

    A few blocks are held at most. Raises ValueError as `split` does, before the first piece is read.
    """
    if isinstance(block_chars, bool) or not isinstance(block_chars, int) or block_chars < 1:
        raise ValueError(f"block_chars={block_chars!r} must be a whole number above 0")
    split("", strategy, models=models, options=options)  # bad options are refused here as they are there
    if strategy in EXACT:
        return _stream_cuts(_Buffer(pieces), strategy, models or Models(), dict(options or {}), block_chars)
    return _stream_blocks(_Buffer(pieces), strategy, models, options, block_chars)


class _Buffer:
    """Pieces as one text that grows at the end and is dropped at the front. base: the place of its first character."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces = iter(pieces)
        self._rest = ""
        self.text = ""
        self.base = 0
        self.ended = False

    def fill(self, size: int) -> None:
        """Grow the text to `size` characters, or to what there is: an end is seen only when no piece is left."""
        parts, have = [self.text], len(self.text)
        while have <= size and not self.ended:
            piece = self._rest or next(self._pieces, None)
            self._rest = ""
            if piece is None:
                self.ended = True
                break
            if not isinstance(piece, str):
                raise ValueError(f"pieces must be text, not {type(piece).__name__}")
            if have + len(piece) > size + 1:
                take = size + 1 - have
                piece, self._rest = piece[:take], piece[take:]
            parts.append(piece)
            have += len(piece)
        self.text = "".join(parts)

    def drop(self, chars: int) -> None:
        self.text = self.text[chars:]
        self.base += chars


def _stream_cuts(
    buffer: _Buffer, strategy: str, models: Models, options: dict[str, Any], block_chars: int
) -> Iterator[Chunk]:
    buffer.fill(max(block_chars, CAPITALS_SAMPLE))
    cut = EXACT[strategy](buffer.text[:CAPITALS_SAMPLE], **options)
    lookahead = 2 * int(options.get("max_tokens", DEFAULT_MAX_TOKENS))
    most = MAX_BLOCKS * max(block_chars, lookahead + MAX_CONTEXT)
    start, size = 0, block_chars
    while True:
        document = tokenized(buffer.text, models.tokenize)
        held = start
        forced = len(buffer.text) - start > most and not _is_certain(document, start, lookahead)
        while start < len(buffer.text) and (forced or buffer.ended or _is_certain(document, start, lookahead)):
            end, following = cut(document, start)
            chunk = document.chunk(start, end)
            yield replace(chunk, start=chunk.start + buffer.base, end=chunk.end + buffer.base)
            start = len(buffer.text) if end >= len(buffer.text) else following
            forced = False
        if buffer.ended and start >= len(buffer.text):
            return
        size = block_chars if start > held else 2 * size
        start = _drop_before(buffer, document, start)
        buffer.fill(start + size)


def _is_certain(document: TokenizedText, start: int, lookahead: int) -> bool:
    """Whether all that a cut from start may look at is there."""
    return furthest(document, start, lookahead) + MAX_CONTEXT < len(document.text)


def _drop_before(buffer: _Buffer, document: TokenizedText, start: int) -> int:
    """Drop what no further chunk needs. Returns where the next chunk starts in what is left."""
    token = int(document.starts.searchsorted(start)) - _CONTEXT_TOKENS
    while token > 0 and start - int(document.starts[token]) < _MIN_CONTEXT_CHARS:
        token -= 1
    if token <= 0:
        return start
    keep = int(document.starts[token])
    buffer.drop(keep)
    return start - keep


def _stream_blocks(
    buffer: _Buffer, strategy: str, models: Models | None, options: Mapping[str, Any] | None, block_chars: int
) -> Iterator[Chunk]:
    num_chunks = 0
    while True:
        buffer.fill(block_chars)
        size = len(buffer.text) if buffer.ended else _block_end(buffer.text)
        chunks = split(buffer.text[:size], strategy, models=models, options=options)
        for chunk in chunks:
            parent = None if chunk.parent is None else chunk.parent + num_chunks
            yield replace(chunk, start=chunk.start + buffer.base, end=chunk.end + buffer.base, parent=parent)
        num_chunks += len(chunks)
        buffer.drop(size)
        if buffer.ended and not buffer.text:
            return


def _block_end(text: str) -> int:
    """Where a block ends in its second half: at the last blank line, else line, sentence, word."""
    low, high = len(text) // 2, len(text) - 1
    return (
        last_blank_line(text, low, high)
        or last_wrapped_line(text, low, high)
        or last_sentence(text, low, high)
        or last_word(text, low, high)
        or max(1, high)
    )
