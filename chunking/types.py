"""What a document becomes, and what the strategies ask of the models that they are handed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Offsets = NDArray[np.int64]
Span = tuple[int, int]  # half-open, in characters of the document

Embed = Callable[[Sequence[str]], Vectors]
"""N texts -> (N, D) float32, unit length."""

Losses = Callable[[str, str], tuple[Offsets, NDArray[np.float64]]]
"""(context, text) -> (T,) where the text's tokens start and (T,) their negative log likelihoods, in nats."""

Choose = Callable[[str, Sequence[str]], NDArray[np.float64]]
"""(prompt, options) -> (N,) how probable it is that a language model's next token begins each option."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document: `document[start:end] == text`, always.

    start, end: half-open, in characters. num_tokens: by the tokenizer that the strategy was given.
    kind: what it is, where the strategy knows ("code", "table", "turn"). headings: the titles above it,
    outermost first. level: 0 for the pieces that are searched, 1 and up for the parents of a hierarchy. parent: its
    parent's place in the list that it came in.
    """

    text: str
    start: int
    end: int
    num_tokens: int
    kind: str = ""
    headings: tuple[str, ...] = ()
    level: int = 0
    parent: int | None = None

    @property
    def span(self) -> Span:
        return self.start, self.end
