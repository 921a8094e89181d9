"""What a parser is told, and what it gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
MAX_TITLE_CHARS = 500


class Refused(ValueError):
    """The file cannot be read. The message is a sentence for whoever sent it; it holds nothing of the file's text."""


@dataclass(frozen=True, slots=True)
class Limits:
    """max_bytes: of an archive, unpacked too. memory_mb: of the parser's whole address space. timeout_s: of processor
    time, and of time on the clock."""

    max_bytes: int
    max_pages: int
    max_chars: int
    memory_mb: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Head:
    """num_pages: None where the format has none. title: the file's own, where it says one."""

    num_pages: int | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that follows the piece before it without a gap. page: from 1, where the format has pages."""

    text: str
    page: int | None = None


Parse = Callable[[Path, Limits, int], Iterator[Head | Piece]]
"""(file, limits, how many pieces to leave out at the beginning) -> the head, where there is one, then the pieces."""

PIECE_CHARS = 200_000  # of a format without pages


def storable(text: str) -> str:
    """Without the characters that PostgreSQL and UTF-8 cannot hold."""
    return UNSTORABLE.sub("", text)


def in_pieces(text: str, skip: int) -> Iterator[Piece]:
    """A text without pages, cut where no surrogate and no line is torn for nothing."""
    for number, start in enumerate(range(0, len(text), PIECE_CHARS)):
        if number >= skip:
            yield Piece(text[start : start + PIECE_CHARS])


def clean_title(title: str | None) -> str:
    return " ".join(storable(title or "").split())[:MAX_TITLE_CHARS]
