"""Models that are functions of the text alone, for tests of what is made of them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

from chunking.types import Chunk, Offsets, Vectors

TOPICS = (
    "The volcano erupted with lava and ash. Lava from the volcano ran down. Ash of the volcano fell like snow. ",
    "A violin has four strings and a bow. The bow of the violin is of horse hair. Strings of a violin are of steel. ",
    "Bread needs flour and yeast and water. Yeast makes the flour of the bread rise. Water makes bread of flour soft. ",
)
TEXT = "".join(TOPICS)
DIMENSIONS = 1024  # so many that words seldom meet
_COMMON = {"the", "a", "of", "and", "is", "are", "with", "has", "like", "from"}


def embed(texts: Sequence[str]) -> Vectors:
    """Hashed content words, unit length."""
    vectors = np.full((len(texts), DIMENSIONS), 1e-4, dtype=np.float32)
    for row, text in enumerate(texts):
        for word in re.findall(r"\w+", text.casefold()):
            if word not in _COMMON:
                vectors[row, zlib.crc32(word.encode()) % DIMENSIONS] += 1.0
    result: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return result


def losses(context: str, text: str) -> tuple[Offsets, np.ndarray]:
    """A word costs 4, or 1 where it stood before."""
    seen = set(re.findall(r"\w+", context.casefold()))
    starts, costs = [], []
    for match in re.finditer(r"\w+", text):
        starts.append(match.start())
        costs.append(1.0 if match.group().casefold() in seen else 4.0)
        seen.add(match.group().casefold())
    return np.array(starts, dtype=np.int64), np.array(costs)


def choose(prompt: str, options: Sequence[str]) -> np.ndarray:
    """Keeps what shares a content word."""
    left = re.search(r"the first: (['\"])(.*?)\1 and the second", prompt, re.DOTALL)
    right = re.search(r"and the second: (['\"])(.*?)\1\n", prompt, re.DOTALL)
    assert left and right, prompt
    words = [set(re.findall(r"\w+", side.group(2).casefold())) - _COMMON for side in (left, right)]
    keep = 0.9 if words[0] & words[1] else 0.1
    return np.array([1 - keep, keep])[: len(options)]


def assert_partition(chunks: Sequence[Chunk], text: str) -> None:
    assert "".join(chunk.text for chunk in chunks) == text
    place = 0
    for chunk in chunks:
        assert chunk.start == place and chunk.end > chunk.start and text[chunk.start : chunk.end] == chunk.text
        place = chunk.end
    assert place == len(text)
