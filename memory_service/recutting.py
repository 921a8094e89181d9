"""An edited text is cut anew where it was edited; elsewhere it keeps its chunks.

A strategy that embeds sentences to find its cuts would embed all of an edited document again, and a cut far away may
move with the mean of a whole document. So what stands before the first change and behind the last one keeps its
chunks, but for the one on each side that stood next to the change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from chunking.types import Chunk, Span

Split = Callable[[str], list[Chunk]]


def recut(old: str, chunks: Sequence[Chunk], new: str, split: Split) -> list[Chunk]:
    """The new text's chunks. chunks: of the old text, in order, without an overlap; blank ones may be missing.

    split: what cuts a text; it is asked for the changed part alone, or for all of it where nothing is common.
    """
    before, behind = common_ends(old, new)
    head = [chunk for chunk in chunks if chunk.end <= before][:-1]
    tail = [chunk for chunk in chunks if chunk.start >= len(old) - behind][1:]
    shift = len(new) - len(old)
    first = head[-1].end if head else 0
    end = tail[0].start + shift if tail else len(new)
    if end < first:  # the same words stand before and behind the change
        return split(new)
    middle = [moved(chunk, first) for chunk in split(new[first:end])]
    return [*head, *middle, *(moved(chunk, shift) for chunk in tail)]


def moved(chunk: Chunk, by: int) -> Chunk:
    return replace(chunk, start=chunk.start + by, end=chunk.end + by)


def common_ends(old: str, new: str) -> Span:
    """How many characters the texts have in common at their beginnings, and behind that at their ends."""
    length = min(len(old), len(new))
    left, right = _codes(old), _codes(new)
    differ = np.flatnonzero(left[:length] != right[:length])
    before = int(differ[0]) if len(differ) else length
    rest = length - before
    differ = np.flatnonzero(left[len(old) - rest :][::-1] != right[len(new) - rest :][::-1])
    return before, int(differ[0]) if len(differ) else rest


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
