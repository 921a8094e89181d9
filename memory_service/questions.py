"""What a question says about its answer: whose words it may be, and what kind of thing is asked for."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from . import lexical
from .traits import Traits, first_name_key, fold_name, name_key

MAX_NAME_WORDS = 3
MAX_WORDS = 200  # of a question, that names are looked for in

_WHEN = re.compile(
    r"^\W*(?:when|how long|since when|what (?:date|day|month|year|time)|(?:in|on|at) (?:what|which) "
    r"(?:date|day|month|year|time))\b",
    re.IGNORECASE,
)
_SELF = frozenset({"i", "me", "my", "mine", "myself"})  # who asks
_SELF_NAME = "user"  # of who speaks without a name, folded
_HOW_MANY = re.compile(r"\bhow (?:many|much|often|old)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
    """terms: stems without repetition. content: those that name no speaker. speakers, first_names: keys of the
    speakers that it names, as traits.py has them. asks_when, asks_number: the kind of answer."""

    terms: tuple[str, ...]
    content: tuple[str, ...]
    speakers: frozenset[int] = frozenset()
    first_names: frozenset[int] = frozenset()
    asks_when: bool = False
    asks_number: bool = False

    @property
    def names_speaker(self) -> bool:
        return bool(self.speakers or self.first_names)


def read(query: str, said: Traits, *, speaker_aware: bool = True) -> Question:
    """said: of the documents in question, whose speakers the query may name."""
    terms = tuple(sorted(set(lexical.terms(query))))
    names: Collection[str] = ()
    speakers, first_names = set(), set()
    if speaker_aware:
        named = []
        for run in _runs(query):
            key, first = name_key(run), first_name_key(run)
            if key in said.known_names:
                speakers.add(key)
                named.append(run)
            elif " " not in run and first in said.known_first_names:
                first_names.add(first)
                named.append(run)
        names = {term for run in named for term in lexical.terms(run)}
    content = tuple(term for term in terms if term not in names)
    return Question(
        terms,
        content or terms,
        frozenset(speakers),
        frozenset(first_names),
        asks_when=bool(_WHEN.search(query)),
        asks_number=bool(_HOW_MANY.search(query)),
    )


def _runs(query: str) -> list[str]:
    """Up to MAX_NAME_WORDS words in a row, the longer ones first."""
    words = [match.group().removesuffix("'s") for match in lexical.WORD.finditer(fold_name(query))][:MAX_WORDS]
    own = [_SELF_NAME] if _SELF & set(words) else []
    return own + [
        " ".join(words[i : i + count])
        for count in range(MAX_NAME_WORDS, 0, -1)
        for i in range(len(words) - count + 1)
        if count > 1 or words[i] not in lexical.STOP_WORDS
    ]
