"""What a question can use of a text beside its words: who said it, and what kind of answer it may hold.

Packed into one integer when the text is written, so that a search reads it with the document and no text.

    bits  0-15  names a time, names a number; the others are free
    bits 16-38  the first name of who said it, hashed
    bits 39-62  the whole name, hashed
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NAMES_TIME, NAMES_NUMBER = 1 << 0, 1 << 1
FLAG_BITS, FIRST_BITS, NAME_BITS = 16, 23, 24

_TIME = re.compile(
    r"\b(?:[12]\d{3}|\d{1,2}(?:st|nd|rd|th)|\d{1,2}(?::\d\d)?\s?(?:am|pm)|yesterday|today|tonight|tomorrow|last|next|week"
    r"|weekend|month|year|day|ago|january|february|march|april|may|june|july|august|september|october|november"
    r"|december|monday|tuesday|wednesday|thursday|friday|saturday|sunday|since|recently|morning|evening|night|summer"
    r"|winter|spring|autumn|fall)s?\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|once|twice|couple|several)\b",
    re.IGNORECASE,
)


def of(text: str, speaker: str | None, *, is_turn: bool) -> int:
    """is_turn: the text begins with its speaker's name and a colon, which is none of what was said."""
    said = text.removeprefix(f"{speaker}: ") if is_turn and speaker else text
    flags = NAMES_TIME * bool(_TIME.search(said)) | NAMES_NUMBER * bool(_NUMBER.search(said))
    name = fold_name(speaker or "")
    return name_key(name) << (FLAG_BITS + FIRST_BITS) | first_name_key(name) << FLAG_BITS | flags


def fold_name(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().replace("\u2019", "'").split())


def name_key(folded: str) -> int:
    """0 for no name."""
    return zlib.crc32(folded.encode()) % (2**NAME_BITS - 1) + 1 if folded else 0


def first_name_key(folded: str) -> int:
    """0 for no name. Of a whole name, that of its first word."""
    return zlib.crc32(folded.split(" ", 1)[0].encode()) % (2**FIRST_BITS - 1) + 1 if folded else 0


@dataclass(frozen=True, slots=True)
class Traits:
    """Of N texts. name, first_name: (N,) keys; 0 is nobody."""

    names_time: NDArray[np.bool_]
    names_number: NDArray[np.bool_]
    name: NDArray[np.int32]
    first_name: NDArray[np.int32]
    known_names: frozenset[int]  # without repetition
    known_first_names: frozenset[int]

    @property
    def num_bytes(self) -> int:
        return sum(array.nbytes for array in (self.names_time, self.names_number, self.name, self.first_name))


def unpack(packed: NDArray[np.int64]) -> Traits:
    flags = packed & (2**FLAG_BITS - 1)
    name = (packed >> (FLAG_BITS + FIRST_BITS)).astype(np.int32)
    first_name = ((packed >> FLAG_BITS) & (2**FIRST_BITS - 1)).astype(np.int32)
    return Traits(
        names_time=(flags & NAMES_TIME).astype(np.bool_),
        names_number=(flags & NAMES_NUMBER).astype(np.bool_),
        name=name,
        first_name=first_name,
        known_names=frozenset(np.unique(name).tolist()),
        known_first_names=frozenset(np.unique(first_name).tolist()),
    )
