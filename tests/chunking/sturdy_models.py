"""The models that strategies ask for, small and deterministic, and for any text: lone surrogates too."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from chunking.strategies import Models
from chunking.types import Offsets, Vectors

DIMENSIONS = 64


def bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def embed(texts: Sequence[str]) -> Vectors:
    """Hashed words, so texts that share words are near each other."""
    vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in re.findall(r"\w+", text.lower()) or [text]:
            digest = hashlib.blake2b(bytes_of(word), digest_size=8).digest()
            vectors[row, digest[0] % DIMENSIONS] += 1 if digest[1] % 2 else -1
        vectors[row, 0] += 0.01  # never of length zero
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, 1e-6)


def losses(context: str, text: str) -> tuple[Offsets, np.ndarray]:
    """A word costs less that stood in the context or earlier in the text."""
    seen = set(re.findall(r"\S+", context))
    starts, values = list[int](), list[float]()
    for match in re.finditer(r"\S+", text):
        word = match.group()
        digest = hashlib.blake2b(bytes_of(word), digest_size=2).digest()
        starts.append(match.start())
        values.append((0.5 if word in seen else 3.0) + digest[0] / 255)
        seen.add(word)
    return np.asarray(starts, dtype=np.int64), np.asarray(values, dtype=np.float64)


def choose(prompt: str, options: Sequence[str]) -> np.ndarray:
    """Probabilities from a hash of the prompt and the option; they leave a tenth to other tokens."""
    scores = [1 + hashlib.blake2b(bytes_of(prompt + "\0" + option), digest_size=1).digest()[0] for option in options]
    return 0.9 * np.asarray(scores, dtype=np.float64) / max(1, sum(scores))


def complete(prompt: str) -> str:
    """An answer that is a list of the prompt's longest words, a line each: nothing that a parser may rely on."""
    words = sorted(set(re.findall(r"\w{4,}", prompt)), key=lambda word: (-len(word), word))
    return "\n".join(f"What about {word}?" for word in words[:5])


def models() -> Models:
    return Models(embed=embed, losses=losses, choose=choose, complete=complete)
