"""Corrections: what is taken back because it was wrong, and not because it changed."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARKER = re.compile(
    r"\s*(?:(?:oh|oops|ah|hmm|well|hey|ok|okay|so|and|but|um|uh|my bad|whoops)[,.!]*\s+)*"
    r"(?P<marker>actually|no,? wait|wait,? no|wait|sorry|correction|scratch that|strike that|"
    r"let me correct (?:that|myself)|i misspoke|i mistyped|i was wrong|i made a mistake|"
    r"(?:sorry,?\s+)?i meant(?: to say)?|i mean|(?:sorry,?\s+)?my mistake|typo|autocorrect|"
    r"i got (?:that|it) wrong|that (?:was|is) wrong|that's wrong|to be (?:precise|exact|correct)|"
    r"to clarify|(?:no|nope),? (?:it's|it is|that's|actually)|"
    r"i should (?:have said|correct (?:that|myself)))"
    r"\b[:,.!—–-]*\s*",
    re.IGNORECASE,
)
# "actually" alone is often only emphasis; with these it takes something back.
_SURE = re.compile(
    r"correction|scratch|strike|correct|misspoke|mistyped|wrong|mistake|meant|typo|should have", re.IGNORECASE
)
_AMEND = re.compile(r"^(?:no,? wait|wait,? no|sorry|wait|i mean|nope|no)\b", re.IGNORECASE)
_TERM = (
    r"(?:(?:on|at|in|the|an?)\s+)?[\w@.:+'’&/-]+(?:\s+(?!not\b|but\b|and\b|instead\b|rather\b|it\b|i\b|"
    r"is\b|was\b)[\w@.:+'’&/-]+){0,4}?"
)
_NOT = re.compile(
    (
        rf"(?P<new>{_TERM}),?\s+(?:and\s+)?not\s+(?:(?:on|at|in|the|"
        rf"an?)\s+)?(?P<old>{_TERM})(?=\s*(?:[.,!;)]|$|like\b|as\b))"
    ),
    re.IGNORECASE,
)
_NOT_BUT = re.compile(
    rf"\bnot\s+(?P<old>{_TERM}),?\s+(?:but|it's|it is)\s+(?:rather\s+)?(?P<new>{_TERM})(?=\s*(?:[.,!;)]|$))",
    re.IGNORECASE,
)
_SAID = re.compile(
    (
        rf"\bi\s+(?:said|wrote|told you|typed|mentioned)\s+(?:that\s+)?(?:it\s+was\s+|it's\s+|"
        rf"was\s+)?(?P<old>{_TERM})(?:\s+(?:earlier|before|yesterday|last time))?,?\s+(?:but|"
        rf"and)\s+(?:i meant|it's|it is|it was|it should be|that's|actually|the right one is|"
        rf"meant)\s+(?:actually\s+|really\s+)?(?P<new>{_TERM})(?=\s*(?:[.,!;)]|$))"
    ),
    re.IGNORECASE,
)
_WRONG_THEN = re.compile(
    rf"\bi\s+(?:said|wrote|told you|typed|mentioned)\s+(?:that\s+)?(?:it\s+was\s+|"
    rf"it's\s+)?(?P<old>{_TERM})(?:\s+(?:earlier|"
    rf"before|yesterday|last time|the other day))?,?\s+but\s+(?:that's|that\s+was|it's|it\s+was|"
    rf"that\s+is)\s+(?:wrong|a\s+mistake|not\s+"
    rf"(?:right|correct|true)),?\s+(?:(?:it's|it\s+is|it\s+was)|(?:she|he|i|they|we|it)\s+[a-z]+)\s+(?:actually\s+|really\s+)?"
    rf"(?P<new>{_TERM})(?=\s*(?:[.,!;)]|$))",
    re.IGNORECASE,
)
_MEANT = re.compile(
    rf"\bi\s+meant(?:\s+to\s+say)?\s+(?P<new>{_TERM})(?:,?\s+(?:and\s+)?not\s+(?P<old>{_TERM}))?(?=\s*(?:[.,!;)]|$))",
    re.IGNORECASE,
)
_COPULA = re.compile(
    r"^(?:no,?\s+)?(?:it's|it is|it was|that's|that is|that was|should be|it should be|it should read|read)\s+",
    re.IGNORECASE,
)
_SIGH = re.compile(r"^(?:(?:oops|oh|ah|hmm|ugh|whoops|well|hey|ok)[,.!]*\s+)+", re.IGNORECASE)
_WRONG = re.compile(r"(?:it|that|this)(?:'s| is| was)\s+(?:wrong|not\s+(?:right|true|correct))", re.IGNORECASE)
_BAD = re.compile(
    (
        r"^(?:wrong|right|true|false|correct|not|sure|really|only|just|yet|so|too|bad|good|great|me|you|him|"
        r"her|them|this|that|it|all|at|if|because|exactly|everything|a\s+lot|to|in|being|much|very|going|"
        r"knowing|surprised|the\s+best)\b"
    ),
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Correction:
    """What a sentence takes back. new and old are the words exchanged, where only words are."""

    old: str | None
    new: str | None
    start: int
    end: int


def marker_end(plain: str, start: int, end: int) -> tuple[int, bool] | None:
    """Where a correction's marker ends, and whether it surely is one; None where there is no marker."""
    m = _MARKER.match(plain, start, end)
    if m is None:
        return None
    return m.end(), bool(_SURE.search(m["marker"])) or bool(_AMEND.search(m["marker"]))


def exchange(plain: str, start: int, end: int, *, marked: bool) -> Correction | None:
    """Words for words: "it's Tuesday, not Monday", "I said Monday but it's Tuesday", "I meant Hanna, not Anna".

    marked: a marker or an earlier one says that it is a correction; "not X but Y" alone may be style.
    """
    body = plain[start:end].strip()
    if len(body) > 160:
        return None
    if m := _WRONG_THEN.search(body):
        return _exchange(m, plain, start, end)
    if m := _SAID.search(body):
        return _exchange(m, plain, start, end)
    if m := _MEANT.search(body):
        return _exchange(m, plain, start, end)
    body = _SIGH.sub("", body)
    copula = _COPULA.match(body)
    rest = body[copula.end() :] if copula else body
    if m := _NOT_BUT.match(rest) if copula or marked else None:
        return _exchange(m, plain, start, end)
    if m := _NOT.match(rest):
        named = re.search(r"[A-Z0-9]", m["new"] + m["old"])
        if (marked or (copula and named)) and m.end() >= len(rest.rstrip(" .!")) - 2:
            return _exchange(m, plain, start, end)
    if marked and copula and re.fullmatch(rf"{_TERM}[.!]?", rest, re.IGNORECASE) and _specific(rest):
        return Correction(None, rest.rstrip(".! "), start, end)
    return None


def _exchange(m: re.Match[str], plain: str, start: int, end: int) -> Correction | None:
    new, old = (m["new"] or "").strip(" ,.'"), (m["old"] or "").strip(" ,.'") or None
    if not new or _BAD.match(new) or (old and _BAD.match(old)) or not (_specific(new) or (old and _specific(old))):
        return None
    strip = re.compile(r"^(?:on|at|in|the|an?)\s+", re.IGNORECASE)
    return Correction(strip.sub("", old) if old else None, strip.sub("", new), start, end)


def _specific(words: str) -> bool:
    """A name, number or day; or a plain noun of one to three words."""
    return bool(re.search(r"[A-Z0-9]", words)) or 0 < len(words.split()) <= 3
